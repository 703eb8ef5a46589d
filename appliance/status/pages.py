"""The pages for hospital IT: they only read, and show no identity."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.notice import Subject
from appliance.domain.result import SECOND_READER
from engines.pack import Pack

from . import health, records
from .attention import attention
from .facts import observe

REFRESH_S = 5


def make_pages(engine: Engine, config: Configuration, pack: Pack | str, version: str) -> Blueprint:
    """Return the pages that people look at.

    Parameters
    ----------
    pack
        The pack in use, or the sentence that says why there is none.
    """
    pages = Blueprint("pages", __name__)

    @pages.get("/")
    def overview() -> str:
        facts = observe(engine, config, now())
        found = health.conditions(facts)
        try:
            with engine.connect() as c:
                lists: dict[str, Any] = {
                    "radiographs": records.newest_radiographs(c),
                    "parked": records.parked_jobs(c),
                    "declined": records.declined_analyses(c),
                    "errors": records.destination_errors(c),
                    "substitutes": records.substitutes(c),
                    "turned_away": records.newest_notices(c, Subject.ASSOCIATION),
                    "strangers": records.newest_notices(c, Subject.STRANGER),
                    "hl7_turned_away": records.newest_notices(c, Subject.HL7),
                    "not_for_us": records.newest_notices(c, Subject.INSTANCE),
                    "compute": records.newest_compute(c),
                }
        except (SQLAlchemyError, ValueError):  # the conditions report it
            lists = {}
        return render_template(
            "page.html",
            facts=facts,
            points=attention(facts, found, lists.get("errors", {})),
            ready=health.is_ready(found),
            headline=health.headline(found),
            pack=pack,
            version=version,
            second_reader=SECOND_READER,
            refresh_s=REFRESH_S,
            **lists,
        )

    return pages
