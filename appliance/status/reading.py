"""The page of readers: one radiograph of a validation's sample at a time, without the answer of the appliance.

Whoever may see answers, an operator or a viewer, may not read. The pixels are decoded in a process that may die; this
module passes its PNG on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy import Engine
from werkzeug.wrappers import Response as AnyResponse

from appliance.domain.finding import Box
from appliance.domain.identifiers import place
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import DrawnPicture, Read, ReadAnswer, ReadMark, ReadSource
from appliance.errors import OsteonError, Rejected
from appliance.storage import reads
from appliance.storage.reads import Drawn

from .guard import for_readers, refused, visitor
from .row_ids import row_id
from .view import View

EDGES: Final = ("x0", "y0", "x1", "y1")

NOTICES: Final = (ReasonCode.READ_ALREADY, ReasonCode.NOT_OFFERED)
"""Refusals after which the reader goes on with another radiograph."""

NOT_THERE: Final = "This radiograph is not to be read any more."

VIEWS: Final = {"LL": "lateral", "RL": "lateral"}
"""Views that readers see in other words: of a limb, the first letter is easily taken for its side."""

Look = Callable[[Drawn], DrawnPicture]
"""Makes the picture of a radiograph; raises `Transient` if that cannot be done now."""


def make_reading(view: View, engine: Engine, look: Look) -> Blueprint:
    """Return the page of readers.

    Parameters
    ----------
    engine
        For writing: it records reads.
    """
    pages = Blueprint("reading", __name__)

    @pages.get("/read")
    @for_readers
    def page() -> str:
        notice = request.args.get("notice", "")
        drawn = reads.offered(engine, visitor().name)
        picture = look(drawn) if drawn else None
        return view.render(
            "read.html",
            drawn=drawn,
            picture=picture,
            place=place(drawn.site, picture.side) if drawn and picture else "",
            waiting=reads.waiting_count(engine),
            answers=list(ReadAnswer),
            marks=list(ReadMark),
            edges=EDGES,
            views=VIEWS,
            notice=ReasonCode(notice).sentence if notice in NOTICES else "",
        )

    @pages.get("/read/<int(max=2147483647):draw_id>/picture")
    @for_readers
    def picture(draw_id: int) -> Response | tuple[str, int]:
        drawn = reads.offered_by_id(engine, draw_id)
        png = look(drawn).png if drawn else b""
        return Response(png, content_type="image/png") if png else (refused(NOT_THERE), 404)

    @pages.post("/read")
    @for_readers
    def answer() -> AnyResponse:
        form = request.form
        draw_id, result_id = form.get("draw", 0, type=row_id), form.get("result", 0, type=row_id)
        notice = None
        try:
            reads.record_read(engine, draw_id, result_id, _read(), visitor().intervention(""))
        except Rejected as error:
            if error.code not in NOTICES:
                raise
            notice = error.code
        return redirect(url_for("reading.page", notice=notice), 303)

    @pages.errorhandler(OsteonError)
    def explain(error: OsteonError) -> tuple[str, int]:
        return refused(error.reason), 409 if isinstance(error, Rejected) else 503

    return pages


def _read() -> Read:
    """Return the read of the form.

    Raises
    ------
    Rejected
        ``bad_read`` if the form has no answer, or a box that is none, or one around no fracture.
    """
    form = request.form
    try:
        answer = ReadAnswer(form.get("answer", ""))
    except ValueError:
        raise Rejected(ReasonCode.BAD_READ, "choose an answer: go back, and press f, n, u or x") from None
    marks = tuple(mark for mark in ReadMark if mark in form.getlist("mark"))
    box = _box()
    if box and answer is ReadAnswer.NONE:
        reason = "a radiograph without a fracture has no box around one: go back, and answer again"
        raise Rejected(ReasonCode.BAD_READ, reason)
    return Read(reader=visitor().name, source=ReadSource.PAGE, answer=answer, box=box, marks=marks)


def _box() -> Box | None:
    edges = [request.form.get(edge, "").strip() for edge in EDGES]
    if not any(edges):
        return None
    try:
        return Box(**dict(zip(EDGES, map(_pixels, edges), strict=True)))
    except ValueError:
        reason = "the box needs four edges in pixels, left before right and top before bottom: go back, and draw it"
        raise Rejected(ReasonCode.BAD_READ, reason) from None


def _pixels(text: str) -> float:
    """Return a whole number of pixels; raises ValueError for anything else."""
    if not text.isdecimal() or len(text) > 5:
        raise ValueError(text)
    return float(text)
