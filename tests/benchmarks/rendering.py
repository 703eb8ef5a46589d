"""Milliseconds for every picture of a 10-megapixel radiograph: ``python -m tests.benchmarks.rendering``.

The times are processor times on one thread, with heat over a third of the radiograph. For comparison other libraries do
part of the work: matplotlib's colour map and Pillow's blending the heat alone, highdicom's SCImage the object alone.
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
    radiograph, ds = _radiograph(), source(rows=ROWS, columns=COLUMNS)
    given, heat = _answered(ds)
    looks = {
        "overlay, JPEG": Picture(),
        "overlay": Picture(compression="none"),
        "beside, JPEG": Picture(layout="beside"),
        "beside": Picture(layout="beside", compression="none"),
        "grey, JPEG": Picture(layout="grey"),
        "grey": Picture(layout="grey", compression="none"),
        "overlay, 2048 px, JPEG": Picture(longest_px=2048),
    }
    print(f"{'':<46} {'drawn':>8} {'encoded':>8} {'both ms':>8} {'MB':>6}")
    for name, look in looks.items():
        drawn, pixels = _timed(partial(overlay, radiograph, given, [heat], look))
        made, content = _timed(partial(_rendered_bytes, ds, given, pixels, look))
        print(f"{name:<46} {drawn:8.1f} {made:8.1f} {drawn + made:8.1f} {len(content) / 1e6:6.1f}")
    print(f"{'thumbnail for the summary':<46} {_timed(lambda: thumbnail(radiograph, given, [heat], 512))[0]:8.1f}")
    rgb = overlay(radiograph, given, [heat])
    peer_overlay_ms, _ = _timed(lambda: _peer_overlay(radiograph, heat))
    print(f"{'heat alone: matplotlib colours, Pillow blends':<46} {peer_overlay_ms:8.1f}")
    print(f"{'object alone: highdicom SCImage':<46} {'':>8} {_timed(lambda: _peer_object(ds, rgb))[0]:8.1f}")


def _rendered_bytes(ds: Dataset, given: Result, pixels: Any, look: Picture) -> bytes:
    return part10_bytes(secondary_capture(ds, given, pixels, look))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the least time of `ROUNDS`, after one that is not counted, and the result."""
    spent = []
    for _ in range(ROUNDS + 1):
        start = process_time()
        made = work()
        spent.append((process_time() - start) * 1e3)
    return min(spent[1:]), made


def _radiograph() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return noise over bone-like gradients, which JPEG has to compress."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 25), np.uint8)).resize((COLUMNS, ROWS), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(coarse) + rng.normal(0, 3, (ROWS, COLUMNS)), 0, 255).astype(np.uint8)


def _answered(ds: Dataset) -> tuple[Result, Heat]:
    cells = np.random.default_rng(2).random((16, 16), np.float32) ** 3
    return result(ds, finding(box=BOX)), Heat(cells=cells, extent=BOX.as_tuple(), within=BOX.as_tuple())


def _peer_overlay(radiograph: np.ndarray[Any, Any], heat: Heat) -> np.ndarray[Any, Any]:
    """Draw as the examples of Grad-CAM packages: enlarge, colour by a map, blend with a weight."""
    x0, y0, x1, y1 = (int(v) for v in heat.extent)
    large = np.asarray(Image.fromarray(heat.cells).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR))
    coloured = (mpl.colormaps["jet"](large)[..., :3] * 255).astype(np.uint8)
    image = Image.fromarray(radiograph).convert("RGB")
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
