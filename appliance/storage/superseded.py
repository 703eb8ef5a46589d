"""Objects at a PACS that a revision has replaced there: their choice, and the rejection note that names them.

The choice follows from the deliveries alone, so that nothing is lost or done twice when a role restarts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, and_, func, select

from appliance.domain.artefact_kind import REVOCATIONS
from appliance.domain.code_sets import TAKEN_BACK
from appliance.domain.job import ENDED, State
from appliance.domain.reason import ReasonCode

from .database import readers
from .deliveries import Delivery, delivery_of, queue_deliveries
from .outbox import may_be_at_peer
from .outgoing import Outgoing
from .tables import deliveries, results, study_results

REASON = "a later revision took its place; a rejection note names it"


def replaced_objects(engine: Engine, destinations: Collection[str]) -> list[Delivery]:
    """Return the deliveries to `destinations` whose object the newest revision has replaced there, oldest first.

    An object counts as replaced once every artefact of the newest revision has ended at the same destination, and those
    of the same kind were delivered; if the revision has none of that kind, one delivered artefact is enough.
    """
    with readers(engine).connect() as c:
        outdated = [*_outdated(c, destinations, _OF_RADIOGRAPHS), *_outdated(c, destinations, _OF_STUDIES)]
    found = (old for old, current in outdated if _is_replaced(old, current))
    return sorted(found, key=lambda delivery: delivery.delivery_id)


def queue_rejection(engine: Engine, rejected: Collection[Delivery], note: Outgoing) -> bool:
    """Queue a rejection note and mark the deliveries of the objects that it names, in one transaction.

    Return False, with nothing written, if one of them was taken back meanwhile.
    """
    study_instance_uid = next(iter(rejected)).study_instance_uid
    which = and_(deliveries.c.id.in_([delivery.delivery_id for delivery in rejected]), _STANDS)
    with engine.connect() as c, c.begin() as transaction:
        marked = c.execute(deliveries.update().where(which).values(code=ReasonCode.REJECTED_AS_OLD, reason=REASON))
        if marked.rowcount != len(rejected):
            transaction.rollback()
            return False
        queue_deliveries(c, [note], study_instance_uid)
    return True


_STANDS: ColumnElement[bool] = and_(
    deliveries.c.state.in_(ENDED), deliveries.c.code.not_in(TAKEN_BACK), deliveries.c.kind.not_in(REVOCATIONS)
)


def _of_radiographs() -> tuple[ColumnElement[Any], Select[Any]]:
    """Return the column of the result, and the query for deliveries with the newest result of their radiograph."""
    later = results.alias()
    newest = select(func.max(later.c.id)).where(later.c.sop_instance_uid == results.c.sop_instance_uid)
    newest_id = newest.correlate(results).scalar_subquery()
    query = select(deliveries, newest_id.label("newest_id")).join(results, deliveries.c.result_id == results.c.id)
    return deliveries.c.result_id, query.where(newest_id > results.c.id)


def _of_studies() -> tuple[ColumnElement[Any], Select[Any]]:
    """Return the column of the result, and the query for deliveries with the newest result of their study."""
    later, s = study_results.alias(), study_results.c
    newest = select(func.max(later.c.id)).where(later.c.study_id == s.study_id)
    newest_id = newest.correlate(study_results).scalar_subquery()
    query = select(deliveries, newest_id.label("newest_id"))
    query = query.join(study_results, deliveries.c.study_result_id == s.id)
    return deliveries.c.study_result_id, query.where(newest_id > s.id)


_OF_RADIOGRAPHS, _OF_STUDIES = _of_radiographs(), _of_studies()


def _outdated(
    c: Connection, destinations: Collection[str], subject: tuple[ColumnElement[Any], Select[Any]]
) -> Iterator[tuple[Delivery, Sequence[Delivery]]]:
    """Yield each outdated delivery that its peer may have, with those of the newest result to the same destination."""
    result_id, query = subject
    to_them = deliveries.c.destination.in_(list(destinations))
    outdated = c.execute(query.where(to_them, _STANDS, may_be_at_peer())).all()
    of_newest = result_id.in_({row.newest_id for row in outdated})
    current: dict[tuple[str, int], list[Delivery]] = {}
    rows: Sequence[Row[Any]] = c.execute(
        select(deliveries, result_id.label("newest_id")).where(to_them, of_newest)
    ).all()
    for row in rows:
        current.setdefault((row.destination, row.newest_id), []).append(delivery_of(row))
    for row in outdated:
        yield delivery_of(row), current.get((row.destination, row.newest_id), ())


def _is_replaced(old: Delivery, current: Sequence[Delivery]) -> bool:
    """Return whether `current`, the artefacts of the newest revision, have taken the place of `old` at its peer."""
    if any(each.state not in ENDED for each in current) or any(_is_same_object(old, each) for each in current):
        return False
    delivered = [each.state is State.DONE and each.code not in TAKEN_BACK for each in current]
    of_kind = [is_there for each, is_there in zip(current, delivered, strict=True) if each.kind is old.kind]
    return all(of_kind) and any(delivered)


def _is_same_object(one: Delivery, other: Delivery) -> bool:
    return bool(
        {one.identifier, one.sent_uid or one.identifier} & {other.identifier, other.sent_uid or other.identifier}
    )
