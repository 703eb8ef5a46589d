"""Tracking identifiers of regions and marks: a viewer can follow them from one object to the next.

The UIDs are functions of the radiograph, the site and the place among the regions of that site, so that they stay the
same in later revisions, with another pack, and after the side was corrected. The identifiers are words that viewers
show beside the outline, so they say the verdict.

References
----------
DICOM PS3.16 TID 1501 (Tracking Identifier, Tracking Unique Identifier); PS3.3 C.10.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.domain.finding import Finding
from appliance.domain.identifiers import derived_uid
from appliance.domain.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A finding, its number in the result, and the identifiers of its region and of its mark.

    Attributes
    ----------
    uid, mark_uid
        Tracking Unique Identifiers of the region that was read, and of the mark of a suspicion inside it.
    identifier
        Tracking Identifier of the mark, for example ``wrist L: fracture suspected``.
    area
        Tracking Identifier of the region, for example ``wrist L: area read, no fracture found``.
    """

    number: int
    finding: Finding
    identifier: str
    area: str
    uid: str
    mark_uid: str


def tracked(result: Result) -> Iterator[Tracked]:
    """Yield the findings of `result` in their order, with their identifiers."""
    for number, finding in enumerate(result.findings, 1):
        alike = sorted((f.box.as_tuple(), n) for n, f in enumerate(result.findings, 1) if f.site is finding.site)
        place = alike.index((finding.box.as_tuple(), number))
        ordinal = f" (region {number})" if len(result.findings) > 1 else ""
        verdict = "see its mark" if finding.verdict.is_suspicious else finding.verdict.label
        yield Tracked(
            number=number,
            finding=finding,
            identifier=f"{_where(finding)}: {finding.verdict.label}{ordinal}",
            area=f"{_where(finding)}: area read, {verdict}{ordinal}",
            uid=derived_uid(result.sop_instance_uid, "region", finding.site, place),
            mark_uid=derived_uid(result.sop_instance_uid, "mark", finding.site, place),
        )


def _where(finding: Finding) -> str:
    return f"{finding.site.label} {finding.laterality.value}".strip() if finding.site_is_certain else str(finding.place)
