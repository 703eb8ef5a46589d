"""Every form of one result that the site's destinations take, rendered once and kept in the spool.

A delivery is bytes and an address: what is sent again is the same object. What is said of a radiograph leaves at
once; what is said of its study, when that has settled.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from appliance.analysis.pipeline import Analysis
from appliance.config import DestinationConfig, DicomDestination, Hl7Destination
from appliance.dicom.objects.image_pixel import Compression
from appliance.dicom.objects.key_objects import key_objects
from appliance.dicom.objects.presentation_state import is_presentable, presentation_state
from appliance.dicom.objects.secondary_capture import sc_uid, secondary_capture
from appliance.dicom.objects.series import local_time
from appliance.dicom.objects.structured_report import SOP_CLASSES, structured_report
from appliance.dicom.objects.study_summary import page_kinds, page_uid, study_summary
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.scu.negotiation import report_uid
from appliance.domain.finding import Answer
from appliance.domain.radiograph import Window
from appliance.domain.result import Result
from appliance.domain.study import StudyResult
from appliance.errors import OsteonError, Rejected, Transient
from appliance.picture.heat import Draw, draw_heats
from appliance.picture.overlay import overlay, thumbnail
from appliance.reporting.fhir import bundle as fhir
from appliance.reporting.hl7 import oru
from appliance.reporting.hl7.order_update import (
    LOWERED,
    ORDER,
    is_flagged,
    is_lowered,
    name_two_orders,
    priority_update,
    priority_withdrawal,
)
from appliance.storage.outgoing import Outgoing
from kernels.operations import KernelError

from .bugs import bug

PICTURE_PX = 512
"""Longer side of the overlay that is kept for the summary of the study."""

Put = Callable[[bytes], str]
"""Keeps bytes in the spool and returns their digest."""


@dataclass(frozen=True, slots=True)
class Form:
    """One artefact that a destination gets: what it is, how the peer knows it, and how it is made."""

    kind: str
    identifier: str
    made: Callable[[], bytes]


def of_radiograph(
    source: Dataset,
    analysis: Analysis,
    grey: NDArray[np.uint8] | None,
    window: Window | None,
    destinations: Sequence[DestinationConfig],
    put: Put,
    draw: Draw = draw_heats,
) -> list[Outgoing]:
    """What is said of one radiograph, and to whom; of one that was not analysed where that is asked for.

    Raises
    ------
    Transient
        If nothing can be kept now.
    KernelError
        If `draw` uses a GPU, and that fails.
    """
    result = analysis.result
    is_analysed = result.answer is not Answer.NOT_ANALYSED

    def forms(destination: DestinationConfig) -> Iterator[Form]:
        if not isinstance(destination, DicomDestination):
            return
        look = destination.picture
        if "sc" in destination.objects and (is_analysed or look.not_analysed):

            def capture() -> bytes:
                dated = replace(result, created_at=local_time(source, result))  # as in the object's header
                pixels = overlay(grey, dated, analysis.heats, look, draw)
                return part10_bytes(secondary_capture(source, result, pixels, look))

            yield Form("sc", sc_uid(result, look), capture)
        # what was sent as RGB has nothing that a presentation state could window
        if "pr" in destination.objects and is_analysed and window is not None and is_presentable(source):
            yield Form("pr", result.uid("pr"), lambda: part10_bytes(presentation_state(source, result, window)))

    return list(_outgoing(forms, destinations, put))


def of_study(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    pictures: Mapping[str, NDArray[np.uint8]],
    destinations: Sequence[DestinationConfig],
    put: Put,
    raised: Mapping[str, Dataset] = MappingProxyType({}),
) -> list[Outgoing]:
    """What is said of one study, and to whom.

    Parameters
    ----------
    sources, pictures
        By SOP Instance UID: the radiographs' data sets without pixels, and the overlays (h, w, 3) of those analysed.
    raised
        By destination that an earlier revision has flagged the order at: the radiograph that names the order.
    """
    source = sources[study.results[-1].sop_instance_uid]

    @cache
    def pages(compression: Compression) -> tuple[Dataset, ...]:
        return study_summary(study, sources, pictures, compression)

    def forms(destination: DestinationConfig) -> Iterator[Form]:
        if isinstance(destination, DicomDestination):
            yield from objects(destination)
        elif isinstance(destination, Hl7Destination):
            yield Form("oru", oru.control_id(study, "oru"), lambda: oru.oru_r01(study, source, destination))
            yield from priorities(destination)
        else:
            yield Form("fhir", fhir.bundle_identifier(study), lambda: fhir.transaction(study, source, destination))

    def priorities(destination: Hl7Destination) -> Iterator[Form]:
        flagged, by = is_flagged(study, destination), raised.get(destination.name)
        if by is not None and is_lowered(destination) and (not flagged or name_two_orders(by, source)):
            yield Form(LOWERED, oru.control_id(study, LOWERED), lambda: priority_withdrawal(study, by, destination))
        if flagged:
            yield Form(ORDER, oru.control_id(study, ORDER), lambda: priority_update(study, source, destination))

    def objects(destination: DicomDestination) -> Iterator[Form]:
        if "summary" in destination.objects:
            how = destination.picture.compression
            for number, kind in enumerate(page_kinds(study)):
                yield Form(kind, page_uid(study, kind, how), partial(lambda n: part10_bytes(pages(how)[n]), number))
        if "sr" in destination.objects:
            sop_class = SOP_CLASSES[destination.sr]
            uid = report_uid(study.uid("sr"), sop_class)
            yield Form("sr", uid, lambda: part10_bytes(structured_report(study, sources, sop_class)))
        if "ko" in destination.objects and study.answer is Answer.POSITIVE:
            yield Form("ko", study.uid("ko"), lambda: part10_bytes(key_objects(study, sources)))

    return list(_outgoing(forms, destinations, put))


def picture(
    result: Result, analysis: Analysis, grey: NDArray[np.uint8] | None, draw: Draw = draw_heats
) -> bytes | None:
    """The radiograph with heat and regions as a small PNG for the summary of the study; None if it has no pixels."""
    if grey is None:
        return None
    file = io.BytesIO()
    Image.fromarray(thumbnail(grey, result, analysis.heats, PICTURE_PX, draw)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _outgoing(
    forms: Callable[[DestinationConfig], Iterator[Form]], destinations: Sequence[DestinationConfig], put: Put
) -> Iterator[Outgoing]:
    """Each form, made and kept; what two archives get under one UID is made once."""
    kept: dict[str, str] = {}
    for destination in destinations:
        for form in forms(destination):
            refused: OsteonError | None = None
            digest = kept.get(form.identifier, "")
            try:
                digest = digest or put(form.made())
            except Rejected as error:
                refused = error
            except (Transient, KernelError):  # a GPU that fails fails every form
                raise
            except Exception as error:  # noqa: BLE001  what one form cannot say must not cost the others
                refused = bug(error, f"{form.kind} for {destination.name}")
            if isinstance(destination, DicomDestination):
                kept[form.identifier] = digest
            yield Outgoing(
                destination=destination.name,
                kind=form.kind,
                identifier=form.identifier,
                digest=digest,
                refused=refused,
            )
