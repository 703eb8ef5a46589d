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

from appliance.analysis.overlay import overlay
from appliance.analysis.pipeline import Analysis
from appliance.config import DestinationConfig, DicomDestination, FhirDestination, Hl7Destination
from appliance.dicom.forms import report_uid
from appliance.dicom.key_objects import key_objects
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.presentation_state import is_presentable, presentation_state
from appliance.dicom.secondary_capture import secondary_capture
from appliance.dicom.structured_report import SOP_CLASSES, structured_report
from appliance.domain.finding import Answer
from appliance.domain.radiograph import Window
from appliance.domain.result import Result
from appliance.domain.study import StudyResult
from appliance.errors import OsteonError, Rejected, Transient
from appliance.reporting import fhir, oru
from appliance.reporting.order import ORDER, is_flagged, priority_update
from appliance.storage.ledger import Outgoing

from .bugs import bug

OF_A_STUDY = ("sr", "ko")
"""Kinds of DICOM objects that are made once per study; the others are made for each radiograph."""

PICTURE_PX = 512
"""Longer side of the overlay that is kept for the summary of the study."""

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
    """What is said of one radiograph, and to whom. One not analysed has no overlay, one sent as RGB no GSPS."""
    result = analysis.result

    @cache
    def content(kind: str) -> bytes:
        assert grey is not None and window is not None, kind
        if kind == "pr":
            return part10_bytes(presentation_state(source, result, window))
        return part10_bytes(secondary_capture(source, result, overlay(grey, result, analysis.heats)))

    if result.answer is Answer.NOT_ANALYSED:
        return []
    return [
        _outgoing(destination, kind, result.uid(kind), put, content, kind)
        for destination in destinations
        if isinstance(destination, DicomDestination)
        for kind in destination.objects
        if kind not in OF_A_STUDY and (kind != "pr" or is_presentable(source))
    ]


def of_study(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    pictures: Mapping[str, NDArray[np.uint8]],  # noqa: ARG001  for the summary
    destinations: Sequence[DestinationConfig],
    put: Put,
) -> list[Outgoing]:
    """What is said of one study, and to whom.

    Parameters
    ----------
    sources, pictures
        By SOP Instance UID: the radiographs' data sets without pixels, and the overlays (h, w, 3) of those analysed.
    """
    source = sources[study.results[-1].sop_instance_uid]

    @cache
    def content(kind: str, destination: Hl7Destination | FhirDestination | str) -> bytes:
        if isinstance(destination, Hl7Destination):
            render = priority_update if kind == ORDER else oru.oru_r01
            return render(study, source, destination)
        if isinstance(destination, FhirDestination):
            return fhir.transaction(study, source, destination)
        if kind == "ko":
            return part10_bytes(key_objects(study, sources))
        return part10_bytes(structured_report(study, sources, destination))

    made = []
    for destination in destinations:
        for kind in _kinds_of_study(destination, study):
            identifier = oru.control_id(study, kind) if kind in ("oru", ORDER) else study.uid(kind)
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
    """The overlay as a small PNG for the summary of the study; None of what was not analysed."""
    if grey is None or result.answer is Answer.NOT_ANALYSED:
        return None
    image = Image.fromarray(overlay(grey, result, analysis.heats))
    image.thumbnail((PICTURE_PX, PICTURE_PX), reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _kinds_of_study(destination: DestinationConfig, study: StudyResult) -> Iterator[str]:
    """What a destination gets; key objects are the positive radiographs."""
    if isinstance(destination, DicomDestination):
        kinds = (kind for kind in destination.objects if kind in OF_A_STUDY)
        yield from (kind for kind in kinds if kind != "ko" or study.answer is Answer.POSITIVE)
    elif isinstance(destination, Hl7Destination):
        yield "oru"
        if is_flagged(study, destination):
            yield ORDER
    else:
        yield "fhir"


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
