"""Data sets as the bytes of DICOM files, and back.

Nothing here reads a clock or draws a number: the same data set gives the same bytes.
"""

from __future__ import annotations

import io

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from appliance.domain.identifiers import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("implementation")
IMPLEMENTATION_VERSION_NAME = "OSTEON"


def with_file_meta(ds: Dataset, transfer_syntax_uid: UID = ExplicitVRLittleEndian) -> Dataset:
    """`ds` with the File Meta Information of an object that we made (DICOM PS3.10 section 7.1)."""
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
    """The file of `ds`, whose File Meta Information must be complete (DICOM PS3.10 section 7)."""
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def dataset_from_bytes(content: bytes) -> Dataset:
    """Inverse of `part10_bytes`.

    Raises
    ------
    pydicom.errors.InvalidDicomError
        If `content` is no DICOM file.
    """
    return pydicom.dcmread(io.BytesIO(content))
