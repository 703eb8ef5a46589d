"""The withdrawal of a study: which deliveries their peers may have, and how a withdrawal is written."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Engine, and_, or_, select

from appliance.domain.artefact_kind import REVOCATIONS, ArtefactKind
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.code_sets import TAKEN_BACK
from appliance.domain.job import ENDED, State
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

from .audit import record_job
from .database import readers
from .deliveries import Delivery, delivery_of, queue_deliveries
from .outbox import may_be_at_peer
from .outgoing import Outgoing
from .studies import take_results_back
from .tables import deliveries, results, studies
from .transitions import drop_jobs


def find_study(engine: Engine, uid: str) -> tuple[int, str]:
    """Return id and UID of the study that is `uid`, or has a radiograph or an artefact of that UID.

    Raises
    ------
    Rejected
        ``nothing_answered``.
    """
    of_radiograph = select(results.c.study_instance_uid).where(results.c.sop_instance_uid == uid)
    is_artefact = or_(deliveries.c.identifier == uid, deliveries.c.sent_uid == uid)
    of_artefact = select(deliveries.c.study_instance_uid).where(is_artefact)
    named = studies.c.study_instance_uid
    query = select(studies.c.id, named).where(or_(named == uid, named.in_(of_radiograph), named.in_(of_artefact)))
    with readers(engine).connect() as c:
        row = c.execute(query).first()
    if row is None:
        reason = "nothing was answered under that UID: see osteon queue find UID"
        raise Rejected(ReasonCode.NOTHING_ANSWERED, reason)
    return row.id, row.study_instance_uid


def deliveries_to_revoke(engine: Engine, study_instance_uid: str) -> list[Delivery]:
    """Return the deliveries of a study that their peers have, or may have, and that were not taken back."""
    with readers(engine).connect() as c:
        return _deliveries_to_revoke(c, study_instance_uid)


def _deliveries_to_revoke(c: Connection, study_instance_uid: str) -> list[Delivery]:
    d = deliveries.c
    stands = and_(d.code.not_in(TAKEN_BACK), d.kind.not_in(REVOCATIONS))
    of_study = and_(d.study_instance_uid == study_instance_uid, stands)
    return [delivery_of(row) for row in c.execute(select(deliveries).where(of_study, may_be_at_peer()).order_by(d.id))]


def flagging_reports(engine: Engine, study_instance_uid: str) -> dict[str, int]:
    """Return, by destination, the study result that raised the order's priority there and was not taken back.

    A withdrawal's update counts as soon as it is queued, since it is always sent. The update of a revision counts
    once it may have left, since the next revision drops it.
    """
    d = deliveries.c
    counts = or_(may_be_at_peer(), and_(d.study_result_id.is_(None), d.state != State.DROPPED))
    updates = and_(
        d.study_instance_uid == study_instance_uid,
        d.kind.in_([ArtefactKind.ORDER, ArtefactKind.ORDER_WITHDRAWAL]),
    )
    query = select(d.destination, d.kind, d.study_result_id).where(updates, counts).order_by(d.id)
    with readers(engine).connect() as c:
        newest = {row.destination: row for row in c.execute(query)}
    return {name: row.study_result_id for name, row in newest.items() if row.kind is ArtefactKind.ORDER}


def record_withdrawal(
    engine: Engine,
    study_id: int,
    study_instance_uid: str,
    revoked: Collection[int],
    outgoing: Collection[Outgoing],
    by: Intervention,
    left_at: Collection[str] = (),
) -> int | None:
    """Drop pending deliveries, mark those that `outgoing` revokes, queue `outgoing`, and append to the audit log.

    The log names the destinations of `left_at`, which have artefacts that nothing takes back.

    Return the number of dropped deliveries; None, with nothing written, if deliveries beyond `revoked` left meanwhile.
    """
    d = deliveries.c
    words = f"withdrawn: {by.reason}"
    with engine.begin() as c:
        if {delivery.delivery_id for delivery in _deliveries_to_revoke(c, study_instance_uid)} != set(revoked):
            return None
        is_revoked = and_(d.id.in_(list(revoked)), d.destination.in_([o.destination for o in outgoing]))
        mark = deliveries.update().where(is_revoked, d.state.in_(ENDED))
        c.execute(mark.values(code=ReasonCode.WITHDRAWN, reason=words, unanswered_at=None))
        is_of_report = or_(d.kind.not_in(REVOCATIONS), d.study_result_id.is_not(None))
        pending = and_(d.study_instance_uid == study_instance_uid, is_of_report)
        dropped = drop_jobs(c, deliveries, pending, ReasonCode.WITHDRAWN, words)
        drop_jobs(c, studies, studies.c.id == study_id, ReasonCode.WITHDRAWN, words)
        take_results_back(c, results.c.study_instance_uid == study_instance_uid)
        queue_deliveries(c, outgoing, study_instance_uid)
        places = ", ".join(dict.fromkeys(o.destination for o in outgoing)) or "none"
        detail = f"deliveries dropped: {dropped}; withdrawals to send: {places}"
        if left_at:
            names = ", ".join(left_at)
            detail += f"; not withdrawn at {names}, which the configuration does not name: withdraw there by hand"
        record_job(c, by, AuditAction.WITHDRAW, studies, study_id, detail)
    return dropped
