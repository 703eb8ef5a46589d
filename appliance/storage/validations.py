"""Validations: which are open, and how far their samples are; a person starts and ends each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, exists, func, insert, or_, select, update

from appliance.clock import now
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import Progress, SampleKind, Validation
from appliance.errors import Rejected

from .audit import record
from .outbox import may_be_at_peer
from .tables import deliveries, draws, phases, reads, validations

SAMPLED: Final = (Phase.SHADOW, Phase.VALIDATE)
"""Phases in which radiographs of a site are drawn, and the answers about their studies stay in the box."""

SECRET_BYTES: Final = 32


def start_validation(
    engine: Engine, *, kind: SampleKind, sites: Collection[Site], size: int, share: float, by: Intervention
) -> Validation:
    """Open a validation: from now on radiographs of `sites` are drawn.

    Raises
    ------
    Rejected
        ``validation_open`` if one of the kind, or of one of the sites, is open; ``not_in_validation`` if a site is in
        another phase than `SAMPLED`, or no engine has served it.
    """
    in_order = tuple(site for site in Site if site in sites)
    with engine.begin() as c:
        for one in open_validations(c):
            # a study that both have drawn tells its reader by the second offer that the answer is suspicious
            if one.kind is kind or set(one.sites) & set(in_order):
                of = "" if one.kind is kind else " of one of the sites"
                reason = f"a {one.kind} validation{of} is open: end it first (osteon validate end --kind {one.kind})"
                raise Rejected(ReasonCode.VALIDATION_OPEN, reason)
        rows = {row.site: row for row in c.execute(select(phases).where(phases.c.site.in_(in_order)))}
        for site in in_order:
            _check_phase(site, rows.get(site))
        row = {
            "kind": kind,
            "sites": ",".join(in_order),
            "size": size,
            "share": share,
            "secret": secrets.token_hex(SECRET_BYTES),
            "fingerprints": json.dumps({site: rows[site].fingerprint for site in in_order}),
            "person": by.person,
            "reason": by.reason,
            "started_at": now(),
        }
        key = c.execute(insert(validations).values(**row).returning(validations.c.id)).scalar_one()
        detail = f"{kind} sample of {size}, share {share:g}: {', '.join(in_order)}"
        record(c, by, AuditAction.START_VALIDATION, f"validation:{key}", detail)
        return validation_by_id(c, key)


def end_validation(engine: Engine, kind: SampleKind, by: Intervention) -> tuple[Validation, Progress]:
    """Close the open validation of a kind: nothing is drawn or read for it any more, and no answer is kept back.

    Raises
    ------
    Rejected
        ``no_validation`` if none is open.
    """
    with engine.begin() as c:
        found = require_open(c, kind)
        c.execute(update(validations).where(validations.c.id == found.validation_id).values(ended_at=now()))
        done = progress(c, found)
        detail = f"{kind} sample: {done.drawn} of {found.size} drawn, {done.read} read"
        record(c, by, AuditAction.END_VALIDATION, f"validation:{found.validation_id}", detail)
        return validation_by_id(c, found.validation_id), done


def open_validations(c: Connection) -> list[Validation]:
    """Return the open validations, at most one of each kind."""
    return [_validation(row) for row in c.execute(_in_order(validations.c.ended_at.is_(None)))]


def newest_validation(c: Connection, kind: SampleKind) -> Validation | None:
    """Return the validation of a kind that was started last, open or not; None if there was none."""
    row = c.execute(_in_order(validations.c.kind == kind).limit(1)).first()
    return _validation(row) if row else None


def validations_of_kind(c: Connection, kind: SampleKind) -> list[Validation]:
    """Return the validations of a kind, newest first."""
    return [_validation(row) for row in c.execute(_in_order(validations.c.kind == kind))]


def current_validations(c: Connection) -> list[Validation]:
    """Return the validations that are the newest of their kind for a site, newest first."""
    seen: set[tuple[SampleKind, Site]] = set()
    found = []
    for row in c.execute(_in_order(validations.c.id.is_not(None))):
        one = _validation(row)
        of_it = {(one.kind, site) for site in one.sites}
        if of_it - seen:
            found.append(one)
        seen |= of_it
    return found


def validation_by_id(c: Connection, validation_id: int) -> Validation:
    """Return a validation; KeyError if there is none of that id."""
    row = c.execute(select(validations).where(validations.c.id == validation_id)).first()
    if row is None:
        raise KeyError(validation_id)
    return _validation(row)


def require_open(c: Connection, kind: SampleKind) -> Validation:
    """Return the open validation of a kind; raises as `end_validation`."""
    found = next((one for one in open_validations(c) if one.kind is kind), None)
    if found is None:
        raise Rejected(ReasonCode.NO_VALIDATION, f"no {kind} validation is open: osteon validate start")
    return found


def progress(c: Connection, validation: Validation) -> Progress:
    """Return how far the sample of a validation is."""
    of_it = draws.c.validation_id == validation.validation_id
    joined = draws.outerjoin(reads, reads.c.draw_id == draws.c.id)
    counts = select(func.count(draws.c.id), func.count(reads.c.id)).select_from(joined).where(of_it)
    total, read = c.execute(counts).one()
    drawn = drawn_count(c, validation.validation_id)
    blinded = c.execute(
        select(func.count()).select_from(joined).where(of_it, reads.c.is_blinded.is_(True))
    ).scalar_one()
    is_released = draws.c.is_blinded.is_(False) & reads.c.is_blinded.is_not(True)
    released = c.execute(select(func.count()).select_from(joined).where(of_it, is_released)).scalar_one()
    known, engines = {row.site: row for row in c.execute(select(phases))}, validation.fingerprints
    return Progress(
        drawn=drawn,
        read=read,
        blinded=blinded,
        unblinded=total - drawn,
        released=released,
        changed_sites=tuple(s for s in validation.sites if s not in known or known[s].fingerprint != engines[s]),
        outdated_sites=tuple(s for s in validation.sites if s in known and _is_outdated(validation, known[s])),
        tries=_tries(c, validation),
    )


def drawn_count(c: Connection, validation_id: int) -> int:
    """Return the number of radiographs of a sample that can be read blinded, or were."""
    joined = draws.outerjoin(reads, reads.c.draw_id == draws.c.id)
    counts = or_(and_(reads.c.id.is_(None), may_be_read()), reads.c.is_blinded.is_(True))
    query = select(func.count()).select_from(joined).where(draws.c.validation_id == validation_id, counts)
    return int(c.execute(query).scalar_one())


def may_be_read() -> ColumnElement[bool]:
    """Return the condition that a drawn radiograph can still be read blinded."""
    return and_(draws.c.is_blinded, ~has_left(draws.c.study_instance_uid))


def has_left(study_instance_uid: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that an answer about a study left the box, or may have left, or is about to."""
    of_study = deliveries.c.study_instance_uid == study_instance_uid
    is_pending = deliveries.c.state.in_([State.QUEUED, State.LEASED])
    return exists().where(of_study, may_be_at_peer() | is_pending)


