"""Radiographs of 10 megapixels for benchmarks: a phantom as a CR, in the encodings that rooms send."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom

from appliance.domain.identifiers import Site
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.encodings import encode
from tests.support.peers import find
from tests.support.sources import with_meta

ROWS, COLUMNS = 3700, 2800
"""10.4 megapixels: a plate of 35 x 43 cm at 0.1 mm, rounded."""

NOISE = 4.0
"""Standard deviation of the noise in stored values of 12 bits; enlarging alone leaves a picture that packs too well."""

ENCODINGS = {"uncompressed": "explicit_le", "JPEG lossless": "jpeg_lossless_sv1", "JPEG 2000 lossless": "jpeg_2000"}

_STEM = "1.2.826.0.1.3680043.8.498"
_NUMBER = "100000001"
"""Stands in every UID where each radiograph has a number of its own, of the same length."""


@dataclass(frozen=True, slots=True)
class Template:
    """The bytes of a radiograph, from which any number of others are made."""

    content: bytes

    def write(self, path: Path, number: int) -> Path:
        """Write the radiograph of that number, of its own study and patient."""
        path.write_bytes(self.content.replace(_NUMBER.encode(), f"{int(_NUMBER) + number}".encode()))
        return path


def templates(folder: Path, *, large: bool = True) -> dict[str, Template]:
    """Return the radiograph in each of `ENCODINGS`; only uncompressed and as small as the phantom, unless `large`."""
    shown = phantom(Site.WRIST.value, 1, fracture=True)
    ds = instance_from_phantom(shown, computed_radiography=True)
    ds.StudyInstanceUID = f"{_STEM}.1.{_NUMBER}"
    ds.SeriesInstanceUID = f"{_STEM}.2.{_NUMBER}"
    ds.SOPInstanceUID = f"{_STEM}.3.{_NUMBER}"
    ds.PatientID = ds.AccessionNumber = _NUMBER
    if large:
        grey = shown.pixels.astype(np.float32)
        grey = zoom(grey, (ROWS / grey.shape[0], COLUMNS / grey.shape[1]), order=1)[:ROWS, :COLUMNS]
        grey += np.random.default_rng(1).normal(0, NOISE, grey.shape).astype(np.float32)
        ds.Rows, ds.Columns = grey.shape
        ds.PixelData = np.clip(np.rint(grey), 0, (1 << ds.BitsStored) - 1).astype("<u2").tobytes()
    source = folder / "source.dcm"
    with_meta(ds).save_as(source, enforce_file_format=True)
    chosen = ENCODINGS if large else {"uncompressed": "explicit_le"}
    return {name: Template(encode(find, own, source, folder / own).read_bytes()) for name, own in chosen.items()}
