"""Conversion of data sets to the bytes of DICOM files, and back.

The same data set always gives the same bytes: no clock and no random number is used.
"""

from __future__ import annotations

import io
import struct

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from appliance.domain.identifiers import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("implementation")
IMPLEMENTATION_VERSION_NAME = "OSTEON"

PIXEL_DATA = 0x7FE00010
"""Tag of Pixel Data."""


def with_file_meta(ds: Dataset, transfer_syntax_uid: UID = ExplicitVRLittleEndian) -> Dataset:
    """Write the File Meta Information of an object that we make into `ds`, and return it (DICOM PS3.10 section 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(ds.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
    meta.TransferSyntaxUID = transfer_syntax_uid
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    ds.file_meta = meta
    ds.preamble = b"\x00" * 128
    return ds


def part10_bytes(ds: Dataset) -> bytes:
    """Return the DICOM file of `ds`; its File Meta Information must be complete (DICOM PS3.10 section 7).

    Uncompressed pixels at the end of the data set are appended here, because pydicom would copy them three times.
    """
    file = io.BytesIO()
    is_plain = ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    if not is_plain or PIXEL_DATA not in ds or max(ds.keys()) != PIXEL_DATA or len(ds[PIXEL_DATA].value) % 2:
        pydicom.dcmwrite(file, ds, enforce_file_format=True)
        return file.getvalue()
    rest = ds[:PIXEL_DATA]
    rest.file_meta, rest.preamble = ds.file_meta, b"\x00" * 128
    pydicom.dcmwrite(file, rest, enforce_file_format=True)
    pixels = ds[PIXEL_DATA]
    # the header of an element with a VR of OB or OW (PS3.5 section 7.1.2)
    head = struct.pack("<HH2sHL", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF, pixels.VR.encode(), 0, len(pixels.value))
    return b"".join((file.getbuffer(), head, pixels.value))


def dataset_from_bytes(content: bytes) -> Dataset:
    """Parse a DICOM file; the inverse of `part10_bytes`.

    Raises
    ------
    pydicom.errors.InvalidDicomError
        If `content` is not a DICOM file.
    """
    return pydicom.dcmread(io.BytesIO(content))
