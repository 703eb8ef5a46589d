"""Every form of one result that the site's destinations take, rendered once and kept in the spool.

A delivery is bytes and an address: what is sent again is the same object. What is said of a radiograph leaves at
once; what is said of its study, when that has settled.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from appliance.analysis.overlay import overlay, thumbnail
from appliance.analysis.pipeline import Analysis
from appliance.config import DestinationConfig, DicomDestination, FhirDestination, Hl7Destination, Picture
from appliance.dicom.image_pixel import Compression
from appliance.dicom.key_objects import key_objects
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.presentation_state import is_presentable, presentation_state
from appliance.dicom.secondary_capture import sc_uid, secondary_capture
from appliance.dicom.structured_report import SOP_CLASSES, report_uid, structured_report
from appliance.dicom.study_summary import page_kinds, page_uid, study_summary
from appliance.domain.finding import Answer
from appliance.domain.radiograph import Window
from appliance.domain.result import Result
from appliance.domain.study import StudyResult
from appliance.errors import OsteonError, Rejected, Transient
from appliance.reporting import fhir, oru
from appliance.storage.ledger import Outgoing

from .bugs import bug

OF_A_STUDY = ("summary", "sr", "ko")
"""Kinds of DICOM objects that are made once per study; the others are made for each radiograph."""

PICTURE_PX = 512
"""Longer side of the picture that is kept for the summary of the study."""

Put = Callable[[bytes], str]
"""Keeps bytes in the spool and returns their digest."""


def of_radiograph(
    source: Dataset,
    analysis: Analysis,
    grey: NDArray[np.uint8] | None,
    window: Window | None,
    destinations: Sequence[DestinationConfig],
    put: Put,
) -> list[Outgoing]:
    """What is said of one radiograph, and to whom.

    One that was not analysed has a picture where that is asked for, and no GSPS, as one that was sent as RGB.
    """
    result = analysis.result
    analysed = result.answer is not Answer.NOT_ANALYSED

    @cache
    def drawn(look: Picture) -> bytes:
        return part10_bytes(secondary_capture(source, result, overlay(grey, result, analysis.heats, look), look))

    @cache
    def presented() -> bytes:
        assert window is not None
        return part10_bytes(presentation_state(source, result, window))

    made = []
    for destination in destinations:
        if not isinstance(destination, DicomDestination):
            continue
        for kind in destination.objects:
            look = destination.picture
            if kind == "sc" and (analysed or look.not_analysed):
                made.append(_outgoing(destination, kind, sc_uid(result, look), put, drawn, look.rendered))
            elif kind == "pr" and analysed and is_presentable(source):
                made.append(_outgoing(destination, kind, result.uid(kind), put, presented))
    return made


def of_study(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    pictures: Mapping[str, NDArray[np.uint8]],
    destinations: Sequence[DestinationConfig],
    put: Put,
) -> list[Outgoing]:
    """What is said of one study, and to whom.

    Parameters
    ----------
    sources, pictures
        By SOP Instance UID: the radiographs' data sets without pixels, and thumbnails (h, w, 3) as far as there are.
    """
    source = sources[study.results[-1].sop_instance_uid]

    @cache
    def content(kind: str, destination: Hl7Destination | FhirDestination | str) -> bytes:
        if isinstance(destination, Hl7Destination):
            return oru.oru_r01(
                study,
                source,
                sending_application=destination.sending_application,
                sending_facility=destination.sending_facility,
                receiving_application=destination.receiving_application,
                receiving_facility=destination.receiving_facility,
                version=destination.version,
            )
        if isinstance(destination, FhirDestination):
            return fhir.transaction(study, source, patient_system=destination.patient_system)
        if kind == "ko":
            return part10_bytes(key_objects(study, sources))
        return part10_bytes(structured_report(study, sources, destination))

    @cache
    def pages(compression: Compression) -> Mapping[str, bytes]:
        made = study_summary(study, sources, pictures, compression)
        return {kind: part10_bytes(ds) for kind, ds in zip(page_kinds(study), made, strict=True)}

    def page(compression: Compression, kind: str) -> bytes:
        return pages(compression)[kind]

    made = []
    for destination in destinations:
        for kind in _kinds_of_study(destination, study.answer):
            if kind == "summary" and isinstance(destination, DicomDestination):
                how = destination.picture.compression
                made += [
                    _outgoing(destination, number, page_uid(study, number, how), put, page, how, number)
                    for number in page_kinds(study)
                ]
                continue
            identifier = oru.control_id(study) if kind == "oru" else study.uid(kind)
            profile: Hl7Destination | FhirDestination | str
            if isinstance(destination, DicomDestination):
                # what two archives get is the same bytes but for the report's class
                profile = SOP_CLASSES[destination.sr]
                identifier = report_uid(identifier, profile) if kind == "sr" else identifier
            else:
                profile = destination
            made.append(_outgoing(destination, kind, identifier, put, content, kind, profile))
    return made


def picture(result: Result, analysis: Analysis, grey: NDArray[np.uint8] | None) -> bytes | None:
    """The radiograph with heat and regions as a small PNG for the summary of the study; None if it has no pixels."""
    if grey is None:
        return None
    file = io.BytesIO()
    Image.fromarray(thumbnail(grey, result, analysis.heats, PICTURE_PX)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _kinds_of_study(destination: DestinationConfig, answer: Answer) -> Iterator[str]:
    """What a destination gets; key objects are the positive radiographs."""
    if isinstance(destination, DicomDestination):
        kinds = (kind for kind in destination.objects if kind in OF_A_STUDY)
        yield from (kind for kind in kinds if kind != "ko" or answer is Answer.POSITIVE)
    else:
        yield "oru" if isinstance(destination, Hl7Destination) else "fhir"


def _outgoing(
    destination: DestinationConfig,
    kind: str,
    identifier: str,
    put: Put,
    content: Callable[..., bytes],
    *arguments: object,
) -> Outgoing:
    refused: OsteonError | None = None
    digest = ""
    try:
        digest = put(content(*arguments))
    except Rejected as error:
        refused = error
    except Transient:
        raise
    except Exception as error:  # noqa: BLE001  what one form cannot say must not cost the others
        refused = bug(error, f"{kind} for {destination.name}")
    return Outgoing(destination=destination.name, kind=kind, identifier=identifier, digest=digest, refused=refused)
