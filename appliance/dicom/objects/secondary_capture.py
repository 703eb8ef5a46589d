"""The overlay as a Secondary Capture Image in the study of the radiograph: an answer that every viewer can show.

The object is written attribute by attribute, so that a source with gaps also gets one.

References
----------
DICOM PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image), C.8.6 (SC Equipment, SC Image).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from appliance.config import Picture
from appliance.dicom.reading.attributes import copied, text
from appliance.domain.codes import SITES, SOURCE_IMAGE
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.picture.overlay import AS_RECEIVED, shown_shape
from appliance.words import ENGLISH, Language

from .codes import code_item
from .image_pixel import JPEG_QUALITY, with_pixels
from .patient_study import patient_study
from .report_sentences import verdict_sentence
from .series import anatomy, stamp
from .spacing import spacing

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Copied from the source: an image derived from a lossy one is lossy, too (DICOM PS3.3 C.7.6.1.1.5)."""


def secondary_capture(
    source: Dataset,
    result: Result,
    pixels: NDArray[np.uint8],
    look: Picture = AS_RECEIVED,
    language: Language = ENGLISH,
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
    stamp(ds, source, result, "sc", "heat map", language)
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = sc_uid(result, look, language)
    ds.StudyInstanceUID = result.study_instance_uid
    ds.Modality = "OT"
    ds.update(anatomy(source, result))
    ds.ConversionType = "WSD"
    ds.DateOfSecondaryCapture = ds.ContentDate
    ds.TimeOfSecondaryCapture = ds.ContentTime
    _general_image(ds, source, result, look, language)
    return with_pixels(ds, pixels, look.compression)


def sc_uid(result: Result, look: Picture = AS_RECEIVED, language: Language = ENGLISH) -> str:
    """Return the SOP Instance UID: each look and language has an object, so that archives cannot confuse them."""
    return result.uid(language.kind(_kind_in_look(look)))


def _kind_in_look(look: Picture) -> str:
    rendered = look.pixel_options
    return "sc" if rendered == AS_RECEIVED else f"sc {rendered.model_dump_json()}"


def _general_image(ds: Dataset, source: Dataset, result: Result, look: Picture, language: Language) -> None:
    """Write the General Image module (DICOM PS3.3 C.7.6.1) and the pixel spacing into `ds`."""
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    # the picture adds no patient data of its own, but it shows the pixels of the source (DICOM PS3.3 C.7.6.1)
    for keyword in ("BurnedInAnnotation", "RecognizableVisualFeatures"):
        if text(source, keyword) in ("YES", "NO"):
            setattr(ds, keyword, text(source, keyword))
    if "PatientOrientation" not in ds:
        ds.PatientOrientation = None
    said = map(language.say, (*result.heading, *result.evaluation))
    comments = [*said, language.notice, _summary(result, language)]
    comments.append(language.say(Sentence.of("Model {model}", model=result.provenance.model)))
    if before := result.predecessor_uid(language.kind(_kind_in_look(look))):
        comments.append(language.say(replacement(result.revision, before)))
    ds.ImageComments = ". ".join(comments)
    ds.DerivationDescription = "; ".join(map(language.say, _derivation(result, look)))
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


def replacement(revision: int, before: str) -> Sentence:
    """Return the sentence that names the object of which a revision takes the place."""
    return Sentence.of("Revision {revision}, takes the place of {uid}", revision=revision, uid=before)


def _derivation(result: Result, look: Picture) -> Iterator[Sentence]:
    """Yield the parts of Derivation Description, together at most 1024 characters (VR ST)."""
    if result.not_analysed is not None:
        yield Sentence.of("Why a neural network gave no answer for the radiograph")
    else:
        yield {
            "overlay": Sentence.of("Heat map, region and answer of a neural network over the windowed radiograph"),
            "beside": Sentence.of(
                "The radiograph, and beside it heat map, region and answer of a neural network "
                "over the windowed radiograph"
            ),
            "grey": Sentence.of("Region and answer of a neural network over the windowed radiograph"),
        }[look.layout]
    if look.longest_px is not None:
        yield Sentence.of("resampled to at most {longest} pixels", longest=look.longest_px)
    if look.compression == "jpeg":
        yield Sentence.of("JPEG baseline, quality {quality} of 100", quality=JPEG_QUALITY)


def _summary(result: Result, language: Language) -> str:
    if result.not_analysed is not None:
        reason = Sentence.of("not analysed: {reason}", reason=result.not_analysed.reason)
        return language.say(reason)
    said = [result.answer.label, *map(verdict_sentence, result.findings)]
    if unread := tuple(sorted({region.site.label for region in result.not_read}, key=str)):
        said.append(Sentence.of("NOT READ: {sites}", sites=unread))
    return "; ".join(map(language.say, said))
