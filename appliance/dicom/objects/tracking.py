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
from appliance.domain.sentence import Sentence
from appliance.words import ENGLISH, Language


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


def tracked(result: Result, language: Language = ENGLISH) -> Iterator[Tracked]:
    """Yield the findings of `result` in their order, with their identifiers."""
    for number, finding in enumerate(result.findings, 1):
        alike = sorted((f.box.as_tuple(), n) for n, f in enumerate(result.findings, 1) if f.site is finding.site)
        place = alike.index((finding.box.as_tuple(), number))
        is_suspicious = finding.verdict.is_suspicious
        suspicion = Sentence.of("{place}: {verdict}", place=_where(finding), verdict=finding.verdict.label)
        area = Sentence.of(
            "{place}: area read, {verdict}",
            place=_where(finding),
            verdict=Sentence.of("see its mark") if is_suspicious else finding.verdict.label,
        )
        if len(result.findings) > 1:
            suspicion, area = (
                Sentence.of("{statement} (region {number})", statement=each, number=number)
                for each in (suspicion, area)
            )
        yield Tracked(
            number=number,
            finding=finding,
            identifier=language.say(suspicion),
            area=language.say(area),
            uid=derived_uid(result.sop_instance_uid, "region", finding.site, place),
            mark_uid=derived_uid(result.sop_instance_uid, "mark", finding.site, place),
        )


def _where(finding: Finding) -> Sentence:
    if finding.site_is_certain and finding.laterality.value:
        return Sentence.of("{site} {side}", site=finding.site.label, side=finding.laterality.value)
    return finding.place
