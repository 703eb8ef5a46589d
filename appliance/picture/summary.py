"""The study summary: every radiograph with its picture and its answer, on as few readable pages as possible.

Eight radiographs stand in two columns on one page that is at most 1,600 px high.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from appliance.domain.finding import Answer
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence, joined
from appliance.domain.study import StudyResult
from appliance.words import ENGLISH, Language

from .band import answers, cautions, made_by
from .palette import ANSWER_COLOURS, BACKGROUND, CAUTION, FAINT, RULE, WHITE
from .text import Line, Piece, fitted, height_px, write

WIDTH_PX = 1500
"""Width of a page."""

TEXT_PX = 28
"""Size of plain text."""

MARGIN_PX = 30

PER_PAGE = 8
"""Radiographs on one page; with more, answers could not be read in the thumbnails of a list."""

HEIGHT_PX = 1600
"""Height that a page keeps to, so that it can be read when a viewer fits it to the screen."""

LARGEST_PX = 480
"""Largest side of the square that holds the picture of a radiograph."""

ONE_COLUMN = 3
"""Radiographs below each other; more of them stand in two columns."""

HEADLINE_SCALES = (2.3, 1.8, 1.3)
"""Largest sizes of headlines beside a picture, relative to plain text, tried one after the other."""

LEAST_TEXT_PX = 16
"""Least size of plain text beside a picture; a page with more text than fits at that size is higher."""


def summary_pages(
    study: StudyResult,
    views: Mapping[str, str],
    pictures: Mapping[str, NDArray[np.uint8]],
    language: Language = ENGLISH,
) -> list[NDArray[np.uint8]]:
    """Draw the pages, (H, 1500, 3) uint8 each.

    Parameters
    ----------
    views, pictures
        By SOP Instance UID: the name of a radiograph in its study, and its picture (h, w, 3) uint8, if any.
    """
    results = study.results
    parts = [results[k : k + PER_PAGE] for k in range(0, len(results), PER_PAGE)]
    return [_page(study, part, (number, len(parts)), views, pictures, language) for number, part in enumerate(parts, 1)]


def _page(
    study: StudyResult,
    results: Sequence[Result],
    page: tuple[int, int],
    views: Mapping[str, str],
    pictures: Mapping[str, NDArray[np.uint8]],
    language: Language,
) -> NDArray[np.uint8]:
    shared = _shared_caveats(study)
    head = fitted(_head(study, page, shared, language), TEXT_PX, WIDTH_PX - 2 * MARGIN_PX)
    foot = fitted(
        [made_by(study.provenance, study.created_at, study.revision, language)], TEXT_PX, WIDTH_PX - 2 * MARGIN_PX
    )
    fixed_px = height_px((*head, *foot)) + 3 * MARGIN_PX
    columns = 1 if len(results) <= ONE_COLUMN else 2
    count = -(-len(results) // columns)
    wide = (WIDTH_PX - MARGIN_PX) // columns
    side = min((HEIGHT_PX - fixed_px) // count - MARGIN_PX, LARGEST_PX, wide // 2)
    texts = [_row(r, views.get(r.sop_instance_uid, ""), shared, language) for r in results]
    cells = [_fit_cell(lines, wide - side - 2 * MARGIN_PX, side) for lines in texts]
    grid = [range(k, min(k + columns, len(results))) for k in range(0, len(results), columns)]
    heights = [max(side, *(height_px(cells[k]) for k in row)) + MARGIN_PX for row in grid]

    image = Image.new("RGB", (WIDTH_PX, sum(heights) + fixed_px), BACKGROUND)
    draw = ImageDraw.Draw(image)
    top = write(draw, head, MARGIN_PX, MARGIN_PX // 2)
    draw.rectangle((0, top, WIDTH_PX, top + 5), ANSWER_COLOURS[study.answer])
    top += MARGIN_PX
    for row, tall in zip(grid, heights, strict=True):
        for column, k in enumerate(row):
            left = MARGIN_PX + column * wide
            _draw_picture(image, pictures.get(results[k].sop_instance_uid), (left, top), side, language)
            write(draw, cells[k], left + side + MARGIN_PX, top)
        top += tall
        draw.line((MARGIN_PX, top - MARGIN_PX // 2, WIDTH_PX - MARGIN_PX, top - MARGIN_PX // 2), RULE)
    write(draw, foot, MARGIN_PX, top)
    return np.asarray(image)


def _fit_cell(lines: Sequence[Line], width_px: int, tall_px: int) -> list[Piece]:
    """Fit `lines` beside a picture: plain text shrinks, and headlines beside it, until all of it is as high."""
    for size_px in range(TEXT_PX, LEAST_TEXT_PX - 1, -2):
        for most in HEADLINE_SCALES:
            pieces = fitted([replace(line, scale=min(line.scale, most)) for line in lines], size_px, width_px)
            if height_px(pieces) <= tall_px:
                return pieces
    return pieces


def _shared_caveats(study: StudyResult) -> tuple[Sentence, ...]:
    """Return the caveats that all radiographs share: they are written once, at the head."""
    return tuple(c for c in study.caveats if all(c in r.caveats for r in study.results))


def _head(study: StudyResult, page: tuple[int, int], shared: Sequence[Sentence], language: Language) -> list[Line]:
    counts = Counter(r.answer for r in study.results)
    order = [answer for answer in Answer if answer in counts]
    number = len(study.results)
    kinds = tuple(Sentence.of("{count} {answer}", count=counts[each], answer=each.label) for each in order)
    overview = Sentence.of("{count} radiographs: {answers}", count=number, answers=kinds)
    if number == 1:
        overview = Sentence.of("1 radiograph: {answers}", answers=kinds)
    if page[1] > 1:
        overview = joined([overview, Sentence.of("page {page} of {pages}", page=page[0], pages=page[1])])
    answer = Sentence.of("{subject}: {answer}", subject=Sentence.of("Study"), answer=study.answer.label)
    heading = [Line(text=language.say(words), colour=WHITE, scale=2.3) for words in study.heading]
    lines = [
        Line(text=language.say(answer).upper(), colour=ANSWER_COLOURS[study.answer], scale=2.3),
        Line(text=language.say(overview), scale=1.3),
        Line(text=language.notice, colour=WHITE, scale=1.3),
    ]
    lines[1:1] = [Line(text=language.say(sentence), colour=WHITE, scale=1.8) for sentence in study.seen_in_some_views]
    lines[1:1] = [
        Line(text=language.say(note), colour=ANSWER_COLOURS[Answer.INCOMPLETE], scale=1.8) for note in study.notes
    ]
    if study.unread_sites:
        unread = Sentence.of("NOT READ OR NOT CLEARED: {sites}", sites=study.unread_sites)
        lines.insert(1, Line(text=language.say(unread), colour=ANSWER_COLOURS[Answer.INCOMPLETE], scale=1.8))
    if study.revision > 1:
        later = Sentence.of("revision {revision}, takes the place of earlier ones", revision=study.revision)
        lines.append(Line(text=language.say(later), colour=CAUTION))
    return heading + lines + [Line(text=f"! {language.say(caveat)}", colour=CAUTION) for caveat in shared]


def _row(result: Result, view: str, shared: Sequence[Sentence], language: Language) -> list[Line]:
    """Return the lines beside a picture: its headlines, its caveats and the name of the radiograph in its study."""
    lines = [*answers(result, language), *cautions((c for c in result.caveats if c not in shared), result, language)]
    return [*lines, Line(text=view, colour=FAINT)] if view else lines


def _draw_picture(
    image: Image.Image, picture: NDArray[np.uint8] | None, at: tuple[int, int], side: int, language: Language
) -> None:
    """Draw the picture of a radiograph, or the words "no picture", into a square of `side` px."""
    draw = ImageDraw.Draw(image)
    x, y = at
    draw.rectangle((x, y, x + side, y + side), (0, 0, 0))
    if picture is None:
        pieces = fitted([Line(text=language.say(Sentence.of("no picture")), colour=FAINT)], TEXT_PX, side)
        write(draw, pieces, x + TEXT_PX, y + side // 2 - TEXT_PX)
        return
    small = Image.fromarray(picture)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.paste(small, (x + (side - small.width) // 2, y + (side - small.height) // 2))
