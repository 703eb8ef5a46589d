"""The part of an analysis, or of a study, that the phases of its sites let out of the box."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.rollout.told import Phases, kept_findings, least_of, not_in_use, told
from appliance.storage.studies import StudyPart

from .reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPart:
    """A radiograph of a study with its told record, and the phases that this was made by."""

    part: StudyPart
    result: Result
    phases: dict[Site, Phase]

    @property
    def is_as_drawn(self) -> bool:
        """Whether the picture that was drawn at the analysis shows just what is told."""
        return told(self.part.result, self.part.phases) == self.result


def tell_reading(reading: Reading, phases: Phases, *, takes_back: bool) -> Reading:
    """Return the reading with its told record and the heat maps of that; not to be told at all if nothing is left.

    Parameters
    ----------
    takes_back
        Whether an earlier answer has left, which a record without any claim then takes back.
    """
    analysis = reading.analysis
    if result := told(analysis.result, phases):
        heats = tuple(analysis.heats[i] for i in kept_findings(analysis.result, phases))
    elif takes_back:
        result, heats = not_in_use(analysis.result), ()
    else:
        return replace(reading, is_told=False)
    return replace(reading, analysis=replace(analysis, result=result, heats=heats))


def tell_parts(parts: Sequence[StudyPart], phases: Phases, left: Collection[str]) -> list[ToldPart]:
    """Return the radiographs of which a report tells.

    A radiograph is never told by a later phase than that at its analysis, so that picture and report agree.

    Parameters
    ----------
    left
        SOP Instance UIDs of the radiographs of which an earlier report has told. One of which nothing may be told any
        more is told as not in use; so are all of them if nothing else is told, since a report has to be replaced.
    """
    found = []
    for part in parts:
        used = least_of(part.phases, phases)
        if result := told(part.result, used):
            found.append(ToldPart(part=part, result=result, phases=used))
        elif part.result.sop_instance_uid in left:
            found.append(ToldPart(part=part, result=not_in_use(part.result), phases=used))
    if left and not found:
        return [ToldPart(part=part, result=not_in_use(part.result), phases={}) for part in parts]
    return found


def note_on_untold(untold: int, count: int) -> Sentence:
    """Return the note of a study about its radiographs of which nothing is told."""
    return Sentence.of("{other} of {all} radiographs: not in use at this hospital", other=untold, all=count)
