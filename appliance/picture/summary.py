"""The study summary: every radiograph with its picture and its answer, on as few readable pages as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from appliance.domain.finding import Answer
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.study import StudyResult

from .band import answers, cautions, made_by
from .palette import ANSWER_COLOURS, BACKGROUND, CAUTION, FAINT, RULE, WHITE
from .text import Line, fitted, write

WIDTH_PX = 1500
"""Width of a page."""

TEXT_PX = 28
"""Size of plain text."""

MARGIN_PX = 30

PER_PAGE = 8
"""Radiographs on one page; with more, answers could not be read in the thumbnails of a list."""

LARGEST_PX = 480
SMALLEST_PX = 200
"""Largest and smallest side of the square that holds the picture of a radiograph: fewer radiographs, larger squares."""


def summary_pages(
    study: StudyResult, views: Mapping[str, str], pictures: Mapping[str, NDArray[np.uint8]]
) -> list[NDArray[np.uint8]]:
    """Draw the pages, (H, 1500, 3) uint8 each.

    Parameters
    ----------
    views, pictures
        By SOP Instance UID: the name of a radiograph in its study, and its picture (h, w, 3) uint8, if any.
    """
    results = study.results
    parts = [results[k : k + PER_PAGE] for k in range(0, len(results), PER_PAGE)]
    return [_page(study, part, (number, len(parts)), views, pictures) for number, part in enumerate(parts, 1)]


def _page(
    study: StudyResult,
    results: Sequence[Result],
    page: tuple[int, int],
    views: Mapping[str, str],
    pictures: Mapping[str, NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    shared = _shared_caveats(study)
    side = min(max(WIDTH_PX // len(results), SMALLEST_PX), LARGEST_PX)
    left = MARGIN_PX + side + MARGIN_PX
    room = WIDTH_PX - left - MARGIN_PX
    rows = [fitted(_row(r, views.get(r.sop_instance_uid, ""), shared), TEXT_PX, room) for r in results]
    heights = [max(side, sum(piece.height_px for piece in row)) + MARGIN_PX for row in rows]
    head = fitted(_head(study, page, shared), TEXT_PX, WIDTH_PX - 2 * MARGIN_PX)
    foot = fitted([made_by(study.provenance, study.created_at, study.revision)], TEXT_PX, WIDTH_PX - 2 * MARGIN_PX)
    height = sum(heights) + sum(piece.height_px for piece in (*head, *foot)) + 3 * MARGIN_PX

    image = Image.new("RGB", (WIDTH_PX, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    top = write(draw, head, MARGIN_PX, MARGIN_PX // 2)
    draw.rectangle((0, top, WIDTH_PX, top + 5), ANSWER_COLOURS[study.answer])
    top += MARGIN_PX
    for result, row, tall in zip(results, rows, heights, strict=True):
        _draw_picture(image, pictures.get(result.sop_instance_uid), (MARGIN_PX, top), side)
        write(draw, row, left, top)
        top += tall
        draw.line((MARGIN_PX, top - MARGIN_PX // 2, WIDTH_PX - MARGIN_PX, top - MARGIN_PX // 2), RULE)
    write(draw, foot, MARGIN_PX, top)
    return np.asarray(image)


def _shared_caveats(study: StudyResult) -> tuple[str, ...]:
    """Return the caveats that all radiographs share: they are written once, at the head."""
    return tuple(c for c in study.caveats if all(c in r.caveats for r in study.results))


def _head(study: StudyResult, page: tuple[int, int], shared: Sequence[str]) -> list[Line]:
    counts = Counter(r.answer for r in study.results)
    order = sorted(counts, key=lambda answer: -answer.severity)
    number = len(study.results)
    noun = "radiograph" if number == 1 else "radiographs"
    overview = f"{number} {noun}: " + ", ".join(f"{counts[answer]} {answer.label}" for answer in order)
    if page[1] > 1:
        overview += f"; page {page[0]} of {page[1]}"
    lines = [
        Line(text=f"STUDY: {study.answer.label.upper()}", colour=ANSWER_COLOURS[study.answer], scale=2.3),
        Line(text=overview, scale=1.3),
        Line(text=SECOND_READER, colour=WHITE, scale=1.3),
    ]
    if study.revision > 1:
        lines.append(Line(text=f"revision {study.revision}: takes the place of earlier summaries", colour=CAUTION))
    return lines + [Line(text=f"! {caveat}", colour=CAUTION) for caveat in shared]


def _row(result: Result, view: str, shared: Sequence[str]) -> list[Line]:
    lines = [*answers(result), *cautions((c for c in result.caveats if c not in shared), result)]
    details = [view] if view else []
    if focus := [f"{finding.focus:.2f}" for finding in result.findings if finding.answer is not Answer.NEGATIVE]:
        details.append(f"focus of the heat map {', '.join(focus)}")
    return [*lines, Line(text="; ".join(details), colour=FAINT)] if details else lines


def _draw_picture(image: Image.Image, picture: NDArray[np.uint8] | None, at: tuple[int, int], side: int) -> None:
    """Draw the picture of a radiograph, or the words "no picture", into a square of `side` px."""
    draw = ImageDraw.Draw(image)
    x, y = at
    draw.rectangle((x, y, x + side, y + side), (0, 0, 0))
    if picture is None:
        pieces = fitted([Line(text="no picture", colour=FAINT)], TEXT_PX, side)
        write(draw, pieces, x + TEXT_PX, y + side // 2 - TEXT_PX)
        return
    small = Image.fromarray(picture)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.paste(small, (x + (side - small.width) // 2, y + (side - small.height) // 2))
