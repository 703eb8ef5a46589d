"""The overlay as a Secondary Capture Image in the radiograph's study: the answer that every viewer can show.

Written attribute by attribute, for a source with gaps must still get its answer.

References
----------
DICOM PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image), C.8.6 (SC Equipment, SC Image).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from appliance.domain.finding import Answer
from appliance.domain.result import SECOND_READER, Result

from .codes import SITES, SOURCE_IMAGE, code_item
from .part10 import with_file_meta
from .patient_study import copied, patient_study, text
from .series import anatomy, stamp
from .spacing import spacing

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Once lossy, always lossy: what is derived says so too (DICOM PS3.3 C.7.6.1.1.5)."""


def secondary_capture(source: Dataset, result: Result, rgb: NDArray[np.uint8]) -> Dataset:
    """SC of `rgb` (H, W, 3) uint8, with the patient and study of `source`; `part10_bytes` writes it.

    Raises
    ------
    ValueError
        If `rgb` is of another shape or type.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"the overlay must be (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
    ds = patient_study(source)
    ds.update(copied(source, ("RequestAttributesSequence", "PatientOrientation")))
    stamp(ds, source, result, "sc", "heat map")
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = result.uid("sc")
    ds.StudyInstanceUID = result.study_instance_uid
    ds.Modality = "OT"
    ds.update(anatomy(source, result))
    ds.ConversionType = "WSD"
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = ds.ContentDate, ds.ContentTime
    _general_image(ds, source, result)
    _image_pixel(ds, rgb)
    return with_file_meta(ds)


def _general_image(ds: Dataset, source: Dataset, result: Result) -> None:
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    # the band names no patient, but the source's pixels are underneath it (DICOM PS3.3 C.7.6.1)
    for keyword in ("BurnedInAnnotation", "RecognizableVisualFeatures"):
        if text(source, keyword) in ("YES", "NO"):
            setattr(ds, keyword, text(source, keyword))
    if "PatientOrientation" not in ds:
        ds.PatientOrientation = None
    ds.ImageComments = f"{SECOND_READER}. {_summary(result)}. Model {result.provenance.model}"
    ds.DerivationDescription = "Heat map, region and answer of a neural network over the windowed radiograph"
    reference = Dataset()
    reference.ReferencedSOPClassUID = text(source, "SOPClassUID")
    reference.ReferencedSOPInstanceUID = result.sop_instance_uid
    reference.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    ds.SourceImageSequence = [reference]
    regions = {f.site: SITES[f.site] for f in result.findings}
    if len(regions) == 1:
        ds.AnatomicRegionSequence = [code_item(code) for code in regions.values()]
    ds.update(copied(source, LOSSY))
    ds.update(spacing(source))


def _image_pixel(ds: Dataset, rgb: NDArray[np.uint8]) -> None:
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = rgb.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelRepresentation = 0
    ds.PixelData = rgb.tobytes() + b"\x00" * (rgb.size % 2)
    ds["PixelData"].VR = "OB"


def _summary(result: Result) -> str:
    if result.not_analysed is not None:
        return f"{Answer.NOT_ANALYSED.label}: {result.not_analysed.reason}"
    return "; ".join(
        f"{f.laterality.label} {f.site.label}".strip() + f": {f.answer.label}, {f.probability:.0%}"
        for f in result.findings
    )