def _tries(c: Connection, validation: Validation) -> int:
    """Return the number of random samples of the same engine up to this one, of the site with the most."""
    is_drawn = exists().where(draws.c.validation_id == validations.c.id)
    is_earlier = and_(validations.c.kind == SampleKind.RANDOM, validations.c.id < validation.validation_id, is_drawn)
    earlier = [_validation(row).fingerprints for row in c.execute(_in_order(is_earlier))]
    same = [sum(engines.get(site) == one for engines in earlier) for site, one in validation.fingerprints.items()]
    return 1 + max(same)


def _is_outdated(validation: Validation, phase: Row[Any]) -> bool:
    return phase.validate_after is not None and validation.started_at <= phase.validate_after


def _check_phase(site: Site, row: Row[Any] | None) -> None:
    if row is None:
        raise Rejected(ReasonCode.NOT_IN_VALIDATION, f"no engine of the pack serves {site}: see osteon phase list")
    if row.phase not in SAMPLED:
        reason = f"{site} is in the phase {row.phase}: osteon phase set {site} validate --reason WHY"
        raise Rejected(ReasonCode.NOT_IN_VALIDATION, reason)


def _in_order(which: ColumnElement[bool]) -> Any:
    return select(validations).where(which).order_by(validations.c.id.desc())


def _validation(row: Row[Any]) -> Validation:
    return Validation(
        validation_id=row.id,
        kind=row.kind,
        sites=tuple(map(Site, row.sites.split(","))),
        size=row.size,
        share=row.share,
        secret=row.secret,
        fingerprints={Site(site): digest for site, digest in json.loads(row.fingerprints).items()},
        person=row.person,
        reason=row.reason,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
