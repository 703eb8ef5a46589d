"""Milliseconds to decode one radiograph, by encoding, beside pydicom's own choice of decoder.

``python -m tests.benchmarks.decoding [ROWS COLUMNS]``. pydicom takes what is installed: ``pip install python-gdcm
pylibjpeg pylibjpeg-openjpeg pylibjpeg-rle pyjpegls`` gives it all it can have under a permissive licence.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array
from rich.progress import track

from appliance.dicom.reading.decoders import samples
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.encodings import ENCODINGS, encode
from tests.support.peers import find

ROUNDS = 5
COMPRESSED = [name for name in ENCODINGS if not name.startswith(("explicit", "bare", "implicit")) and "_le" not in name]


def main() -> None:
    """Print the fastest of five, in processor milliseconds, which other work on the machine does not change."""
    rows, (height, width) = [], [int(n) for n in sys.argv[1:3]] or [2500, 2048]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.dcm"
        ds = instance_from_phantom(phantom("wrist", 3, True))
        pixels = np.tile(ds.pixel_array, (-(-height // ds.Rows), -(-width // ds.Columns)))[:height, :width]
        ds.Rows, ds.Columns, ds.PixelData = *pixels.shape, pixels.tobytes()
        ds.save_as(source, enforce_file_format=True)
        for name in track(COMPRESSED, description="decoding", transient=True):
            encoded = pydicom.dcmread(encode(find, name, source, Path(folder) / name))
            rows.append(
                (name, len(encoded.PixelData) / 1e6, _fastest(samples, encoded), _fastest(pixel_array, encoded))
            )
    print(f"{height} x {width}, 12 bits; Python {sys.version.split()[0]}, pydicom {pydicom.__version__}")
    for name, size, ours, theirs in rows:
        peer, ratio = (f"{theirs:6.0f} ms", f"{theirs / ours:5.2f}") if ours and theirs else ("    none", "     ")
        print(f"{name:<26} {size:5.1f} MB   osteon {ours or float('nan'):6.0f} ms   pydicom {peer}   ratio {ratio}")


def _fastest(decode: Callable[[pydicom.Dataset], NDArray[np.generic]], ds: pydicom.Dataset) -> float | None:
    best = None
    for _ in range(ROUNDS):
        start = process_time()
        try:
            decode(ds)
        except (AttributeError, NotImplementedError, RuntimeError, ValueError):
            return None
        spent = (process_time() - start) * 1e3
        best = spent if best is None else min(best, spent)
        for cached in ("_pixel_array", "_pixel_id"):
            ds.__dict__.pop(cached, None)
    return best


if __name__ == "__main__":
    main()
