"""The page behind the link of a report: a radiologist accepts or rejects the answer; it is recorded beside it."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import Engine
from werkzeug.wrappers import Response

from appliance.domain.validation import Decision
from appliance.storage.database import readers
from appliance.storage.decisions import MOST_BY_LINK, Decidable, decidable, decide_by_link

from .guard import refused, visitor

Answered = str | tuple[str, HTTPStatus] | Response


def make_decide(engine: Engine) -> Blueprint:
    """Return the page and its form, for everybody who has signed in and may see answers.

    Parameters
    ----------
    engine
        For writing: it records decisions.
    """
    pages = Blueprint("decide", __name__)

    @pages.get("/decide/<identifier>")
    def ask(identifier: str) -> Answered:
        with readers(engine).connect() as c:
            found = decidable(c, identifier)
        if refusal := _refusal(found):
            return refusal
        return render_template("decide.html", report=found, identifier=identifier)

    @pages.post("/decide/<identifier>")
    def decide(identifier: str) -> Answered:
        decision = request.form.get("decision", "")
        with engine.begin() as c:
            found = decidable(c, identifier)
            if refusal := _refusal(found):
                return refusal
            if found is None or decision not in list(Decision):
                return refused("The form says neither accept nor reject."), HTTPStatus.BAD_REQUEST
            if not decide_by_link(c, found, Decision(decision), visitor().name):
                sentence = f"You have decided {MOST_BY_LINK} times about this report: no more decisions are recorded."
                return refused(sentence), HTTPStatus.CONFLICT
        return redirect(url_for("decide.ask", identifier=identifier), HTTPStatus.SEE_OTHER)

    return pages


def _refusal(found: Decidable | None) -> Response | tuple[str, HTTPStatus] | None:
    """Lead a visitor without a name to the sign-in, and refuse an identifier of no report of ours."""
    if visitor().role is None:
        return redirect(url_for("sign_in.form", to=request.path), HTTPStatus.SEE_OTHER)
    if found is None:
        return refused("There is no report of ours with that number."), HTTPStatus.NOT_FOUND
    return None
