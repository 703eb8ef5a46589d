"""Show the localiser labelled regions in three ways: ``python -m tests.benchmarks.close_ups [--pack NAME]``.

Other hospitals collimate to the joint, and a localiser that knows regions by their size in a large, soft picture does
not recognise them. So every labelled region of the radiographs that ``OSTEON_DATA/fracatlas/originals`` has at full
size is shown *whole*, in its radiograph; *soft*, as a close-up cut from the picture of 512 px; and *sharp*, as the same
close-up cut from the original. A close-up adds a quarter of the region's side all round. The localiser is right if the
strongest region that lies on the labelled box (IoU from 0.3) has its site. It has learned from most of these
radiographs: the figures compare the three ways. Rates come with Clopper-Pearson intervals of 95 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from appliance.config import Analyse, Configuration
from appliance.preprocessing.dali import DaliPreprocessor
from appliance.service.pipeline_assembly import packs_of
from engines.training.evaluate import SAME_PLACE, iou, locate
from engines.training.performance import format_estimate, share
from engines.training.session import InferenceSession, open_session
from provisioning.training.manifest import Corners, from_fracatlas
from provisioning.training.material import read_pixels

SOFT_PX = 512
MARGIN = 0.25
LARGEST = 0.6
"""Share of the picture's longer side above which a region is no close-up."""

WAYS: Final = ("whole", "soft", "sharp")


def shown(pixels: NDArray[np.uint16], box: Corners) -> Iterator[tuple[NDArray[np.uint16], Corners]]:
    """Yield the region whole, soft and sharp: a picture, and the region's box in it."""
    yield pixels, box
    height, width = pixels.shape
    factor = SOFT_PX / max(height, width)
    small = Image.fromarray(pixels.astype(np.float32)).resize((round(width * factor), round(height * factor)))
    soft = np.asarray(small).clip(0, 65535).astype(np.uint16)
    x0, y0, x1, y1 = (c * factor for c in box)
    for picture, corners in ((soft, (x0, y0, x1, y1)), (pixels, box)):
        a, b, c, d = corners
        dx, dy = MARGIN * (c - a), MARGIN * (d - b)
        left, top = max(int(a - dx), 0), max(int(b - dy), 0)
        cut = picture[top : int(d + dy) + 1, left : int(c + dx) + 1]
        yield np.ascontiguousarray(cut), (a - left, b - top, c - left, d - top)


def named(localiser: InferenceSession, image: NDArray[np.uint8], box: NDArray[np.float32], threshold: float) -> int:
    """Return the site that the localiser gives a box of the 512 image; -1 if it sees no region there."""
    (found,) = locate(localiser, image[None], threshold)
    if not len(found.sites):
        return -1
    on_it = iou(box[None], found.boxes)[0] >= SAME_PLACE
    return int(found.sites[on_it][0]) if on_it.any() else -1  # the strongest is first


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), envvar="OSTEON_DATA", required=True)
@click.option("--pack", default="fracatlas", show_default=True)
def main(data: Path, pack: str) -> None:
    """Count how often the localiser names a labelled region rightly, whole and as a close-up."""
    console = Console()
    (made,) = packs_of(Configuration(analyse=Analyse(pack=pack)))
    localiser, sites = open_session(made.localiser.file), made.localiser.sites
    preprocessor = DaliPreprocessor("cpu", threads=2)
    originals = {file.name: file for file in (data / "fracatlas" / "originals").iterdir()}
    rows = [row for row in from_fracatlas(data / "fracatlas") if Path(row.file).name in originals]
    outcomes: list[tuple[str, tuple[int, ...]]] = []
    for row in track(rows, description="radiographs", console=console):
        stored = read_pixels(originals[Path(row.file).name])
        with Image.open(row.file) as labelled:
            factor = stored.pixels.shape[1] / labelled.width
        for site, corners in row.region_boxes():
            if corners is None or site == "spine" or site not in sites:
                continue
            x0, y0, x1, y1 = (c * factor for c in corners)
            if max(x1 - x0, y1 - y0) > LARGEST * max(stored.pixels.shape):
                continue
            answers = []
            for pixels, box in shown(stored.pixels, (x0, y0, x1, y1)):
                (image,) = preprocessor.prepare([replace(stored, pixels=pixels)])
                scaled = np.array(box, np.float32) * np.float32(image.scale)
                answers.append(named(localiser, image.image, scaled, made.localiser.score_threshold))
            outcomes.append((site, tuple(answers)))
    _print(console, outcomes, sites, made.digest[:12])


def _print(console: Console, outcomes: list[tuple[str, tuple[int, ...]]], sites: tuple[str, ...], digest: str) -> None:
    table = Table("site", "regions", *WAYS, title=f"right site, {digest}; aims: whole 88 %, soft 80 %, sharp 75 %")
    for name in ("all", *sites):
        group = [(site, answers) for site, answers in outcomes if name in ("all", site)]
        if not group:
            continue
        rates = (
            share(sum(answers[way] == sites.index(site) for site, answers in group), len(group))
            for way in range(len(WAYS))
        )
        table.add_row(name, str(len(group)), *(format_estimate(rate, percent=True) for rate in rates))
    console.print(table)


if __name__ == "__main__":
    main()
