"""Which storage classes and transfer syntaxes we take: the one list of each in the house."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    KeyObjectSelectionDocumentStorage,
    RLELossless,
)

RADIOGRAPHS: Final = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
"""The storage classes of plain radiographs (DICOM PS3.4 B.5)."""

KEPT: Final = (*RADIOGRAPHS, KeyObjectSelectionDocumentStorage)
"""What is kept: radiographs, and key objects, by which an archive says that it rejects some (`dicom.rejection`)."""

UNCOMPRESSED: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)

ACCEPTED: Final = (
    *UNCOMPRESSED,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGLSLossless,
    RLELossless,
    JPEG2000,
    HTJ2K,
    JPEGLSNearLossless,
    JPEGExtended12Bit,
    JPEGBaseline8Bit,
)
"""Transfer syntaxes of radiographs that are taken, in our order of preference: what loses nothing first."""

_STANDARD_ROOT = "1.2.840.10008."
_STANDARD_STORAGE = "1.2.840.10008.5.1.4.1.1."


def is_companion(abstract_syntax: str) -> bool:
    """Whether it is a storage class of something that routers send along with a radiograph.

    Every storage class of the standard, retired ones too, lies under one root (DICOM PS3.6 annex A); a private
    abstract syntax is taken for one, since nothing else of a vendor's is sent through a router.
    """
    is_standard = abstract_syntax.startswith(_STANDARD_ROOT)
    is_storage = abstract_syntax.startswith(_STANDARD_STORAGE) if is_standard else True
    return is_storage and abstract_syntax not in KEPT


def taken(abstract_syntax: str, proposed: Sequence[str], *, companions: bool) -> list[str]:
    """Of the transfer syntaxes `proposed` with a storage class, those that we take, best first.

    A companion is not kept, so that its encoding matters to nobody.
    """
    if abstract_syntax in RADIOGRAPHS:
        return [syntax for syntax in ACCEPTED if syntax in proposed]
    if abstract_syntax in KEPT:
        return [syntax for syntax in UNCOMPRESSED if syntax in proposed]
    if companions and is_companion(abstract_syntax):
        plain = [syntax for syntax in UNCOMPRESSED if syntax in proposed]
        return plain + [syntax for syntax in proposed if syntax not in plain]
    return []
