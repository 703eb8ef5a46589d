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

_JPEG_2000 = ("90", "91", "201", "202", "203")
"""JPEG 2000 and its high-throughput kind: OpenJPEG reads both, and fails on cut streams where OpenJPH does not."""

CODECS: dict[str, Callable[[bytes], NDArray[Any]]] = {
    **{f"1.2.840.10008.1.2.4.{process}": imagecodecs.jpeg8_decode for process in _JPEG},
    **{str(syntax): imagecodecs.jpegls_decode for syntax in JPEGLSTransferSyntaxes},
    **{f"1.2.840.10008.1.2.4.{n}": partial(imagecodecs.jpeg2k_decode, numthreads=_THREADS) for n in _JPEG_2000},
}
"""Transfer syntax -> frame to samples, (H, W) or (H, W, 3)."""

END_OF_IMAGE = b"\xff\xd9"
"""Last marker of a JPEG, JPEG-LS or JPEG 2000 stream (ITU-T T.81 B.1.1.3, T.87 C.1.1, T.800 A.3)."""


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
        stream = get_frame(ds.PixelData, 0, number_of_frames=1)
        if not stream.rstrip(b"\x00\xff").endswith(END_OF_IMAGE):
            raise ValueError("the stream is cut")  # libjpeg would show grey where data are missing
        made = CODECS[syntax](stream)
    elif syntax.is_encapsulated and syntax != RLELossless:
        raise ValueError(f"no decoder for transfer syntax {syntax.name}")
    else:  # RLE by pydicom itself: pylibjpeg-rle takes a tenth of its 130 ms, and panics on broken streams
        plugin = "pydicom" if syntax.is_encapsulated else ""
        made = pixel_array(ds, raw=True, correct_unused_bits=False, decoding_plugin=plugin)
    if made.shape[:2] != shape or made.ndim not in (2, 3):
        raise ValueError(f"the stream holds {made.shape}, the header says {shape}")
    if not made.any():
        raise ValueError("every pixel is zero")  # some decoders give this instead of an error
    return made
