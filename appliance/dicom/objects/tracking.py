"""What a region is called wherever an object shows it, so that a viewer can follow it from one object to the next.

The UID is a function of the radiograph, the site and the place among the regions of that site: a revision of the
answer, another pack or a corrected side name the same region.

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
    """A finding, its number in the answer, and the names of its region."""

    number: int
    finding: Finding
    identifier: str
    uid: str


def tracked(result: Result) -> Iterator[Tracked]:
    """The findings of `result` in their order."""
    for number, finding in enumerate(result.findings, 1):
        alike = sorted((f.box.as_tuple(), n) for n, f in enumerate(result.findings, 1) if f.site is finding.site)
        place = alike.index((finding.box.as_tuple(), number))
        yield Tracked(
            number=number,
            finding=finding,
            identifier=f"{number} {finding.place}",
            uid=derived_uid(result.sop_instance_uid, "region", finding.site, place),
        )
