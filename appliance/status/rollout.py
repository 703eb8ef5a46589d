"""The rollout page: each site's phase, the validation and its gate, and the report; it shows no single radiograph."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy import Connection, Engine

from appliance.clock import now
from appliance.domain.finding import Answer
from appliance.domain.validation import SampleKind
from appliance.errors import OsteonError
from appliance.rollout.gate import explanations
from appliance.rollout.scoring import DEFINITIONS
from appliance.storage.scored import find_validation, require_shown, scored_sample
from appliance.storage.spool import FileSpool
from appliance.storage.validations import current_validations

from .guard import for_operators, refused, visitor
from .kept import Kept
from .report import collect_report, write_report
from .row_ids import row_id
from .score_figures import score_figures
from .view import View
from .watch_figures import read_watch

PAGE = "rollout"
"""Name of the blueprint; the guard shows it to persons alone."""


def make_rollout_page(view: View, writer: Engine | None, keep_s: float) -> Blueprint:
    """Return the page, and where `writer` allows changes, the report as a file.

    Parameters
    ----------
    keep_s
        Time for which the figures of the watch are kept.
    """
    pages = Blueprint(PAGE, __name__)
    watch_of_now = Kept(read_watch, keep_s)

    @pages.get("/rollout")
    def page() -> str:
        def read(c: Connection) -> dict[str, Any]:
            return _rollout(c, view) | {"watch": watch_of_now(c, now())}

        return view.render("rollout.html", read, definitions=DEFINITIONS, explanations=explanations())

    if writer is not None:

        @pages.post("/rollout/report")
        @for_operators
        def report() -> Response:
            number = request.form.get("validation", type=row_id)
            with view.engine.connect() as c:
                sample = scored_sample(c, find_validation(c, SampleKind.RANDOM, number), view.clears)
                require_shown(sample)
                content = collect_report(c, FileSpool(view.config.spool_dir), view.config, sample)
            name = f"validation-{sample.validation.validation_id}.html"
            sealed = write_report(writer, content, visitor().intervention("the report from the page"))
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(sealed, content_type="text/html; charset=utf-8", headers=headers)

    @pages.errorhandler(OsteonError)
    def explain(error: OsteonError) -> tuple[str, int]:
        return refused(error.reason), 409

    return pages


def _rollout(c: Connection, view: View) -> dict[str, Any]:
    """Read the newest validation of each site with its score."""
    found = [scored_sample(c, validation, view.clears) for validation in current_validations(c)]
    samples = [(sample, score_figures(sample.cases, sample.score)) for sample in found]
    return {"samples": samples, "answer_kinds": tuple(Answer)}
