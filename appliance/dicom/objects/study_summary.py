"""The summary of a study as Secondary Capture Images, in the first of our series.

References
----------
DICOM PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image), C.8.6 (SC Equipment, SC Image).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from appliance.config import Compression
from appliance.dicom.reading.attributes import copied, text
from appliance.domain.artefact_kind import ArtefactKind, kind_and_page
from appliance.domain.codes import SOURCE_IMAGE
from appliance.domain.identifiers import Laterality
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence, listed
from appliance.domain.study import StudyResult
from appliance.picture.overlay import AS_RECEIVED
from appliance.picture.summary import PER_PAGE, summary_pages
from appliance.words import ENGLISH, Language

from .codes import BODY_PARTS, code_item
from .image_pixel import with_pixels
from .patient_study import patient_study
from .report_sentences import study_answer
from .secondary_capture import replacement
from .series import UNPAIRED, local_time, stamp

KIND = ArtefactKind.SUMMARY

VIEWS = frozenset({"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO"})
"""Defined terms of View Position (0018,5101) in CR and DX; other values are free text, and not shown."""


def study_summary(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    pictures: Mapping[str, NDArray[np.uint8]],
    compression: Compression = AS_RECEIVED.compression,
    language: Language = ENGLISH,
) -> tuple[Dataset, ...]:
    """Make one SC for each page, with the patient and study of the newest radiograph; `part10_bytes` writes them.

    Parameters
    ----------
    sources, pictures
        By SOP Instance UID: the radiographs' data sets without pixels, and their pictures (h, w, 3) uint8, if any.
    """
    dated = replace(study, created_at=local_time(sources[study.results[-1].sop_instance_uid], study))
    views = {uid: language.say(_view(source)) for uid, source in sources.items()}
    pages = summary_pages(dated, views, pictures, language)
    objects = []
    for number, pixels in enumerate(pages):
        part = study.results[number * PER_PAGE : (number + 1) * PER_PAGE]
        ds = _page(study, sources, part, language)
        ds.SOPInstanceUID = page_uid(study, number + 1, compression, language)
        if before := study.predecessor_uid(language.kind(_kind_with_compression(KIND, compression))):
            ds.ImageComments += f". {language.say(replacement(study.revision, before))}"
        ds.InstanceNumber = 100 * (study.revision - 1) + number + 1
        objects.append(with_pixels(ds, pixels, compression))
    return tuple(objects)


def page_count(study: StudyResult) -> int:
    """Return the number of pages."""
    return -(-len(study.results) // PER_PAGE)


def page_uid(
    study: StudyResult,
    page: int,
    compression: Compression = AS_RECEIVED.compression,
    language: Language = ENGLISH,
) -> str:
    """Return the SOP Instance UID of a page, counted from 1; uncompressed, or in a language, it is another object."""
    return study.uid(language.kind(_kind_with_compression(kind_and_page(KIND, page), compression)))


def _kind_with_compression(kind: str, compression: Compression) -> str:
    return kind if compression == AS_RECEIVED.compression else f"{kind} {compression}"


def _page(study: StudyResult, sources: Mapping[str, Dataset], results: Sequence[Result], language: Language) -> Dataset:
    """Make the object of the page that shows `results`, without its pixels."""
    source = sources[study.results[-1].sop_instance_uid]
    ds = patient_study(source)
    ds.update(copied(source, ("RequestAttributesSequence",)))
    stamp(ds, source, study, KIND, "summary", language)
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.StudyInstanceUID = study.study_instance_uid
    ds.Modality = "OT"
    _write_site_and_side(ds, study)
    ds.ConversionType = "WSD"
    ds.DateOfSecondaryCapture = ds.ContentDate
    ds.TimeOfSecondaryCapture = ds.ContentTime
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    ds.PatientOrientation = None
    marks = {text(sources[r.sop_instance_uid], "BurnedInAnnotation") for r in results}
    if "YES" in marks or marks == {"NO"}:  # the page adds no patient data, but the radiographs may show some
        ds.BurnedInAnnotation = "YES" if "YES" in marks else "NO"
    if "01" in {text(sources[r.sop_instance_uid], "LossyImageCompression") for r in results}:
        ds.LossyImageCompression = "01"
    first = map(language.say, (*study.heading, *study.evaluation))
    said = map(language.say, (study_answer(study), *study.seen_in_some_views))
    ds.ImageComments = ". ".join((*first, language.notice, *said))
    derivation = Sentence.of("Radiographs of the study with the answers of neural networks, made smaller")
    ds.DerivationDescription = language.say(derivation)
    shown = (sources[r.sop_instance_uid] for r in results)
    ds.SourceImageSequence = [_source_image(s) for s in shown if text(s, "SOPClassUID")]
    return ds


def _write_site_and_side(ds: Dataset, study: StudyResult) -> None:
    """Write Body Part Examined if there is one site; Laterality if there is one side, Image Laterality B if both.

    Laterality is absent only for one unpaired site, and empty if the side is unknown (DICOM PS3.3 C.7.3.1).
    """
    findings = [f for r in study.results for f in r.findings]
    if not all(f.site_is_certain for f in findings):
        ds.Laterality = ""
        return
    sites = {f.site for f in findings}
    sides = {f.laterality for f in findings if f.site not in UNPAIRED or f.laterality is not Laterality.UNKNOWN}
    if len(sites) == 1:
        ds.BodyPartExamined = BODY_PARTS[next(iter(sites))]
    if sides >= {Laterality.LEFT, Laterality.RIGHT}:
        ds.ImageLaterality = "B"
    elif sides or len(sites) != 1:
        ds.Laterality = sides.pop().value if len(sides) == 1 else ""


def _source_image(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = text(source, "SOPClassUID")
    item.ReferencedSOPInstanceUID = text(source, "SOPInstanceUID")
    item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    return item


def _view(source: Dataset) -> Sentence:
    """Return the name of a radiograph in the list of its study: numbers and view, without any free text."""
    parts = []
    if (series := text(source, "SeriesNumber")).isdecimal():
        parts.append(Sentence.of("series {number}", number=series))
    if (image := text(source, "InstanceNumber")).isdecimal():
        parts.append(Sentence.of("image {number}", number=image))
    if (view := text(source, "ViewPosition").strip().upper()) in VIEWS:
        parts.append(Sentence.of("view {view}", view=view))
    return listed(parts)
