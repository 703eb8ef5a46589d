"""Phantoms of the size of a large detector, for measurements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset
from appliance.domain.radiograph import Radiograph

from .instance import instance_from_phantom
from .phantom import phantom

TEN_MEGAPIXELS = (3700, 2800)
"""Rows and columns of a detector of 43 x 35 cm at 0.12 mm, a little more than 10 million."""


def large_radiograph(site: str, seed: int) -> Radiograph:
    """Return a phantom, tiled to the size of a large detector."""
    ds = instance_from_phantom(phantom(site, seed, True))
    rows, columns = TEN_MEGAPIXELS
    pixels = np.tile(ds.pixel_array, (-(-rows // ds.Rows), -(-columns // ds.Columns)))[:rows, :columns]
    ds.Rows, ds.Columns, ds.PixelData = rows, columns, pixels.tobytes()
    return radiograph_from_dataset(ds, header_from_dataset(ds, ""))


def copy_of(radiograph: Radiograph) -> Radiograph:
    """Return the same radiograph in another array."""
    return replace(radiograph, stored=replace(radiograph.stored, pixels=radiograph.stored.pixels.copy()))
