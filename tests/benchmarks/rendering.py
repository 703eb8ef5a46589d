"""Milliseconds for every picture of a 10-megapixel radiograph: ``python -m tests.benchmarks.rendering``.

Of processor time, on one thread, with heat over a third of the film. Beside it what other libraries take for a part
of the way: matplotlib's colour map with Pillow's blending for the heat alone, highdicom's SCImage for the object alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import highdicom
import matplotlib as mpl
import numpy as np
from highdicom.sc import SCImage
from PIL import Image
from pydicom.dataset import Dataset

from appliance.config import Picture
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.part10 import part10_bytes
from appliance.domain.finding import Box
from appliance.domain.result import Result
from appliance.picture.overlay import overlay, thumbnail
from appliance.ports import Heat
from kernels.reference import OPACITY
from tests.support.results import finding, result
from tests.support.sources import source

ROWS, COLUMNS = 3500, 2900
ROUNDS = 7
BOX = Box(x0=500, y0=700, x1=2200, y1=2700)


def main() -> None:
    """Print the table."""
    film, ds = _film(), source(rows=ROWS, columns=COLUMNS)
    given, heat = _answered(ds)
    looks = {
        "overlay": Picture(),
        "overlay, JPEG": Picture(compression="jpeg"),
        "beside": Picture(layout="beside"),
        "beside, JPEG": Picture(layout="beside", compression="jpeg"),
        "grey": Picture(layout="grey"),
        "grey, JPEG": Picture(layout="grey", compression="jpeg"),
        "overlay, 2048 px, JPEG": Picture(longest_px=2048, compression="jpeg"),
    }
    print(f"{'':<46} {'drawn':>8} {'encoded':>8} {'both ms':>8} {'MB':>6}")
    for name, look in looks.items():
        drawn, pixels = _timed(partial(overlay, film, given, [heat], look))
        made, content = _timed(partial(_rendered_bytes, ds, given, pixels, look))
        print(f"{name:<46} {drawn:8.1f} {made:8.1f} {drawn + made:8.1f} {len(content) / 1e6:6.1f}")
    print(f"{'thumbnail for the summary':<46} {_timed(lambda: thumbnail(film, given, [heat], 512))[0]:8.1f}")
    rgb = overlay(film, given, [heat])
    print(f"{'heat alone: matplotlib colours, Pillow blends':<46} {_timed(lambda: _peer_overlay(film, heat))[0]:8.1f}")
    print(f"{'object alone: highdicom SCImage':<46} {'':>8} {_timed(lambda: _peer_object(ds, rgb))[0]:8.1f}")


def _rendered_bytes(ds: Dataset, given: Result, pixels: Any, look: Picture) -> bytes:
    return part10_bytes(secondary_capture(ds, given, pixels, look))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Least of `ROUNDS`, after one that is not counted."""
    spent = []
    for _ in range(ROUNDS + 1):
        start = process_time()
        made = work()
        spent.append((process_time() - start) * 1e3)
    return min(spent[1:]), made


def _film() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Noise over bone-like gradients: what a JPEG has to work on."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 25), np.uint8)).resize((COLUMNS, ROWS), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(coarse) + rng.normal(0, 3, (ROWS, COLUMNS)), 0, 255).astype(np.uint8)


def _answered(ds: Dataset) -> tuple[Result, Heat]:
    cells = np.random.default_rng(2).random((16, 16), np.float32) ** 3
    return result(ds, finding(box=BOX)), Heat(cells=cells, extent=BOX.as_tuple(), within=BOX.as_tuple())


def _peer_overlay(film: np.ndarray[Any, Any], heat: Heat) -> np.ndarray[Any, Any]:
    """As the examples of Grad-CAM packages do it: enlarge, colour by a map, blend with a weight."""
    x0, y0, x1, y1 = (int(v) for v in heat.extent)
    large = np.asarray(Image.fromarray(heat.cells).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR))
    coloured = (mpl.colormaps["jet"](large)[..., :3] * 255).astype(np.uint8)
    image = Image.fromarray(film).convert("RGB")
    part = image.crop((x0, y0, x1, y1))
    image.paste(Image.blend(part, Image.fromarray(coloured), OPACITY), (x0, y0))
    return np.asarray(image)


def _peer_object(ds: Dataset, rgb: np.ndarray[Any, Any]) -> bytes:
    made = SCImage.from_ref_dataset(
        ref_dataset=ds,
        pixel_array=rgb,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
        series_instance_uid=highdicom.UID(),
        sop_instance_uid=highdicom.UID(),
        series_number=1,
        instance_number=1,
        manufacturer="peer",
        patient_orientation=("L", "F"),
    )
    return part10_bytes(made)


if __name__ == "__main__":
    main()
