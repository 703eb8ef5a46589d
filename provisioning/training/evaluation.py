"""`osteon pack evaluate`: a pack on labelled radiographs, as a page with figures, intervals and the worst errors.

The whole chain is measured, from file to answer: a region that the localiser does not find counts as one that no
fracture was found in, and is named.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from appliance.analysis.geometry import iou
from appliance.config import Configuration
from appliance.domain.finding import Answer, Box, Finding, percent
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.picture.overlay import overlay
from appliance.service.instance_reader import Reader, Reading
from appliance.service.pipeline_assembly import pack_of, pipeline_of
from engines.pack import Pack
from engines.training.performance import Estimate, auroc, share, written
from provisioning.radiograph_files import pick_evenly, read_instance

from .manifest import Corners, Row, read_manifest

SAME_REGION = 0.3
"""Intersection over union from which an answer speaks of a labelled region, as in the packs' own figures."""

WORST = 6
"""Errors of each kind that are shown."""

THUMBNAIL_PX = 420
BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A labelled region and what was said of it; `finding` is None where it was not found."""

    film: int
    site: str
    is_fractured: bool
    flags: str
    finding: Finding | None

    @property
    def probability(self) -> float:
        """What was said; 0 where nothing was."""
        return self.finding.probability if self.finding else 0.0

    @property
    def answer(self) -> Answer:
        """What was said; nothing found where nothing was."""
        return self.finding.answer if self.finding else Answer.NEGATIVE


@dataclass(slots=True)
class Evaluation:
    """What a run over a manifest gave.

    Attributes
    ----------
    refused
        Reason -> films that were not analysed for it, or could not be read.
    """

    cases: list[Case] = field(default_factory=list)
    films: int = 0
    refused: dict[str, int] = field(default_factory=dict)


def evaluate_manifest(manifest: Path, config: Configuration, report: Path, limit: int | None, console: Console) -> None:
    """Evaluate the configured pack on a manifest and write the page to `report`."""
    pack = pack_of(config)
    try:
        rows = pick_evenly(read_manifest(manifest), limit)
    except (OSError, ValueError) as error:
        raise Rejected(ReasonCode.MANIFEST, f"{manifest} is no manifest that can be used: {error}") from error
    reader = Reader(pipeline_of(config))
    errors: list[tuple[Case, bytes]] = []
    followed = track(rows, description="evaluating", console=console)
    try:
        made = evaluate(followed, manifest.parent, reader, pack, lambda case, picture: errors.append((case, picture)))
    finally:
        reader.close()
    write_report(made, pack, manifest.name, errors, report)
    console.print(f"{made.films} labelled radiographs, {len(made.cases)} regions: {report}")


def evaluate(
    rows: Iterable[Row], folder: Path, reader: Reader, pack: Pack, show: Callable[[Case, bytes], None]
) -> Evaluation:
    """Run the chain over the labelled radiographs of a manifest.

    Parameters
    ----------
    folder
        Of the manifest, to which its files are relative.
    show
        Is given every case that went wrong, with its overlay as JPEG.
    """
    made = Evaluation()
    for number, row in enumerate(rows):
        wanted = [(site, box) for site, box in row.located() if site in pack.classifiers]
        if not row.fractured or not wanted:
            continue
        made.films += 1
        try:
            reading = reader.read(reader.examine(partial(read_instance, folder / row.file)))
        except Rejected as error:
            made.refused[error.code] = made.refused.get(error.code, 0) + 1
            continue
        result = reading.analysis.result
        if result.not_analysed:
            made.refused[result.not_analysed.code] = made.refused.get(result.not_analysed.code, 0) + 1
        for site, corners in wanted:
            case = Case(
                film=number,
                site=site,
                is_fractured=_is_fractured(row, corners),
                flags=row.flags,
                finding=_finding(result.findings, site, corners),
            )
            made.cases.append(case)
            if case.finding and case.is_fractured != (case.answer is not Answer.NEGATIVE):
                show(case, _thumbnail(reading))
    return made


def write_report(
    evaluation: Evaluation, pack: Pack, source: str, errors: Sequence[tuple[Case, bytes]], out: Path
) -> None:
    """The page, with everything that it shows inside it."""
    sites = [site for site in pack.classifiers if any(c.site == site for c in evaluation.cases)]
    groups = {site: [c for c in evaluation.cases if c.site == site] for site in sites} | {"all": evaluation.cases}
    bare = {f"{name}, no hardware or cast": [c for c in g if not c.flags] for name, g in groups.items()}
    templates = jinja2.Environment(loader=jinja2.PackageLoader("provisioning.training"), autoescape=True)
    page = templates.get_template("evaluation.html").render(
        pack=pack,
        source=source,
        day=date.today().isoformat(),
        films=evaluation.films,
        refused=evaluation.refused,
        rows=[_figures(name, cases) for name, cases in (groups | bare).items() if cases],
        roc=_as_uri(_roc(groups), "png"),
        reliability=_as_uri(_reliability(evaluation.cases), "png"),
        missed=[_shown(*e) for e in _worst(errors, fractured=True)],
        alarms=[_shown(*e) for e in _worst(errors, fractured=False)],
    )
    out.write_text(page, encoding="utf-8")


def _is_fractured(row: Row, corners: Corners | None) -> bool:
    """A fracture belongs to every region that holds its centre."""
    if corners is None or row.fractured != "1":
        return row.fractured == "1"
    x0, y0, x1, y1 = corners
    centres = [((a + c) / 2, (b + d) / 2) for a, b, c, d in row.broken()]
    return any(x0 <= x <= x1 and y0 <= y <= y1 for x, y in centres)


def _finding(findings: Sequence[Finding], site: str, corners: Corners | None) -> Finding | None:
    """The answer that speaks of a labelled region: the one that overlaps most, or the gravest of the film."""
    mine = [f for f in findings if f.site == site]
    if corners is None:
        return max(mine, key=lambda f: f.probability, default=None)
    box = Box(**dict(zip(("x0", "y0", "x1", "y1"), (max(v, 0) for v in corners), strict=True)))
    best = max(mine, key=lambda f: iou(f.box, box), default=None)
    return best if best and iou(best.box, box) >= SAME_REGION else None


def _figures(name: str, cases: Sequence[Case]) -> dict[str, Any]:
    label = np.array([c.is_fractured for c in cases])
    probability = np.array([c.probability for c in cases])
    answers = [c.answer for c in cases]

    def told(fractured: bool, at: tuple[Answer, ...]) -> Estimate:
        of = [answer in at for answer, is_fractured in zip(answers, label, strict=True) if is_fractured == fractured]
        return share(sum(of), len(of))

    doubt, positive = (Answer.DOUBT, Answer.POSITIVE), (Answer.POSITIVE,)
    return {
        "name": name,
        "n": len(cases),
        "positives": int(label.sum()),
        "not_found": sum(c.finding is None for c in cases),
        "auroc": written(auroc(probability, label)),
        "points": [
            (written(told(True, at), percent=True), written(_complement(told(False, at)), percent=True))
            for at in (doubt, positive)
        ],
    }


def _complement(estimate: Estimate) -> Estimate:
    point, low, high = estimate
    return 1 - point, 1 - high, 1 - low


def _roc(groups: dict[str, list[Case]]) -> bytes:
    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, cases in groups.items():
            label = np.array([c.is_fractured for c in cases])
            if not 0 < label.sum() < label.size:
                continue
            order = np.argsort([-c.probability for c in cases], kind="stable")
            hit = np.concatenate([[0], np.cumsum(label[order]) / label.sum()])
            alarm = np.concatenate([[0], np.cumsum(~label[order]) / (~label).sum()])
            axes.plot(alarm, hit, label=f"{name} (n {label.size}, {label.sum()} fractured)", linewidth=1.6)
        axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.005))
        axes.legend(fontsize=7, loc="lower right")

    return _figure(draw)


def _reliability(cases: Sequence[Case]) -> bytes:
    """Share of fractures in tenths of the probability, with exact intervals."""
    found = [c for c in cases if c.finding]
    bins: NDArray[np.int64] = np.minimum([int(c.probability * BINS) for c in found], BINS - 1).astype(np.int64)

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for k in np.unique(bins):
            mine = [c for c, b in zip(found, bins, strict=True) if b == k]
            point, low, high = share(sum(c.is_fractured for c in mine), len(mine))
            said = float(np.mean([c.probability for c in mine]))
            axes.errorbar(said, point, [[point - low], [high - point]], fmt="o", color="#1f5fa8", capsize=3)
            axes.annotate(str(len(mine)), (said, point), textcoords="offset points", xytext=(6, 4), fontsize=7)
        axes.set(
            xlabel="probability that was said", ylabel="share of fractures, 95 % interval", xlim=(0, 1), ylim=(0, 1)
        )

    return _figure(draw)


def _figure(draw: Callable[[Any], None]) -> bytes:
    with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(figsize=(5, 4.4), layout="constrained")
        draw(figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _worst(errors: Sequence[tuple[Case, bytes]], *, fractured: bool) -> Iterator[tuple[Case, bytes]]:
    mine = [e for e in errors if e[0].is_fractured == fractured]
    yield from sorted(mine, key=lambda e: e[0].probability, reverse=not fractured)[:WORST]


def _shown(case: Case, picture: bytes) -> dict[str, object]:
    says = (
        "fracture, and none was found" if case.is_fractured else f"no fracture, and the answer was {case.answer.label}"
    )
    return {"picture": _as_uri(picture, "jpeg"), "line": case.film + 2, "site": case.site, "says": says,
            "probability": percent(case.probability), "flags": case.flags}  # fmt: skip


def _thumbnail(reading: Reading) -> bytes:
    assert reading.grey is not None
    picture = Image.fromarray(overlay(reading.grey, reading.analysis.result, reading.analysis.heats))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _as_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
