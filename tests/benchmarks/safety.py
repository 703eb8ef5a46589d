"""Count unsafe answers on labelled radiographs: ``python -m tests.benchmarks.safety [--limit N] [--json FILE]``.

Every radiograph of ``OSTEON_DATA/fracatlas`` with labelled regions is wrapped as a DX instance and analysed with three
headers: no body part, the right one (the site of the largest labelled region), and a wrong one (a limb site that the
radiograph is not labelled with, each in turn). Fractured radiographs that are positive under the right header are
analysed again turned, mirrored, inverted, cut and washed out. Chests and other DICOM files that no engine reads, and
drawn pictures that show no bone, are counted apart. Of fractured radiographs with a suspicion it is counted how often a
mark touches a labelled fracture. Rates come with Clopper-Pearson intervals of 95 %. The packs have learned from most of
these radiographs: the figures measure the rules of the answers, and not the networks.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import beta

from appliance.analysis.geometry import iou
from appliance.analysis.pipeline import Pipeline
from appliance.analysis.reading_plan import ARM, LEG, SAME_PLACE
from appliance.config import Analyse, Configuration
from appliance.dicom.objects.wrapped_picture import wrap_picture
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.domain.finding import Answer, Verdict, Withheld
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import Radiograph
from appliance.domain.result import Result
from appliance.errors import Rejected
from appliance.service.pipeline_assembly import assemble_workbench
from provisioning.radiograph_files import pick_evenly, read_instance
from provisioning.training.manifest import ManifestRow, from_fracatlas
from provisioning.training.whole_radiographs import holds_centre, touches
from tests.benchmarks.no_bone import drawn_pictures

BODY_PARTS: Final[dict[Site, str]] = {
    Site.LOWER_LEG: "LEG",
    **{site: site.name for site in Site if site not in (Site.LOWER_LEG, Site.SPINE)},
}
DRAWN_PICTURES = 300

Pixels = NDArray[np.uint16]
TRANSFORMS: Final[dict[str, Callable[[Pixels], Pixels]]] = {
    "turned by 90 degrees": lambda p: np.ascontiguousarray(np.rot90(p)),
    "turned by 180 degrees": lambda p: np.ascontiguousarray(p[::-1, ::-1]),
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "inverted": lambda p: (p.max() - p).astype(np.uint16),
    "cut to its upper two thirds": lambda p: np.ascontiguousarray(p[: 2 * len(p) // 3]),
    "washed out": lambda p: (p.max() // 2 + p // 8).astype(np.uint16),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of `n` with its exact interval (Clopper and Pearson, Biometrika 26, 1934)."""

    count: int
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided interval of 95 %, as shares."""
        k, n = self.count, self.n
        low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
        return low, float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0

    def __str__(self) -> str:
        if not self.n:
            return "no radiographs"
        low, high = self.interval
        return f"{self.count} of {self.n} ({self.count / self.n:.1%} [{low:.1%}, {high:.1%}])"


@dataclass(slots=True)
class Tally:
    """The answers under one kind of header, and the files with an unsafe one."""

    answers: dict[bool, Counter[str]] = field(default_factory=lambda: {True: Counter(), False: Counter()})
    negative_outside: list[str] = field(default_factory=list)
    two_names: list[str] = field(default_factory=list)
    two_limbs: list[str] = field(default_factory=list)
    clearable: Counter[str] = field(default_factory=Counter)
    suspected: int = 0
    marked: int = 0

    def add(self, row: ManifestRow, result: Result, subject: Site, clears: frozenset[Site]) -> None:
        """Count the result of one radiograph; `subject` is the site of its largest labelled region."""
        name, fractured = Path(row.file).name, bool(row.fracture_boxes())
        self.answers[fractured][result.answer.value] += 1
        read = [f.box for f in result.findings]
        is_read = any(holds_centre(box, fracture) for box in read for fracture in row.fracture_boxes())
        if fractured and result.answer is Answer.NEGATIVE and not is_read:
            self.negative_outside.append(name)
        pairs = itertools.combinations(result.findings, 2)
        if any(a.site is not b.site and iou(a.box, b.box) > SAME_PLACE for a, b in pairs):
            self.two_names.append(name)
        sites = {f.site for f in result.findings if f.site_is_certain}  # else outputs name no site, and say why
        if sites & ARM and sites & LEG and Withheld.OTHER_LIMB.sentence not in result.caveats:
            self.two_limbs.append(name)
        if fractured and result.answer.is_suspicious:
            self.suspected += 1
            marks = [f.mark for f in result.findings if f.verdict.is_suspicious and f.mark]
            self.marked += any(touches(mark, box) for mark in marks for box in row.fracture_boxes())
        if not fractured and subject in clears:
            self.clearable[result.answer.value] += 1


def _largest(row: ManifestRow) -> Site:
    sizes = {
        site: (box[2] - box[0]) * (box[3] - box[1]) if box else np.inf
        for site, box in row.region_boxes()
        if site in {s.value for s in BODY_PARTS}
    }
    return Site(max(sizes, key=lambda site: sizes[site]))


def _radiograph(ds: Dataset, body_part: str = "") -> Radiograph:
    ds.BodyPartExamined = body_part
    return radiograph_from_dataset(ds, header_from_dataset(ds))


def _transformed(ds: Dataset, transform: Callable[[Pixels], Pixels]) -> Dataset:
    """Return a copy with other pixels, so that the display is chosen anew."""
    changed = copy.deepcopy(ds)
    pixels = transform(ds.pixel_array).astype(ds.pixel_array.dtype)
    changed.Rows, changed.Columns = pixels.shape
    changed.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    return changed


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), envvar="OSTEON_DATA", required=True)
@click.option("--pack", default="fracatlas", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="At most so many radiographs, evenly spread, and drawn pictures.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="Write the figures to this file.")
def main(data: Path, pack: str, limit: int | None, report: Path | None) -> None:
    """Analyse labelled radiographs with absent, right and wrong headers and count unsafe answers."""
    console = Console()
    pipeline = assemble_workbench(Configuration(analyse=Analyse(pack=pack))).pipeline
    clears = frozenset(site for site, engine in pipeline.classifiers.items() if engine.spec.clears)
    rows = [
        r
        for r in from_fracatlas(data / "fracatlas")
        if not r.is_unlabelled and any(s in BODY_PARTS for s, _ in r.region_boxes())
    ]
    rows = pick_evenly(rows, limit)
    tallies = {kind: Tally() for kind in ("absent", "right", "wrong")}
    lost: Counter[str] = Counter()
    positives = 0
    for number, row in enumerate(track(rows, description="radiographs", console=console)):
        ds, subject = wrap_picture(Path(row.file).read_bytes()), _largest(row)
        labelled = {site for site, _ in row.region_boxes()}
        others = [site for site in BODY_PARTS if site.value not in labelled]
        parts = {"absent": "", "right": BODY_PARTS[subject], "wrong": BODY_PARTS[others[number % len(others)]]}
        results = {kind: pipeline.analyse(_radiograph(ds, part)).result for kind, part in parts.items()}
        for kind, result in results.items():
            tallies[kind].add(row, result, subject, clears)
        if row.fracture_boxes() and results["right"].answer is Answer.POSITIVE:
            positives += 1
            for name, transform in TRANSFORMS.items():
                changed = _radiograph(_transformed(ds, transform), parts["right"])
                lost[name] += pipeline.analyse(changed).result.answer is Answer.NEGATIVE
    flips = {name: Rate(count=lost[name], n=positives) for name in TRANSFORMS}
    drawn = min(limit or DRAWN_PICTURES, DRAWN_PICTURES)
    nothing = {kind: _answered(pipeline, pictures) for kind, pictures in _without_bone(data, drawn).items()}
    figures = _figures(tallies, flips, nothing)
    _print(console, tallies, figures)
    if report:
        unsafe = {kind: sorted({*t.negative_outside, *t.two_names, *t.two_limbs}) for kind, t in tallies.items()}
        content = {"pack": pipeline.provenance.model, "figures": figures, "unsafe": unsafe}
        report.write_text(json.dumps(content, indent=1, default=asdict))


def _answered(pipeline: Pipeline, pictures: Iterator[Radiograph]) -> Rate:
    """Count the pictures that got a positive, possible or negative statement about any region."""
    statements = frozenset({Verdict.POSITIVE, Verdict.DOUBT, Verdict.NEGATIVE})
    results = [pipeline.analyse(picture).result for picture in pictures]
    return Rate(count=sum(any(f.verdict in statements for f in r.findings) for r in results), n=len(results))


def _without_bone(data: Path, drawn: int) -> dict[str, Iterator[Radiograph]]:
    """Return the images of the DICOM files that no engine reads, and `drawn` pictures without bone."""
    return {
        "chests and other real images that no engine reads": _real_images(data / "dicom"),
        "drawn pictures without bone": (_radiograph(wrap_picture(file.read_bytes())) for file in drawn_pictures(drawn)),
    }


def _real_images(folder: Path) -> Iterator[Radiograph]:
    for name in ("happy_RG1_J2KI", "happy_966_fixed", "photometric_Monochrome1-Jpeg", "reject_0_ORIGINAL_compressed"):
        try:
            yield _radiograph(read_dataset(read_instance(folder / f"{name}.dcm")))
        except Rejected:
            continue


def _figures(tallies: dict[str, Tally], flips: dict[str, Rate], nothing: dict[str, Rate]) -> dict[str, dict[str, Rate]]:
    figures: dict[str, dict[str, Rate]] = {}
    for kind, tally in tallies.items():
        fractured, free = (sum(tally.answers[f].values()) for f in (True, False))
        both = fractured + free
        cleared = sum(tally.clearable.values())
        figures[f"header {kind}"] = {
            "fractured, negative, fracture outside every read region (aim: at most 5 of 519)": Rate(
                count=len(tally.negative_outside), n=fractured
            ),
            "one box with two names (aim: none)": Rate(count=len(tally.two_names), n=both),
            "arm and leg without a reason (aim: none)": Rate(count=len(tally.two_limbs), n=both),
            "fractured, suspected or possible: a mark touches the fracture": Rate(
                count=tally.marked, n=tally.suspected
            ),
            "fracture-free, site clears: incomplete (aim: at most 30 %)": Rate(
                count=tally.clearable["incomplete"], n=cleared
            ),
            "fracture-free, site clears: negative (aim: at least 40 %)": Rate(
                count=tally.clearable["negative"], n=cleared
            ),
        }
    figures["copies of positive radiographs that become negative (aim: at most 2 %)"] = flips
    figures["nothing that an engine reads, and yet a statement (aim: at most 2 %)"] = nothing
    return figures


def _print(console: Console, tallies: dict[str, Tally], figures: dict[str, dict[str, Rate]]) -> None:
    answers = Table("header", "fracture", *(a.value for a in Answer), title="answers")
    for kind, tally in tallies.items():
        for fractured, counts in tally.answers.items():
            answers.add_row(kind, "yes" if fractured else "no", *(str(counts[a.value]) for a in Answer))
    console.print(answers)
    for title, rates in figures.items():
        table = Table("figure", "rate [95 % interval]", title=title)
        for name, rate in rates.items():
            table.add_row(name, str(rate))
        console.print(table)


if __name__ == "__main__":
    main()
