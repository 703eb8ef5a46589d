"""One radiograph in every transfer syntax that DCMTK, GDCM and imagecodecs write."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL

from tests.support.peers import Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Command that writes an encoding, and its largest pixel error: 0 is exact, None another image (8 bit)."""

    command: tuple[str, ...]
    loss: int | None = 0


RINGING = 100
"""Largest pixel error of JPEG at quality 95, of 4095: at the edges of collimator and marker; elsewhere it is 40."""

ENCODINGS = {
    "implicit_le": Encoding(command=("dcmconv", "+ti")),
    "explicit_le": Encoding(command=("dcmconv", "+te")),
    "explicit_be": Encoding(command=("dcmconv", "+tb")),
    "deflated": Encoding(command=("dcmconv", "+td")),
    "undefined_lengths": Encoding(command=("dcmconv", "+te", "-e")),
    "group_lengths": Encoding(command=("dcmconv", "+te", "+g")),
    "trailing_padding": Encoding(command=("dcmconv", "+te", "+p", "4096", "64")),
    "bare_implicit_le": Encoding(command=("dcmconv", "+ti", "-F")),
    "rle": Encoding(command=("dcmcrle",)),
    "jpeg_baseline": Encoding(command=("dcmcjpeg", "+eb", "+q", "90"), loss=None),
    "jpeg_extended_12": Encoding(command=("dcmcjpeg", "+ee", "+q", "95", "+ud"), loss=RINGING),
    "jpeg_spectral": Encoding(command=("dcmcjpeg", "+es", "+q", "95", "+ud"), loss=RINGING),
    "jpeg_progressive": Encoding(command=("dcmcjpeg", "+ep", "+q", "95", "+ud"), loss=RINGING),
    "jpeg_lossless": Encoding(command=("dcmcjpeg", "+el")),
    "jpeg_lossless_sv1": Encoding(command=("dcmcjpeg", "+e1")),
    "jpeg_lossless_fragments": Encoding(command=("dcmcjpeg", "+e1", "+fs", "64")),
    "jpeg_lossless_no_table": Encoding(command=("dcmcjpeg", "+e1", "-ot")),
    "jpeg_ls": Encoding(command=("dcmcjpls", "+el")),
    "jpeg_ls_near": Encoding(command=("dcmcjpls", "+en", "+md", "3"), loss=3),
    "jpeg_ls_near_fragments": Encoding(command=("dcmcjpls", "+en", "+md", "3", "+fs", "100"), loss=3),
    "gdcm_rle": Encoding(command=("gdcmconv", "--rle")),
    "gdcm_jpeg": Encoding(command=("gdcmconv", "--jpeg")),
    "gdcm_jpeg_ls": Encoding(command=("gdcmconv", "--jpegls")),
    "jpeg_2000": Encoding(command=("gdcmconv", "--j2k")),
    "jpeg_2000_lossy": Encoding(command=("gdcmconv", "--j2k", "--lossy", "-r", "8"), loss=160),
    "htj2k_lossless": Encoding(command=("imagecodecs", HTJ2KLossless)),
    "htj2k_lossless_rpcl": Encoding(command=("imagecodecs", HTJ2KLosslessRPCL)),
    "htj2k": Encoding(command=("imagecodecs", HTJ2K)),
}


def encode(peer: Peer, name: str, source: Path, target: Path) -> Path:
    """Write `source` (Explicit VR Little Endian) to `target` in the encoding `name`."""
    program, *options = ENCODINGS[name].command
    if program == "imagecodecs":
        _encode_htj2k(source, target, UID(options[0]))
    else:
        subprocess.run([peer(program), *options, str(source), str(target)], check=True, capture_output=True)
    return target


def _encode_htj2k(source: Path, target: Path, syntax: UID) -> None:
    """Wrap a stream of OpenJPH in DICOM, since no free tool writes DICOM with HTJ2K."""
    ds = pydicom.dcmread(source)
    stream = imagecodecs.htj2k_encode(ds.pixel_array, reversible=True)
    ds.PixelData = encapsulate([bytes(stream)])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(target)
