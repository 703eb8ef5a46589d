"""`osteon pack evaluate`: measure a pack on labelled radiographs; write a page with figures and the worst errors.

The whole pipeline is measured, from file to answer: whole radiographs by one label each, and regions where the manifest
has their boxes. A region that the localiser does not find counts as one without a fracture, and the page shows how many
there are.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from appliance.analysis.geometry import iou
from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.finding import Box, Finding, Verdict, percent
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.picture.overlay import overlay
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pack_of, pipeline_of
from appliance.service.reading import Reading
from engines.pack import Pack
from engines.training.performance import Estimate, auroc, format_estimate, share
from provisioning.radiograph_files import pick_evenly, read_instance

from .manifest import Corners, ManifestRow, read_manifest
from .whole_radiographs import WholeRadiograph, answers_of, figures_of, groups_of, holds_centre, whole_radiograph

SAME_REGION = 0.3
"""Intersection over union from which a finding is matched to a labelled region, as in the packs' own figures."""

WORST = 6
"""Number of errors of each kind on the page."""

THUMBNAIL_PX = 420
"""Longest side of a picture on the page."""

BINS = 10
"""Bins of the reliability diagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A labelled region and its finding.

    Attributes
    ----------
    row
        Index of the radiograph in the manifest.
    flags
        Flags of the radiograph, as in the manifest.
    finding
        None if the region was not found.
    """

    row: int
    site: str
    is_fractured: bool
    flags: str
    finding: Finding | None

    @property
    def probability(self) -> float:
        """Probability of the finding; 0 if the region was not found."""
        return self.finding.probability if self.finding else 0.0

    @property
    def verdict(self) -> Verdict:
        """Verdict of the finding; negative if the region was not found."""
        return self.finding.verdict if self.finding else Verdict.NEGATIVE


@dataclass(slots=True)
class Evaluation:
    """Cases of a run over a manifest.

    Attributes
    ----------
    radiographs
        The labelled radiographs.
    refused
        Reason code -> number of radiographs that were not analysed or could not be read.
    """

    cases: list[Case] = field(default_factory=list)
    radiographs: list[WholeRadiograph] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)


def evaluate_manifest(manifest: Path, config: Configuration, report: Path, limit: int | None, console: Console) -> None:
    """Evaluate the configured pack on a manifest and write the page to `report`.

    Raises
    ------
    Rejected
        ``manifest`` if the manifest cannot be used.
    """
    pack = pack_of(config)
    try:
        rows = pick_evenly(read_manifest(manifest), limit)
    except (OSError, ValueError) as error:
        raise Rejected(ReasonCode.MANIFEST, f"{manifest} cannot be used as a manifest: {error}") from error
    reader = Reader(pipeline_of(config))
    errors: list[tuple[Case, bytes]] = []
    tracked = track(rows, description="evaluating", console=console)
    try:
        made = evaluate(tracked, manifest.parent, reader, pack, lambda case, picture: errors.append((case, picture)))
    finally:
        reader.close()
    write_report(made, pack, manifest.name, errors, report)
    console.print(f"{len(made.radiographs)} labelled radiographs, {len(made.cases)} regions: {report}")


def evaluate(
    rows: Iterable[ManifestRow], folder: Path, reader: Reader, pack: Pack, on_error: Callable[[Case, bytes], None]
) -> Evaluation:
    """Run the pipeline over the radiographs of a manifest that are labelled as fractured or not.

    Parameters
    ----------
    folder
        Folder of the manifest, to which its file names are relative.
    on_error
        Called with every case that was answered wrongly and its overlay as JPEG.
    """
    made = Evaluation()
    for number, row in enumerate(rows):
        if not row.fractured:
            continue
        try:
            reading = reader.read(reader.examine(partial(read_instance, folder / row.file)))
        except Rejected as error:
            made.refused[error.code] = made.refused.get(error.code, 0) + 1
            made.radiographs.append(whole_radiograph(row, None))
            continue
        result = reading.analysis.result
        made.radiographs.append(whole_radiograph(row, result))
        if result.not_analysed:
            made.refused[result.not_analysed.code] = made.refused.get(result.not_analysed.code, 0) + 1
        labelled = [(site, box) for site, box in row.region_boxes() if site in pack.classifiers]
        for site, corners in labelled:
            case = Case(
                row=number,
                site=site,
                is_fractured=_is_fractured(row, corners),
                flags=row.flags,
                finding=_match_finding(result.findings, site, corners),
            )
            made.cases.append(case)
            if case.finding and case.is_fractured != (case.verdict.is_suspicious):
                on_error(case, _thumbnail(reading))
    return made


