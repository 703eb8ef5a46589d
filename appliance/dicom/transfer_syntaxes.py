"""The storage classes and transfer syntaxes that the appliance accepts."""

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
"""Storage classes whose instances are kept: radiographs, and key objects, which may be rejection notes."""

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
"""Accepted transfer syntaxes of radiographs, in order of preference: lossless ones first."""

_STANDARD_ROOT = "1.2.840.10008."
_STANDARD_STORAGE = "1.2.840.10008.5.1.4.1.1."


def is_companion(abstract_syntax: str) -> bool:
    """Return whether `abstract_syntax` is a storage class of objects that routers send along with radiographs.

    All storage classes of the Standard, retired ones too, have one root (DICOM PS3.6 annex A). A private abstract
    syntax counts as a storage class, since routers forward no other private services.
    """
    is_standard = abstract_syntax.startswith(_STANDARD_ROOT)
    is_storage = abstract_syntax.startswith(_STANDARD_STORAGE) if is_standard else True
    return is_storage and abstract_syntax not in KEPT


def accepted_syntaxes(abstract_syntax: str, proposed: Sequence[str], *, companions: bool) -> list[str]:
    """Return the proposed transfer syntaxes that the appliance accepts for a storage class, best first.

    Every syntax is accepted for a companion, because companions are not kept.
    """
    if abstract_syntax in RADIOGRAPHS:
        return [syntax for syntax in ACCEPTED if syntax in proposed]
    if abstract_syntax in KEPT:
        return [syntax for syntax in UNCOMPRESSED if syntax in proposed]
    if companions and is_companion(abstract_syntax):
        plain = [syntax for syntax in UNCOMPRESSED if syntax in proposed]
        return plain + [syntax for syntax in proposed if syntax not in plain]
    return []
