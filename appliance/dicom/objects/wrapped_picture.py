"""JPEG and PNG pictures wrapped as DX instances: they take the same way through Osteon as a hospital's radiographs."""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.parsing import has_preamble
from appliance.dicom.reading.reader import LARGEST_PX
from appliance.domain.identifiers import derived_uid
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""First bytes of a JPEG (ISO/IEC 10918-1 B.1.1.3, SOI and the next marker) and of a PNG (ISO/IEC 15948 5.2)."""

FORMATS: Final = ("JPEG", "PNG")
"""Pillow's decoders that may see the bytes: a file is none of the forty other formats, whatever it claims to be."""


def is_picture(content: bytes) -> bool:
    """Return whether `content` is a JPEG or PNG.

    DICOM comes first: its preamble may hold the beginning of any other format (DICOM PS3.10 section 7.1).
    """
    return content.startswith(SIGNATURES) and not has_preamble(content)


def instance_from_file(content: bytes) -> bytes:
    """Return a DICOM instance as it is, and a picture as the instance that wraps it; raises as `wrap_picture`."""
    return part10_bytes(wrap_picture(content)) if is_picture(content) else content


def wrap_picture(content: bytes) -> Dataset:
    """Return a DX image for presentation with the grey values of a JPEG or PNG and an invented patient.

    8-bit pictures stay 8 bits, deeper ones become 16. UIDs derive from the pixels, so that the same picture is the same
    instance.

    Raises
    ------
    Rejected
        ``not_a_picture`` if it cannot be read; a truncated JPEG is refused, as broken pixels are in DICOM.
        ``too_large`` if it has more pixels than a radiograph.

    References
    ----------
    DICOM PS3.3 A.26 (Digital X-Ray Image IOD).
    """
    grey = _grey_values(content)
    bits = grey.dtype.itemsize * 8
    pixels = grey.tobytes()
    uid = derived_uid("picture", *grey.shape, hashlib.sha256(pixels).hexdigest())

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
    ds.Rows, ds.Columns = grey.shape
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
    ds.add_new("PixelData", "OW" if bits == 16 else "OB", pixels + b"\0" * (len(pixels) % 2))
    return ds


def _grey_values(content: bytes) -> NDArray[Any]:
    """Return the (H, W) uint8 or uint16 grey values of a picture; its size is checked before a pixel is decoded."""
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),  # the next lines decide
            Image.open(io.BytesIO(content), formats=FORMATS) as picture,
        ):
            if picture.width * picture.height > LARGEST_PX:
                raise _too_large()
            grey = np.asarray(picture if picture.mode.startswith("I") else picture.convert("L"))
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except UnidentifiedImageError as error:
        raise Rejected(ReasonCode.NOT_A_PICTURE, "the picture cannot be read: it is no JPEG or PNG") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise Rejected(ReasonCode.NOT_A_PICTURE, f"the picture cannot be read: {error}") from error
    return np.ascontiguousarray(grey, np.uint8 if grey.dtype == np.uint8 else np.uint16)


def _too_large() -> Rejected:
    return Rejected(ReasonCode.TOO_LARGE, f"the picture has more than {LARGEST_PX} pixels: export it smaller")
