"""Decoding of Pixel Data: imagecodecs for compressed pixels, pydicom for uncompressed ones.

imagecodecs is at least as fast as every alternative, exact for the lossless syntaxes, and decodes the 12-bit and
retired JPEG processes that pydicom cannot. The stream names its own process, so it chooses the decoder: the transfer
syntax of its presentation context may be another. A codec may crash on a hostile stream: the appliance decodes in a
separate process.
"""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from appliance.dicom.part10 import PIXEL_DATA
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.errors import Rejected

from .attributes import whole, word
from .frames import END_OF_IMAGE, JPEG, JPEG_2000, JPEG_LS_FRAME, START_OF_IMAGE, frame, is_compressed, markers
from .stored_bits import bits_stored

_THREADS = 4
"""Threads that decode one JPEG 2000 frame; the other codecs use one."""

RLE_HEADER = struct.Struct("<16L")
"""Number of segments and their offsets (DICOM PS3.5 G.5)."""


def samples(ds: Dataset) -> NDArray[Any]:
    """Decode a received image as `decoded` does; raise ValueError also if every sample is zero.

    Some decoders return zeros instead of an error.
    """
    found = decoded(ds)
    if not (found[:: found.shape[0]].any() or found.any()):
        raise ValueError("every pixel is zero")
    return found


def decoded(ds: Dataset) -> NDArray[Any]:
    """Decode the samples of a single-frame image: (H, W), or (H, W, 3) if it has colours; they may be read-only.

    Raises
    ------
    Rejected
        ``broken_pixels`` if the pixels are cut.
    ValueError
        If the stream has another shape than the header says, or if there is no decoder.
    Exception
        Any other exception of a codec.
    """
    shape = (int(ds.Rows), int(ds.Columns))
    element = ds[PIXEL_DATA]
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    if (syntax.is_encapsulated or element.is_undefined_length) and is_compressed(element.value):
        found = _decompressed(frame(element.value), ds, shape)
    else:
        found = _uncompressed(ds, shape)
    if found.shape[:2] != shape or found.ndim not in (2, 3):
        raise ValueError(f"the stream holds {found.shape}, the header says {shape}")
    return found


def _decompressed(stream: bytes, ds: Dataset, shape: tuple[int, int]) -> NDArray[Any]:
    if not stream.startswith((JPEG, *JPEG_2000)):
        if ds.file_meta.TransferSyntaxUID == RLELossless:
            return rle_samples(stream, shape, _samples_per_pixel(ds), int(ds.BitsAllocated) // 8)
        raise ValueError(f"no decoder for transfer syntax {UID(ds.file_meta.TransferSyntaxUID).name}")
    found = list(markers(stream))
    codes = [code for code, _ in found]
    if codes[-1:] != [END_OF_IMAGE] or START_OF_IMAGE in codes[1:]:  # libjpeg would show grey for what is missing
        raise Rejected(ReasonCode.BROKEN_PIXELS, Sentence.of("the compressed pixels are cut: send the image again"))
    stream = stream[: found[-1][1]]
    if stream.startswith(JPEG_2000):
        return np.asarray(imagecodecs.jpeg2k_decode(stream, numthreads=_THREADS))
    return np.asarray((imagecodecs.jpegls_decode if JPEG_LS_FRAME in codes else imagecodecs.jpeg8_decode)(stream))


def rle_samples(stream: bytes, shape: tuple[int, int], count: int, size_bytes: int) -> NDArray[Any]:
    """Decode RLE (DICOM PS3.5 annex G): a segment for each byte of each sample, the most significant first.

    Raises
    ------
    Exception
        ``ValueError`` or any other of imagecodecs if the stream is cut or broken.
    """
    segments, *offsets = RLE_HEADER.unpack(stream[: RLE_HEADER.size])
    if segments != count * size_bytes:
        raise ValueError(f"{segments} RLE segments instead of {count * size_bytes}")
    ends = [*offsets[1:segments], len(stream)]
    planes = np.empty((*shape, count, size_bytes), np.uint8)
    for n, (begin, end) in enumerate(zip(offsets, ends, strict=False)):
        segment = np.frombuffer(imagecodecs.packbits_decode(stream[begin:end]), np.uint8)
        planes[:, :, n // size_bytes, size_bytes - 1 - n % size_bytes] = segment[: shape[0] * shape[1]].reshape(shape)
    made = planes.view(f"<u{size_bytes}")[..., 0]
    return made[..., 0] if count == 1 else made


def _samples_per_pixel(ds: Dataset) -> int:
    """Return 3 for an image of three planes; 1 for any other value, since a radiograph is grey."""
    return 3 if whole(ds, "SamplesPerPixel") == 3 else 1


def _uncompressed(ds: Dataset, shape: tuple[int, int]) -> NDArray[Any]:
    """Decode uncompressed pixels, with the attributes of their encoding alone, each in its plain form."""
    plain = Dataset()
    plain.Rows, plain.Columns = shape
    plain.SamplesPerPixel = _samples_per_pixel(ds)
    plain.PhotometricInterpretation = word(ds, "PhotometricInterpretation")
    plain.BitsAllocated, plain.BitsStored = int(ds.BitsAllocated), bits_stored(ds)
    plain.PixelRepresentation = int(whole(ds, "PixelRepresentation") == 1)
    if plain.SamplesPerPixel > 1:
        plain.PlanarConfiguration = int(whole(ds, "PlanarConfiguration") == 1)
    plain[PIXEL_DATA] = ds[PIXEL_DATA]
    claimed = shape[0] * shape[1] * plain.SamplesPerPixel * plain.BitsAllocated // 8
    if len(ds.PixelData) < claimed:
        reason = Sentence.of(
            "pixel data are cut: {present} of {claimed} bytes; send the image again",
            present=len(ds.PixelData),
            claimed=claimed,
        )
        raise Rejected(ReasonCode.BROKEN_PIXELS, reason)
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    plain.file_meta = FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    return pixel_array(plain, raw=True, correct_unused_bits=False, view_only=True)
