"""Actions of operators: retry, drop, hold, release, withdraw and a phase, each with a reason and in the audit log."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from appliance.domain import codes
from appliance.domain.audit import Intervention
from appliance.domain.codes import Concept
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.errors import OsteonError, Rejected
from appliance.storage import interventions
from appliance.storage.audit import newest_entries
from appliance.storage.database import defect, readers
from appliance.storage.going_live import change_phase
from appliance.storage.interventions import Selection

from .guard import for_operators, visitor
from .view import View

MOST_AT_ONCE: Final = 500
"""Jobs that one request changes: some seconds. The answer says how many are left."""

MOST_REFUSALS: Final = 10 * MOST_AT_ONCE
"""Jobs that one request tries in vain: a refusal is quicker than a change."""

LONGEST_REASON: Final = 200

NEWEST: Final = 100
"""Entries of the audit log that the page shows."""

TITLES: Final = {
    "quality": codes.REJECTED_FOR_QUALITY,
    "safety": codes.REJECTED_FOR_PATIENT_SAFETY,
    "worklist": codes.INCORRECT_WORKLIST_ENTRY,
}
"""Titles of a rejection note by their names in the form."""

Withdraw = Callable[[str, Intervention, Concept], object]
"""Withdraws the answers of the study that a UID names."""

log = logging.getLogger(__name__)


def make_actions(view: View, engine: Engine, withdraw: Withdraw) -> Blueprint:
    """Return the page with the actions, the actions themselves, and the page of the audit log.

    Parameters
    ----------
    engine
        For writing.
    """
    pages = Blueprint("actions", __name__)
    configured = [d.name for d in view.config.destinations]

    def change(act: Callable[[Engine, str, Intervention], object]) -> Response:
        """Do the same to every selected job; a job that cannot be changed stays as it is."""
        by = _intervention()
        with readers(engine).connect() as c:
            names = interventions.selected(c, _selection(), configured)
        return _change(engine, names, act, by)

    @pages.get("/actions")
    @for_operators
    def overview() -> str:
        return view.render("actions.html")

    @pages.get("/audit")
    @for_operators
    def audit() -> str:
        codes_of = {
            name: _code(request.args.get(arg, "")) for name, arg in (("refused_for", "code"), ("failure", "failure"))
        }
        return view.render("audit.html", lambda c: {"entries": newest_entries(c, NEWEST)}, **codes_of)

    @pages.post("/actions/retry")
    @for_operators
    def retry() -> Response:
        return change(interventions.retry)

    @pages.post("/actions/drop")
    @for_operators
    def drop() -> Response:
        # only a job that is named can be one that takes an answer back
        is_confirmed = bool(request.form.get("withdrawals") and request.form.get("jobs", "").strip())
        return change(partial(interventions.drop, withdrawals=is_confirmed))

    @pages.post("/actions/hold")
    @for_operators
    def hold() -> Response:
        interventions.hold(engine, request.form.get("destination", ""), _intervention(), configured)
        return _outcome(1)

    @pages.post("/actions/release")
    @for_operators
    def release() -> Response:
        interventions.release(engine, request.form.get("destination", ""), _intervention(), _seen_hold())
        return _outcome(1)

    @pages.post("/actions/phase")
    @for_operators
    def phase() -> Response:
        sites, chosen = request.form.getlist("site"), request.form.get("phase", "")
        if not sites or not set(sites) <= set(Site) or chosen not in list(Phase):
            raise Rejected(ReasonCode.NO_SUCH_SITE, "choose a site and a phase")
        change_phase(engine, [Site(site) for site in sites], Phase(chosen), _intervention(), view.clears)
        return _outcome(len(sites))

    @pages.post("/actions/withdraw")
    @for_operators
    def withdraw_study() -> Response:
        title = TITLES.get(request.form.get("because", ""), codes.REJECTED_FOR_QUALITY)
        withdraw(request.form.get("uid", "").strip(), _intervention(), title)
        return redirect(url_for("actions.audit", withdrawn=1), 303)

    @pages.errorhandler(OsteonError)
    def explain(error: OsteonError) -> tuple[str, int]:
        return render_template("refused.html", sentence=error.reason), 409

    return pages


def _change(
    engine: Engine, names: list[str], act: Callable[[Engine, str, Intervention], object], by: Intervention
) -> Response:
    """Do the same to each job; what was changed before an error stays changed, and the answer says so."""
    waiting, changed, refusals = deque(names), 0, Counter[ReasonCode]()
    failure: ReasonCode | None = None
    while waiting and changed < MOST_AT_ONCE and refusals.total() < MOST_REFUSALS:
        try:
            act(engine, waiting[0], by)
            changed += 1
        except Rejected as error:
            refusals[error.code] += 1
        except (OsteonError, SQLAlchemyError) as error:
            failure = error.code if isinstance(error, OsteonError) else ReasonCode.DATABASE_UNUSABLE
            why = error.reason if isinstance(error, OsteonError) else defect(error)
            log.warning("an action of %s stopped after %d jobs, at %s: %s", by.person, changed, waiting[0], why)
            break
        waiting.popleft()
    return _outcome(changed, refusals, left=len(waiting), failure=failure)


def _code(name: str) -> ReasonCode | None:
    return ReasonCode(name) if name and name in list(ReasonCode) else None


def _selection() -> Selection:
    """Return the jobs that the form means: named ones, or those of a destination, with a code, or in a state.

    Raises
    ------
    Rejected
        ``no_such_job`` if the form selects nothing.
    """
    form = request.form
    names = tuple(form.get("jobs", "").replace(",", " ").split())
    state = State(form["state"]) if form.get("state") in list(State) else None
    selection = Selection(
        names=names, destination=form.get("destination") or None, code=form.get("code") or None, state=state
    )
    if selection == Selection():
        raise Rejected(ReasonCode.NO_SUCH_JOB, "name jobs such as delivery:40, or a destination")
    return selection


def _seen_hold() -> datetime:
    """Return the time at which the hold began that the page showed; the first of all times for none."""
    try:
        return datetime.fromisoformat(request.form.get("since", ""))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _intervention() -> Intervention:
    """Return the intervention of the visitor.

    Raises
    ------
    Rejected
        ``no_reason`` if the form gives none.
    """
    reason = " ".join(request.form.get("reason", "").split())[:LONGEST_REASON]
    if not reason:
        raise Rejected(ReasonCode.NO_REASON, "say why: the audit log keeps the reason")
    return visitor().intervention(reason)


def _outcome(
    changed: int,
    refusals: Counter[ReasonCode] | None = None,
    left: int = 0,
    failure: ReasonCode | None = None,
) -> Response:
    """Lead to the audit log, which shows the changes, with the numbers of those that were refused and are left.

    Parameters
    ----------
    failure
        Code of the error that ended the action before its time, if one did.
    """
    found = refusals or Counter[ReasonCode]()
    log.info("%s changed %d, and was refused %d", visitor().name, changed, found.total())
    most = found.most_common(1)[0][0] if found else None
    url = url_for(
        "actions.audit",
        changed=changed,
        refused=found.total() or None,
        code=most,
        left=left or None,
        failure=failure,
    )
    return redirect(url, 303)
