"""Pixel Data to samples: one codec library for whatever is compressed, pydicom for whatever is not.

imagecodecs is the fastest, or as fast as any, for each of these syntaxes, exact in the lossless ones, and reads the
12-bit and retired JPEG processes that pydicom has no decoder for. A JPEG stream says itself which process made it, so
one function reads all of them. A codec may crash on a hostile stream: the appliance decodes in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, JPEGLSTransferSyntaxes, RLELossless

_THREADS = 4
"""Of one JPEG 2000 frame; the other codecs use one."""

_JPEG = ("50", "51", "53", "55", "57", "70")
"""Baseline, extended, the retired spectral selection and full progression, lossless, lossless SV1 (PS3.5 annex A)."""

CODECS: dict[str, Callable[[bytes], NDArray[Any]]] = {
    **{f"1.2.840.10008.1.2.4.{process}": imagecodecs.jpeg8_decode for process in _JPEG},
    **{str(syntax): imagecodecs.jpegls_decode for syntax in JPEGLSTransferSyntaxes},
    **{f"1.2.840.10008.1.2.4.{n}": partial(imagecodecs.jpeg2k_decode, numthreads=_THREADS) for n in ("90", "91")},
    **{f"1.2.840.10008.1.2.4.{n}": imagecodecs.htj2k_decode for n in ("201", "202", "203")},
}
"""Transfer syntax -> frame to samples, (H, W) or (H, W, 3)."""


def samples(ds: Dataset) -> NDArray[Any]:
    """The samples of a single-frame image as they are stored: (H, W), or (H, W, 3) if it has colours.

    Raises
    ------
    Exception
        Whatever a codec raises; ValueError if its picture is not the one that the header announces, or is empty.
    """
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    shape = (int(ds.Rows), int(ds.Columns))
    if syntax in CODECS:
        made = CODECS[syntax](get_frame(ds.PixelData, 0, number_of_frames=1))
    elif syntax.is_encapsulated and syntax != RLELossless:
        raise ValueError(f"no decoder for transfer syntax {syntax.name}")
    else:
        made = pixel_array(ds, raw=True)
    if made.shape[:2] != shape or made.ndim not in (2, 3):
        raise ValueError(f"the stream holds {made.shape}, the header says {shape}")
    if not made.any():
        raise ValueError("every pixel is zero")  # some decoders give this instead of an error
    return made
