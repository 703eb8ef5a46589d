"""Tracking identifiers of regions: a viewer can follow a region from one object to the next.

The UID is a function of the radiograph, the site and the place among the regions of that site, so that it stays the
same in later revisions, with another pack, and after the side was corrected.

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
    """A finding, its number in the result, and the identifiers of its region."""

    number: int
    finding: Finding
    identifier: str
    uid: str


def tracked(result: Result) -> Iterator[Tracked]:
    """Yield the findings of `result` in their order, with their identifiers."""
    for number, finding in enumerate(result.findings, 1):
        alike = sorted((f.box.as_tuple(), n) for n, f in enumerate(result.findings, 1) if f.site is finding.site)
        place = alike.index((finding.box.as_tuple(), number))
        yield Tracked(
            number=number,
            finding=finding,
            identifier=f"{number} {finding.place}",
            uid=derived_uid(result.sop_instance_uid, "region", finding.site, place),
        )
