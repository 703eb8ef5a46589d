"""The Image Pixel module of a picture that we made: uncompressed, or JPEG Baseline.

References
----------
DICOM PS3.3 C.7.6.3 (Image Pixel), C.7.6.3.1.2 (YBR_FULL_422: the sub-sampling of a JPEG stream may differ from it),
C.7.6.1.1.5 (Lossy Image Compression); PS3.5 8.2.1, table 8.2.1-1 (JPEG Baseline: YBR_FULL_422 or RGB), A.4.1.
"""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from appliance.config import Compression
from appliance.dicom.part10 import with_file_meta
from appliance.dicom.reading.attributes import as_list

JPEG_QUALITY = 95
"""Quality for libjpeg, 1 to 100: the least of those measured at which SSIM around every mark is above 0.95 in every
channel (docs/performance.md)."""

JPEG_METHOD = "ISO_10918_1"
"""Defined term of Lossy Image Compression Method (0028,2114)."""


def with_pixels(ds: Dataset, pixels: NDArray[np.uint8], compression: Compression) -> Dataset:
    """Write the Image Pixel module and the File Meta Information into `ds`, and return it.

    JPEG adds its ratio and method to those of the source: once lossy, always lossy.

    Raises
    ------
    ValueError
        If `pixels` is neither (H, W) nor (H, W, 3) uint8.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(f"a picture must be (H, W) or (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    in_colour = pixels.ndim == 3
    ds.SamplesPerPixel = 3 if in_colour else 1
    ds.PhotometricInterpretation = "RGB" if in_colour else "MONOCHROME2"
    if in_colour:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated = 8
    ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    if compression == "none":
        ds.PixelData = pixels.tobytes() + b"\x00" * (pixels.size % 2)
        ds["PixelData"].VR = "OB"
        return with_file_meta(ds, ExplicitVRLittleEndian)
    subsampling = "444" if in_colour else None
    stream = bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=JPEG_QUALITY, subsampling=subsampling))
    if in_colour:  # the term of the Standard for YCbCr in JPEG Baseline, however it is sampled
        ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.PixelData = encapsulate([stream], has_bot=False)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = [
        *_present_values(ds, "LossyImageCompressionRatio"),
        f"{pixels.nbytes / len(stream):.4g}",
    ]
    ds.LossyImageCompressionMethod = [*_present_values(ds, "LossyImageCompressionMethod"), JPEG_METHOD]
    return with_file_meta(ds, JPEGBaseline8Bit)


def _present_values(ds: Dataset, keyword: str) -> list[object]:
    value = ds.get(keyword)
    return [] if value == "" else as_list(value)
