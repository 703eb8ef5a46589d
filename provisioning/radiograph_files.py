"""Files of radiographs: DICOM files as they are, JPEG and PNG files wrapped as DX instances.

Public data sets come as JPEG or PNG; wrapped, they take the same way through Osteon as the instances of a hospital.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from appliance.dicom.part10 import part10_bytes
from appliance.domain.identifiers import derived_uid
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

T = TypeVar("T")

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""Suffixes, in small letters, of the files that are wrapped."""

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ""})
"""Suffixes, in small letters, of the files in a folder that may be DICOM."""


def find_radiograph_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files among `paths` and, sorted, the pictures and possible DICOM files in the folders among them."""
    found: list[Path] = []
    for path in paths:
        found += sorted(p for p in path.rglob("*") if _may_be_radiograph(p)) if path.is_dir() else [path]
    return found


def pick_evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """Return at most `limit` of `items`, evenly spread over them; all of them if `limit` is None."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[k * len(items) // limit] for k in range(limit)]


def read_instance(file: Path) -> bytes:
    """Return the bytes of the DICOM instance in `file`; a JPEG or PNG is wrapped first.

    Raises
    ------
    Rejected
        If a picture cannot be read.
    """
    if file.suffix.lower() in PICTURE_SUFFIXES:
        return part10_bytes(instance_from_picture(file))
    return file.read_bytes()


def instance_from_picture(path: Path) -> Dataset:
    """Return a DX image for presentation with the grey values of the picture at `path` and an invented patient.

    8-bit pictures stay 8 bits, deeper ones become 16. UIDs derive from the pixels, so that the same picture is the same
    instance.

    Raises
    ------
    Rejected
        ``not_a_picture`` if it cannot be read; a truncated JPEG is refused, as broken pixels are in DICOM.

    References
    ----------
    DICOM PS3.3 A.26 (Digital X-Ray Image IOD).
    """
    pixels = _grey_values(path)
    bits = pixels.dtype.itemsize * 8
    content = pixels.tobytes()
    uid = derived_uid("picture", *pixels.shape, hashlib.sha256(content).hexdigest())

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = uid
    ds.StudyInstanceUID = derived_uid(uid, "study")
    ds.SeriesInstanceUID = derived_uid(uid, "series")
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PatientName = "PICTURE^WRAPPED"
    ds.PatientID = f"PICTURE-{uid[-8:]}"
    ds.PatientBirthDate = ds.PatientSex = ds.StudyDate = ds.StudyTime = ds.ReferringPhysicianName = ""
    ds.AccessionNumber = uid[-12:]
    ds.StudyID = ds.SeriesNumber = ds.InstanceNumber = "1"
    ds.PatientOrientation = ds.BodyPartExamined = ds.ImageLaterality = ""
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = 0
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1
    ds.RescaleIntercept = "0"
    ds.RescaleSlope = "1"
    ds.RescaleType = "US"
    ds.PresentationLUTShape = "IDENTITY"
    ds.LossyImageCompression = "00"
    ds.BurnedInAnnotation = "NO"
    if bits == 8:
        ds.WindowCenter = "128"
        ds.WindowWidth = "256"
    ds.add_new("PixelData", "OW" if bits == 16 else "OB", content + b"\0" * (len(content) % 2))
    return ds


def _grey_values(path: Path) -> NDArray[Any]:
    """Return the (H, W) uint8 or uint16 grey values of a picture."""
    try:
        with Image.open(path) as picture:
            grey = np.asarray(picture if picture.mode.startswith("I") else picture.convert("L"))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise Rejected(ReasonCode.NOT_A_PICTURE, f"the picture cannot be read: {error}") from error
    return np.ascontiguousarray(grey, np.uint8 if grey.dtype == np.uint8 else np.uint16)


def _may_be_radiograph(path: Path) -> bool:
    suffixes = PICTURE_SUFFIXES | DICOM_SUFFIXES
    return path.is_file() and path.suffix.lower() in suffixes and path.name != "DICOMDIR"
