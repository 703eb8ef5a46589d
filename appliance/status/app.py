"""The page for hospital IT, `/health` and `/metrics`: they only read, and show no identity."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.finding import percent
from appliance.domain.notice import Subject
from appliance.domain.result import SECOND_READER
from engines.pack import Pack

from . import facts as facts_of
from . import health, records
from .attention import attention
from .metrics import OsteonCollector

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
REFRESH_S = 5


def create_app(engine: Engine, config: Configuration, pack: Pack | str, version: str) -> Flask:
    """Return the WSGI application.

    Parameters
    ----------
    engine
        For reading only (`appliance.storage.database.readers`).
    pack
        The pack in use, or the sentence that says why there is none.
    """
    app = Flask(__name__)
    app.jinja_env.filters |= {"duration": health.duration, "percent": percent}
    registry = CollectorRegistry()
    registry.register(OsteonCollector(engine, config))

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    def page() -> str:
        facts = facts_of.observe(engine, config, now())
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

    @app.get("/health/live")
    def live() -> Response:
        return jsonify(status="ok")

    @app.get("/health/ready")
    def ready() -> tuple[Response, int]:
        found = health.conditions(facts_of.observe(engine, config, now()))
        ok = health.is_ready(found, strict="strict" in request.args)
        return jsonify(ready=ok, conditions=[asdict(c) for c in found]), 200 if ok else 503

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return app
