"""Which storage classes and transfer syntaxes we take: the one list of each in the house."""

from __future__ import annotations

from typing import Final

from pydicom.uid import (
    JPEG2000,
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

RADIOGRAPHS: Final = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
"""The storage classes of plain radiographs (DICOM PS3.4 B.5)."""

COMPANIONS: Final = tuple(
    UID(f"1.2.840.10008.5.1.4.1.1.{suffix}")
    for suffix in (
        "2",  # CT
        "4",  # MR
        "6.1",  # ultrasound
        "7",  # secondary capture
        "11.1",  # greyscale softcopy presentation state
        "12.1",  # X-ray angiography
        "12.2",  # X-ray radiofluoroscopy
        "88.11",  # basic text SR
        "88.22",  # enhanced SR
        "88.33",  # comprehensive SR
        "88.34",  # comprehensive 3D SR
        "88.59",  # key object selection
        "88.67",  # X-ray radiation dose SR
        "104.1",  # encapsulated PDF
    )
)
"""What routers send along with a study: accepted, so that the association does not fail, and recorded as not for us."""

UNCOMPRESSED: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)

ACCEPTED: Final = (
    *UNCOMPRESSED,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEG2000Lossless,
    JPEG2000,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)
"""Transfer syntaxes of radiographs that are offered, in our order of preference."""
