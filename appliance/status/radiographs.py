"""The pages about radiographs: the newest, the look-up, and every step of one.

A number that is looked up is sent in a form and not kept; the addresses of the pages have numbers of our database only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, redirect, request, url_for
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from appliance.storage import journeys
from appliance.storage.inspection import QueueName
from appliance.storage.journeys import Journey

from . import records
from .journey import steps
from .view import View

LISTED = 100
"""Radiographs on their page."""

UNREADABLE = "The database cannot be read"

Answer = str | tuple[str, int]


def make_radiograph_pages(view: View) -> Blueprint:
    """Return the pages about radiographs."""
    pages = Blueprint("radiographs", __name__)

    @pages.get("/radiographs")
    def newest() -> str:
        return view.render("radiographs.html", _lists)

    @pages.post("/radiographs")
    def look_up() -> Response | Answer:
        number = request.form.get("number", "")
        try:
            with view.engine.connect() as c:
                found = journeys.find_targets(c, number)
        except SQLAlchemyError:
            return view.render("missing.html", what=UNREADABLE), 503
        pages_of = {QueueName.STUDY: "radiographs.study", QueueName.ANALYSIS: "radiographs.radiograph"}
        addresses = [url_for(pages_of[one.queue], row_id=one.row_id) for one in found]
        if len(addresses) == 1:
            return redirect(addresses[0], 303)
        return view.render("found.html", addresses=addresses, number=number), 200 if addresses else 404

    def journey(read_journey: Callable[[Connection, int], Journey | None], row_id: int) -> Answer:
        try:
            with view.engine.connect() as c:
                found = read_journey(c, row_id)
        except (SQLAlchemyError, ValueError):
            return view.render("missing.html", what=UNREADABLE), 503
        if found is None:
            return view.render("missing.html", what="No radiograph or study has this number here"), 404
        return view.render("journey.html", journey=found, steps=steps(found))

    @pages.get("/radiographs/<int(max=2147483647):row_id>")
    def radiograph(row_id: int) -> Answer:
        return journey(journeys.journey_of_radiograph, row_id)

    @pages.get("/studies/<int(max=2147483647):row_id>")
    def study(row_id: int) -> Answer:
        return journey(journeys.journey_of_study, row_id)

    return pages


def _lists(c: Connection) -> dict[str, Any]:
    return {
        "radiographs": records.newest_radiographs(c, LISTED),
        "parked": records.parked_jobs(c),
        "declined": records.declined_analyses(c),
    }
