"""The overlay as a Secondary Capture Image in the study of the radiograph: an answer that every viewer can show.

The object is written attribute by attribute, so that a source with gaps also gets one.

References
----------
DICOM PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image), C.8.6 (SC Equipment, SC Image).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from appliance.config import Picture
from appliance.dicom.reading.attributes import copied, text
from appliance.domain.codes import SITES, SOURCE_IMAGE
from appliance.domain.finding import Answer
from appliance.domain.result import SECOND_READER, Result
from appliance.picture.overlay import AS_RECEIVED, shown_shape

from .codes import code_item
from .image_pixel import JPEG_QUALITY, with_pixels
from .patient_study import patient_study
from .series import anatomy, stamp
from .spacing import spacing

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Copied from the source: an image derived from a lossy one is lossy, too (DICOM PS3.3 C.7.6.1.1.5)."""


def secondary_capture(
    source: Dataset, result: Result, pixels: NDArray[np.uint8], look: Picture = AS_RECEIVED
) -> Dataset:
    """Make the SC of the picture that `overlay` drew in that `look`; `part10_bytes` writes it.

    Patient and study come from `source`.

    Raises
    ------
    ValueError
        If `pixels` has the shape or type of no picture.
    """
    ds = patient_study(source)
    ds.update(copied(source, ("RequestAttributesSequence", "PatientOrientation")))
    stamp(ds, source, result, "sc", "heat map")
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = sc_uid(result, look)
    ds.StudyInstanceUID = result.study_instance_uid
    ds.Modality = "OT"
    ds.update(anatomy(source, result))
    ds.ConversionType = "WSD"
    ds.DateOfSecondaryCapture = ds.ContentDate
    ds.TimeOfSecondaryCapture = ds.ContentTime
    _general_image(ds, source, result, look)
    return with_pixels(ds, pixels, look.compression)


def sc_uid(result: Result, look: Picture = AS_RECEIVED) -> str:
    """Return the SOP Instance UID: each look is an object of its own, so that archives cannot confuse them."""
    return result.uid(_kind_in_look(look))


def _kind_in_look(look: Picture) -> str:
    rendered = look.pixel_options
    return "sc" if rendered == AS_RECEIVED else f"sc {rendered.model_dump_json()}"


def _general_image(ds: Dataset, source: Dataset, result: Result, look: Picture) -> None:
    """Write the General Image module (DICOM PS3.3 C.7.6.1) and the pixel spacing into `ds`."""
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    # the picture adds no patient data of its own, but it shows the pixels of the source (DICOM PS3.3 C.7.6.1)
    for keyword in ("BurnedInAnnotation", "RecognizableVisualFeatures"):
        if text(source, keyword) in ("YES", "NO"):
            setattr(ds, keyword, text(source, keyword))
    if "PatientOrientation" not in ds:
        ds.PatientOrientation = None
    ds.ImageComments = f"{SECOND_READER}. {_summary(result)}. Model {result.provenance.model}"
    if before := result.predecessor_uid(_kind_in_look(look)):
        ds.ImageComments += f". Revision {result.revision}, takes the place of {before}"
    ds.DerivationDescription = _derivation(result, look)
    reference = Dataset()
    reference.ReferencedSOPClassUID = text(source, "SOPClassUID")
    reference.ReferencedSOPInstanceUID = result.sop_instance_uid
    reference.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    ds.SourceImageSequence = [reference]
    regions = {f.site: SITES[f.site] for f in result.findings if f.site_is_certain}
    if len(regions) == 1:
        ds.AnatomicRegionSequence = [code_item(code) for code in regions.values()]
    ds.update(copied(source, LOSSY))
    if result.not_analysed is None:  # the radiograph was decoded, and its picture may be measured
        height, width = int(source.Rows), int(source.Columns)
        h, w = shown_shape(height, width, look.longest_px)
        ds.update(spacing(source, (height / h, width / w)))


def _derivation(result: Result, look: Picture) -> str:
    """Return Derivation Description, at most 1024 characters (VR ST)."""
    shown = {
        "overlay": "Heat map, region",
        "beside": "The radiograph, and beside it heat map, region",
        "grey": "Region",
    }
    parts = [f"{shown[look.layout]} and answer of a neural network over the windowed radiograph"]
    if result.not_analysed is not None:
        parts = ["Why a neural network gave no answer for the radiograph"]
    if look.longest_px is not None:
        parts.append(f"resampled to at most {look.longest_px} pixels")
    if look.compression == "jpeg":
        parts.append(f"JPEG baseline, quality {JPEG_QUALITY} of 100")
    return "; ".join(parts)


def _summary(result: Result) -> str:
    if result.not_analysed is not None:
        return f"{Answer.NOT_ANALYSED.label}: {result.not_analysed.reason}"
    said = [str(result.answer.label), *(f"{f.place}: {f.verdict.label}" for f in result.findings)]
    if unread := sorted({str(region.site.label) for region in result.not_read}):
        said.append(f"NOT READ: {', '.join(unread)}")
    return "; ".join(said)
