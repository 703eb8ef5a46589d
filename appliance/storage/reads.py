"""The reads of a sample: which radiographs a reader is offered, and what readers said, each radiograph once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, and_, exists, func, insert, select

from appliance.clock import now
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import Read, SampleKind
from appliance.errors import Rejected

from .audit import record
from .database import readers
from .tables import analyses, draws, instances, reads, results, studies, validations
from .validations import has_left, require_open


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A radiograph of a sample, with the file in the spool that it was analysed from.

    Attributes
    ----------
    digest
        File of the radiograph; empty if it is not in the spool any more.
    is_read
        Whether somebody has read it.
    has_left
        Whether an answer about its study has left the box, or is about to.
    """

    draw_id: int
    result_id: int
    kind: SampleKind
    site: Site
    sop_instance_uid: str
    study_instance_uid: str
    digest: str
    calling_ae_title: str
    rank: str
    is_read: bool
    has_left: bool
    drawn_at: datetime


def drawn_of(c: Connection, validation_id: int) -> list[Drawn]:
    """Return the radiographs of a sample in the order of their draw, also those whose results were taken back."""
    found = _DRAWN.where(draws.c.validation_id == validation_id)
    return [_drawn(row) for row in c.execute(found.order_by(draws.c.id))]


def offered(engine: Engine, reader: str) -> Drawn | None:
    """Return the radiograph that a reader is to read next; None if there is none.

    Offered is what is in the spool, has no read and a result that stands, and belongs to a study that has settled and
    about which no answer has left. The order is random, and another one for each reader: two of them rarely meet.
    """
    with readers(engine).connect() as c:
        waiting = [_drawn(row) for row in c.execute(_OFFERED)]
    return min(waiting, key=lambda one: hashlib.sha256(f"{one.rank}{reader}".encode()).digest(), default=None)


def offered_by_id(engine: Engine, draw_id: int) -> Drawn | None:
    """Return a radiograph of a sample by its draw, if a reader may see it now; else None."""
    with readers(engine).connect() as c:
        row = c.execute(_OFFERED.where(draws.c.id == draw_id)).first()
        return _drawn(row) if row else None


def waiting_count(engine: Engine) -> int:
    """Return the number of radiographs that may be read now."""
    with readers(engine).connect() as c:
        return int(c.execute(select(func.count()).select_from(_OFFERED.subquery())).scalar_one())


def record_read(engine: Engine, draw_id: int, result_id: int, read: Read, by: Intervention) -> None:
    """Write the read of a reader who was offered the radiograph of a draw, once, with an entry of the audit log.

    Parameters
    ----------
    result_id
        Result of the radiograph that the reader saw.

    Raises
    ------
    Rejected
        ``read_already``; ``not_offered`` if the radiograph may not be read any more, or is another one by now.
    """
    with engine.begin() as c:
        if c.execute(select(reads.c.id).where(reads.c.draw_id == draw_id)).first():
            raise Rejected(ReasonCode.READ_ALREADY, "somebody read this radiograph meanwhile: read the next one")
        row = c.execute(_OFFERED.where(draws.c.id == draw_id, draws.c.result_id == result_id)).first()
        if row is None:
            raise Rejected(ReasonCode.NOT_OFFERED, "this radiograph is not to be read any more: read the next one")
        _insert(c, draw_id, read, is_blinded=True)
        record(c, by, AuditAction.READ, f"draw:{draw_id}", read_in_words(read))


def import_reads(
    engine: Engine, kind: SampleKind, found: Sequence[tuple[int, Read]], by: Intervention, origin: str
) -> list[str]:
    """Write reads from elsewhere, with one entry of the audit log; return the refusal of each, empty if it was written.

    A read is unblinded if an answer about the study has left the box.

    Parameters
    ----------
    found
        Reads, with the id of the draw of each.
    origin
        Where the reads come from, for the audit log: no name of a file, which could hold a patient's.
    """
    with engine.begin() as c:
        validation = require_open(c, kind)
        of_sample = {one.draw_id: one for one in drawn_of(c, validation.validation_id)}
        refusals, written = [], []
        for draw_id, read in found:
            drawn = of_sample.get(draw_id)
            if drawn is None:
                refusals.append("is not in the sample")
            elif c.execute(select(reads.c.id).where(reads.c.draw_id == draw_id)).first():
                refusals.append("was read already")
            else:
                _insert(c, draw_id, read, is_blinded=not drawn.has_left)
                refusals.append("")
                written.append(f"draw:{draw_id} {read.reader} {read_in_words(read)}")
        if written:
            digest = hashlib.sha256("\n".join(written).encode()).hexdigest()
            detail = f"{len(written)} reads from {origin}, SHA-256 {digest}"
            record(c, by, AuditAction.IMPORT_READS, f"validation:{validation.validation_id}", detail)
    return refusals


def read_in_words(read: Read) -> str:
    """Return a read as the audit log has it: answer, marks and box."""
    box = " ".join(f"{edge:g}" for edge in read.box.as_tuple()) if read.box else ""
    return ", ".join([read.answer, *sorted(read.marks), *([f"box {box}"] if box else [])])


def _insert(c: Connection, draw_id: int, read: Read, *, is_blinded: bool) -> None:
    row = {
        "draw_id": draw_id,
        "reader": read.reader,
        "source": read.source,
        "answer": read.answer,
        "box": json.dumps(read.box.as_tuple()) if read.box else "",
        "marks": ",".join(sorted(read.marks)),
        "is_blinded": is_blinded,
        "read_at": now(),
    }
    c.execute(insert(reads).values(**row))


_IS_READ = exists().where(reads.c.draw_id == draws.c.id)

_HAS_LEFT = has_left(draws.c.study_instance_uid)

_DRAWN: Select[tuple[object, ...]] = (
    select(
        draws,
        validations.c.kind,
        results.c.sop_instance_uid,
        instances.c.digest,
        instances.c.pruned_at,
        instances.c.calling_ae_title,
        _IS_READ.label("is_read"),
        _HAS_LEFT.label("has_left"),
    )
    .join(validations, draws.c.validation_id == validations.c.id)
    .join(results, draws.c.result_id == results.c.id)
    .join(analyses, results.c.analysis_id == analyses.c.id)
    .join(instances, analyses.c.instance_id == instances.c.id)
)


def _may_be_offered() -> ColumnElement[bool]:
    is_settled = exists().where(
        studies.c.study_instance_uid == draws.c.study_instance_uid,
        studies.c.state.not_in([State.QUEUED, State.LEASED]),
    )
    is_open = validations.c.ended_at.is_(None)
    stands = results.c.taken_back_at.is_(None)
    return and_(is_open, draws.c.is_blinded, ~_IS_READ, ~_HAS_LEFT, instances.c.pruned_at.is_(None), is_settled, stands)


_OFFERED = _DRAWN.where(_may_be_offered())


def _drawn(row: Row[tuple[object, ...]]) -> Drawn:
    return Drawn(
        draw_id=row.id,
        result_id=row.result_id,
        kind=row.kind,
        site=row.site,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        digest="" if row.pruned_at else row.digest,
        calling_ae_title=row.calling_ae_title,
        rank=row.rank,
        is_read=row.is_read,
        has_left=row.has_left,
        drawn_at=row.drawn_at,
    )
