"""Decoding of Pixel Data: imagecodecs for compressed transfer syntaxes, pydicom for RLE and uncompressed ones.

imagecodecs is at least as fast as every alternative for these syntaxes, exact for the lossless ones, and decodes the
12-bit and retired JPEG processes that pydicom cannot. A JPEG stream names its own process, so one function decodes all
of them. A codec may crash on a hostile stream: the appliance decodes in a separate process.
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
"""Threads that decode one JPEG 2000 frame; the other codecs use one."""

_JPEG = ("50", "51", "53", "55", "57", "70")
"""Baseline, extended, the retired spectral selection and full progression, lossless, lossless SV1 (PS3.5 annex A)."""

_JPEG_2000 = ("90", "91", "201", "202", "203")
"""JPEG 2000 and High-Throughput JPEG 2000; OpenJPEG decodes both, and fails on cut streams where OpenJPH does not."""

CODECS: dict[str, Callable[[bytes], NDArray[Any]]] = {
    **{f"1.2.840.10008.1.2.4.{process}": imagecodecs.jpeg8_decode for process in _JPEG},
    **{str(syntax): imagecodecs.jpegls_decode for syntax in JPEGLSTransferSyntaxes},
    **{f"1.2.840.10008.1.2.4.{n}": partial(imagecodecs.jpeg2k_decode, numthreads=_THREADS) for n in _JPEG_2000},
}
"""Decoder by transfer syntax: from the bytes of a frame to samples, (H, W) or (H, W, 3)."""

END_OF_IMAGE = b"\xff\xd9"
"""Last marker of a JPEG, JPEG-LS or JPEG 2000 stream (ITU-T T.81 B.1.1.3, T.87 C.1.1, T.800 A.3)."""


def samples(ds: Dataset) -> NDArray[Any]:
    """Decode the samples of a single-frame image: (H, W), or (H, W, 3) if it has colours.

    Raises
    ------
    ValueError
        If the stream is cut, has another shape than the header says, or is all zero, or if there is no decoder.
    Exception
        Any other exception of a codec.
    """
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    shape = (int(ds.Rows), int(ds.Columns))
    if syntax in CODECS:
        stream = get_frame(ds.PixelData, 0, number_of_frames=1)
        if not stream.rstrip(b"\x00\xff").endswith(END_OF_IMAGE):
            raise ValueError("the stream is cut")  # libjpeg would fill the missing part with grey
        decoded = CODECS[syntax](stream)
    elif syntax.is_encapsulated and syntax != RLELossless:
        raise ValueError(f"no decoder for transfer syntax {syntax.name}")
    else:  # pydicom itself decodes RLE: pylibjpeg-rle takes a tenth of its 130 ms, but panics on broken streams
        plugin = "pydicom" if syntax.is_encapsulated else ""
        decoded = pixel_array(ds, raw=True, correct_unused_bits=False, decoding_plugin=plugin)
    if decoded.shape[:2] != shape or decoded.ndim not in (2, 3):
        raise ValueError(f"the stream holds {decoded.shape}, the header says {shape}")
    if not decoded.any():
        raise ValueError("every pixel is zero")  # some decoders return zeros instead of an error
    return decoded
