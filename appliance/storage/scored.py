"""The sample of a validation with its score and the criteria of the gate, from draws, reads, results and traits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Row, or_, select

from appliance.domain.identifiers import Site
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.validation import Progress, ReadMark, SampleKind, Validation
from appliance.errors import Rejected
from appliance.rollout.gate import Gate, gate, is_shown
from appliance.rollout.scoring import Case, Score, score
from appliance.rollout.site_answer import site_answer, site_findings
from appliance.rollout.told import phases_from_json

from .tables import draws, reads, results, traits, validations
from .validations import may_be_read, newest_validation, progress, validation_by_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSample:
    """A validation, and the proof that its sample gives."""

    validation: Validation
    progress: Progress
    cases: tuple[Case, ...]
    score: Score
    gate: Gate

    @property
    def is_shown(self) -> bool:
        """Whether people may see the score; see `appliance.rollout.gate.is_shown`."""
        return is_shown(self.validation, self.progress)

    @property
    def disagreements(self) -> tuple[Case, ...]:
        """The scored radiographs about which appliance and radiologist disagree."""
        return tuple(case for case in self.cases if case.is_blinded and case.is_disagreement)


def require_shown(sample: ScoredSample) -> None:
    """Raise `Rejected`, ``validation_open``, for a sample whose score people may not see yet."""
    if not sample.is_shown:
        waiting = "; ".join(criterion.sentence for criterion in sample.gate.overall if not criterion.passed)
        raise Rejected(ReasonCode.VALIDATION_OPEN, waiting)


def sampled_cases(c: Connection, validation: Validation) -> tuple[Case, ...]:
    """Return the radiographs of a sample, in the order of their draw.

    Left out are those about which an answer left the box before any read: nobody is asked to read them. A result that
    was taken back since stays: the appliance has answered so.
    """
    query = (
        select(draws.c.result_id, draws.c.site, results.c.record, results.c.phases)
        .add_columns(traits.c.age_band, traits.c.view, traits.c.device)
        .add_columns(reads.c.answer.label("read"), reads.c.is_blinded, reads.c.marks)
        .join(results, draws.c.result_id == results.c.id)
        .outerjoin(traits, traits.c.result_id == results.c.id)
        .outerjoin(reads, reads.c.draw_id == draws.c.id)
        .where(draws.c.validation_id == validation.validation_id, or_(may_be_read(), reads.c.id.is_not(None)))
        .order_by(draws.c.id)
    )
    return tuple(_case(row, validation.sites) for row in c.execute(query))


def scored_sample(c: Connection, validation: Validation, clears: Mapping[Site, bool]) -> ScoredSample:
    """Score the sample of a validation, and compare it with the criteria of the gate.

    Parameters
    ----------
    clears
        Whether the engine of each site claims that it may say "no fracture found".
    """
    cases, done = sampled_cases(c, validation), progress(c, validation)
    found = score(cases)
    return ScoredSample(
        validation=validation, progress=done, cases=cases, score=found, gate=gate(found, validation, done, clears)
    )


def gate_of_site(c: Connection, site: Site, clears: bool) -> Gate | None:
    """Return the gate of the newest random validation of a site; None if there was none."""
    query = select(validations.c.id, validations.c.sites).where(validations.c.kind == SampleKind.RANDOM)
    rows = c.execute(query.order_by(validations.c.id.desc())).all()
    newest = next((row.id for row in rows if site in row.sites.split(",")), None)
    return None if newest is None else scored_sample(c, validation_by_id(c, newest), {site: clears}).gate


def find_validation(c: Connection, kind: SampleKind, validation_id: int | None = None) -> Validation:
    """Return a validation by its id, or the newest of a kind.

    Raises
    ------
    Rejected
        ``no_validation``.
    """
    found = newest_validation(c, kind) if validation_id is None else None
    if validation_id is not None:
        with suppress(KeyError):
            found = validation_by_id(c, validation_id)
    if found is None:
        which = (
            f"no {kind} validation was started" if validation_id is None else f"there is no validation {validation_id}"
        )
        raise Rejected(ReasonCode.NO_VALIDATION, f"{which}: osteon validate start")
    return found


def _case(row: Row[tuple[object, ...]], validated: Collection[Site]) -> Case:
    result = Result.from_json(row.record)
    return Case(
        result_id=row.result_id,
        site=row.site,
        answer=site_answer(result, row.site, phases_from_json(row.phases), validated),
        probability=max((f.probability for f in site_findings(result, row.site)), default=None),
        read=row.read,
        is_blinded=row.is_blinded is not False,
        marks=frozenset(map(ReadMark, filter(None, (row.marks or "").split(",")))),
        age_band=row.age_band or "",
        view=row.view or "",
        device=row.device or "",
    )
