"""Every form of one result that the site's destinations take, rendered once and kept in the spool.

A delivery is bytes and an address: what is sent again is the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.analysis.overlay import overlay
from appliance.analysis.pipeline import Analysis
from appliance.config import DestinationConfig, DicomDestination, FhirDestination, Hl7Destination
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.secondary_capture import secondary_capture
from appliance.dicom.structured_report import structured_report
from appliance.domain.finding import Answer
from appliance.domain.result import Result
from appliance.errors import OsteonError, Rejected, Transient
from appliance.reporting import fhir, oru
from appliance.storage.ledger import Outgoing

from .bugs import bug


def outgoing(
    source: Dataset,
    analysis: Analysis,
    grey: NDArray[np.uint8] | None,
    destinations: Sequence[DestinationConfig],
    put: Callable[[bytes], str],
) -> list[Outgoing]:
    """What goes where. A radiograph that was not analysed has no overlay, but its reason is reported."""
    result = analysis.result

    @cache
    def content(kind: str, destination: DestinationConfig) -> bytes:
        if isinstance(destination, Hl7Destination):
            return oru.oru_r01(
                source,
                result,
                sending_application=destination.sending_application,
                sending_facility=destination.sending_facility,
                receiving_application=destination.receiving_application,
                receiving_facility=destination.receiving_facility,
                version=destination.version,
            )
        if isinstance(destination, FhirDestination):
            return fhir.transaction(source, result, patient_system=destination.patient_system)
        return dicom(kind)

    @cache
    def dicom(kind: str) -> bytes:
        if kind == "sr":
            return part10_bytes(structured_report(source, result))
        assert grey is not None
        return part10_bytes(secondary_capture(source, result, overlay(grey, result, analysis.heats)))

    made: list[Outgoing] = []
    for destination in destinations:
        for kind in _kinds(destination, result):
            identifier = oru.control_id(result) if kind == "oru" else result.uid(kind)
            refused: OsteonError | None = None
            digest = ""
            try:
                digest = put(content(kind, destination))
            except Rejected as error:
                refused = error
            except Transient:
                raise
            except Exception as error:  # noqa: BLE001  what one form cannot say must not cost the others
                refused = bug(error, f"{kind} for {destination.name}")
            made.append(
                Outgoing(destination=destination.name, kind=kind, identifier=identifier, digest=digest, refused=refused)
            )
    return made


def _kinds(destination: DestinationConfig, result: Result) -> Sequence[str]:
    """What a destination gets; there is no overlay of a radiograph that was not analysed."""
    if isinstance(destination, DicomDestination):
        analysed = result.answer is not Answer.NOT_ANALYSED
        return [kind for kind in destination.objects if kind == "sr" or analysed]
    return ["oru"] if isinstance(destination, Hl7Destination) else ["fhir"]
