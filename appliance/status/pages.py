"""The pages for hospital IT: they only read, and show no identity."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flask import Blueprint, request
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config.destinations import Archive
from appliance.domain.notice import Subject
from appliance.storage import overview

from . import records
from .figures import FigureReader, Figures
from .remedies import remedy_of
from .settings import settings_of
from .view import View

REFRESH_S = 10
"""Interval at which the overview reads itself again, unless the reader stops it."""

POINTS = 4
"""Points that the overview shows; the page of conditions has all."""

NEWEST = 7
"""Radiographs that the overview shows."""

Answer = str | tuple[str, int]


def make_pages(view: View) -> Blueprint:
    """Return the pages about the appliance and its destinations."""
    pages = Blueprint("pages", __name__)
    destinations = {d.name: d for d in view.config.destinations}
    reader = FigureReader(view.engine, next((d.name for d in destinations.values() if isinstance(d, Archive)), ""))

    def figures() -> Figures:
        with suppress(SQLAlchemyError, ValueError):
            return reader.read(now())
        return Figures()

    @pages.get("/")
    def page() -> str:
        refresh_s = 0 if "still" in request.args else REFRESH_S
        return view.render("page.html", _overview, figures=figures(), refresh_s=refresh_s, most_points=POINTS)

    @pages.get("/conditions")
    def conditions() -> str:
        return view.render("conditions.html", remedy_of=remedy_of)

    @pages.get("/destinations/<path:name>")
    def destination(name: str) -> Answer:
        def read(c: Connection) -> dict[str, Any]:
            return {
                "open_by_code": overview.open_by_code(c, name),
                "jobs": records.open_deliveries(c, name),
                "substitutes": records.substitutes(c),
            }

        configured = destinations.get(name)
        if configured is None and all(d.name != name for d in view.facts().destinations):
            return view.render("missing.html", what="No destination has this name"), 404
        settings = settings_of(configured) if configured else ()
        median_s = figures().median_s.get(name)
        return view.render("destination.html", read, name=name, settings=settings, median_s=median_s)

    @pages.get("/turned-away")
    def turned_away() -> str:
        return view.render("turned_away.html", _turned_away)

    @pages.get("/pack")
    def pack() -> str:
        return view.render("pack.html", lambda c: {"compute": records.newest_compute(c)})

    return pages


def _overview(c: Connection) -> dict[str, Any]:
    return {
        "radiographs": records.newest_radiographs(c, NEWEST),
        "turned_away": [
            *records.newest_notices(c, Subject.ASSOCIATION, 2),
            *records.newest_notices(c, Subject.HL7, 1),
            *records.newest_notices(c, Subject.STRANGER, 1),
        ],
        "compute": records.newest_compute(c),
    }


def _turned_away(c: Connection) -> dict[str, Any]:
    return {
        "turned_away": records.newest_notices(c, Subject.ASSOCIATION),
        "strangers": records.newest_notices(c, Subject.STRANGER),
        "hl7_turned_away": records.newest_notices(c, Subject.HL7),
        "not_for_us": records.newest_notices(c, Subject.INSTANCE),
    }
