"""JPEG and PNG radiographs wrapped as DX instances, for trying Osteon on public data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from appliance.dicom.part10 import part10_bytes
from appliance.domain.identifiers import derived_uid
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

T = TypeVar("T")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def instance_from_picture(path: Path) -> Dataset:
    """A DX image for presentation with the grey values of the picture at `path`, and of nobody.

    8-bit pictures stay 8 bits, deeper ones 16. UIDs derive from the pixels, so that the same picture is the same
    instance.

    Raises
    ------
    Rejected
        ``not_a_picture`` if it cannot be read; a truncated JPEG is refused, as broken pixels are in DICOM.
    """
    try:
        with Image.open(path) as picture:
            grey = np.asarray(picture if picture.mode.startswith("I") else picture.convert("L"))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise Rejected(ReasonCode.NOT_A_PICTURE, f"the picture cannot be read: {error}") from error
    pixels = np.ascontiguousarray(grey, np.uint8 if grey.dtype == np.uint8 else np.uint16)
    bits = pixels.dtype.itemsize * 8
    content = pixels.tobytes()
    uid = derived_uid("picture", *pixels.shape, hashlib.sha256(content).hexdigest())

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = derived_uid(uid, "study"), derived_uid(uid, "series")
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PatientName, ds.PatientID = "PICTURE^WRAPPED", f"PICTURE-{uid[-8:]}"
    ds.PatientBirthDate = ds.PatientSex = ds.StudyDate = ds.StudyTime = ds.ReferringPhysicianName = ""
    ds.AccessionNumber, ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = uid[-12:], "1", "1", "1"
    ds.PatientOrientation, ds.BodyPartExamined, ds.ImageLaterality = "", "", ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, 0
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape, ds.LossyImageCompression, ds.BurnedInAnnotation = "IDENTITY", "00", "NO"
    if bits == 8:
        ds.WindowCenter, ds.WindowWidth = "128", "256"
    ds.add_new("PixelData", "OW" if bits == 16 else "OB", content + b"\0" * (len(content) % 2))
    return ds


def content_of(file: Path) -> bytes:
    """A radiograph as the bytes of an instance: DICOM as it lies there, pictures wrapped.

    Raises
    ------
    Rejected
        If a picture cannot be read.
    """
    if file.suffix.lower() in SUFFIXES:
        return part10_bytes(instance_from_picture(file))
    return file.read_bytes()


def radiograph_files(paths: list[Path]) -> list[Path]:
    """The files themselves, and what lies in the folders among them: pictures and whatever may be DICOM, sorted."""
    found: list[Path] = []
    for path in paths:
        found += sorted(p for p in path.rglob("*") if _may_be_one(p)) if path.is_dir() else [path]
    return found


def spread(things: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` of `things`, evenly spread."""
    if limit is None or limit >= len(things):
        return list(things)
    return [things[k * len(things) // limit] for k in range(limit)]


def _may_be_one(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES | {".dcm", ".dicom", ""} and path.name != "DICOMDIR"