def write_report(
    evaluation: Evaluation, pack: Pack, source: str, errors: Sequence[tuple[Case, bytes]], out: Path
) -> None:
    """Write the page to `out`; its pictures are inside the file."""
    sites = [site for site in pack.classifiers if any(c.site == site for c in evaluation.cases)]
    groups = {site: [c for c in evaluation.cases if c.site == site] for site in sites} | {"all": evaluation.cases}
    unflagged = {f"{name}, no hardware or cast": [c for c in g if not c.flags] for name, g in groups.items()}
    templates = jinja2.Environment(loader=jinja2.PackageLoader("provisioning.training"), autoescape=True)
    page = templates.get_template("evaluation.html").render(
        pack=pack,
        source=source,
        day=now().date().isoformat(),
        radiographs=len(evaluation.radiographs),
        whole=[figures_of(name, group) for name, group in groups_of(evaluation.radiographs).items()],
        answers=answers_of(evaluation.radiographs),
        refused=evaluation.refused,
        rows=[_figures(name, cases) for name, cases in (groups | unflagged).items() if cases],
        roc=_as_uri(_roc_diagram(groups), "png"),
        reliability=_as_uri(_reliability_diagram(evaluation.cases), "png"),
        missed=[_error_entry(*e) for e in _worst_errors(errors, fractured=True)],
        alarms=[_error_entry(*e) for e in _worst_errors(errors, fractured=False)],
    )
    out.write_text(page, encoding="utf-8")


def _is_fractured(row: ManifestRow, corners: Corners | None) -> bool:
    """Return whether the region holds the centre of a fracture; for the whole radiograph, whether it is fractured."""
    if corners is None or row.fractured != "1":
        return row.fractured == "1"
    return any(holds_centre(_box(corners), fracture) for fracture in row.fracture_boxes())


def _match_finding(findings: Sequence[Finding], site: str, corners: Corners | None) -> Finding | None:
    """Return the finding of the site that overlaps a labelled region most; for the whole radiograph, the gravest."""
    of_site = [f for f in findings if f.site == site]
    if corners is None:
        return max(of_site, key=lambda f: f.probability, default=None)
    box = _box(corners)
    best = max(of_site, key=lambda f: iou(f.box, box), default=None)
    return best if best and iou(best.box, box) >= SAME_REGION else None


def _box(corners: Corners) -> Box:
    x0, y0, x1, y1 = (max(corner, 0.0) for corner in corners)
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _figures(name: str, cases: Sequence[Case]) -> dict[str, Any]:
    """Return one row of the page's table: counts, AUROC, and sensitivity and specificity of both operating points."""
    label = np.array([c.is_fractured for c in cases])
    probability = np.array([c.probability for c in cases])
    answers = [c.verdict for c in cases]

    def share_reaching(point: tuple[Verdict, ...], fractured: bool) -> Estimate:
        reached = [
            answer in point for answer, is_fractured in zip(answers, label, strict=True) if is_fractured == fractured
        ]
        return share(sum(reached), len(reached))

    doubt, positive = (Verdict.DOUBT, Verdict.POSITIVE), (Verdict.POSITIVE,)
    return {
        "name": name,
        "n": len(cases),
        "positives": int(label.sum()),
        "not_found": sum(c.finding is None for c in cases),
        "auroc": format_estimate(auroc(probability, label)),
        "points": [
            (
                format_estimate(share_reaching(point, fractured=True), percent=True),
                format_estimate(_complement(share_reaching(point, fractured=False)), percent=True),
            )
            for point in (doubt, positive)
        ],
    }


def _complement(estimate: Estimate) -> Estimate:
    point, low, high = estimate
    return 1 - point, 1 - high, 1 - low


def _roc_diagram(groups: dict[str, list[Case]]) -> bytes:
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


def _reliability_diagram(cases: Sequence[Case]) -> bytes:
    """Draw the share of fractures, with exact intervals, against the probability in tenths."""
    found = [c for c in cases if c.finding]
    bins: NDArray[np.int64] = np.minimum([int(c.probability * BINS) for c in found], BINS - 1).astype(np.int64)

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for k in np.unique(bins):
            in_bin = [c for c, b in zip(found, bins, strict=True) if b == k]
            point, low, high = share(sum(c.is_fractured for c in in_bin), len(in_bin))
            mean = float(np.mean([c.probability for c in in_bin]))
            axes.errorbar(mean, point, [[point - low], [high - point]], fmt="o", color="#1f5fa8", capsize=3)
            axes.annotate(str(len(in_bin)), (mean, point), textcoords="offset points", xytext=(6, 4), fontsize=7)
        axes.set(
            xlabel="probability of a fracture", ylabel="share of fractures, 95 % interval", xlim=(0, 1), ylim=(0, 1)
        )

    return _figure(draw)


def _figure(draw: Callable[[Any], None]) -> bytes:
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(figsize=(5, 4.4), layout="constrained")
        draw(figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _worst_errors(errors: Sequence[tuple[Case, bytes]], *, fractured: bool) -> Iterator[tuple[Case, bytes]]:
    """Yield the missed fractures of lowest probability, or the false alarms of highest."""
    of_kind = [e for e in errors if e[0].is_fractured == fractured]
    yield from sorted(of_kind, key=lambda e: e[0].probability, reverse=not fractured)[:WORST]


def _error_entry(case: Case, picture: bytes) -> dict[str, object]:
    error = f"no fracture, and the answer was {case.verdict.label}"
    if case.is_fractured:
        error = "fracture, and none was found"
    return {
        "picture": _as_uri(picture, "jpeg"),
        "line": case.row + 2,  # of the manifest: line 1 names the columns
        "site": case.site,
        "error": error,
        "probability": percent(case.probability),
        "flags": case.flags,
    }


def _thumbnail(reading: Reading) -> bytes:
    assert reading.grey is not None
    picture = Image.fromarray(overlay(reading.grey, reading.analysis.result, reading.analysis.heats))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _as_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
