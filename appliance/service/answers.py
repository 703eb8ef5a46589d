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
from appliance.config import DestinationConfig, DicomDestination, Hl7Destination
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.secondary_capture import secondary_capture
from appliance.dicom.structured_report import structured_report
from appliance.domain.finding import Answer
from appliance.ports import Artefact
from appliance.reporting import fhir, oru
from appliance.storage.ledger import Outgoing


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
    def dicom(kind: str) -> bytes:
        if kind == "sr":
            return part10_bytes(structured_report(source, result))
        assert grey is not None
        return part10_bytes(secondary_capture(source, result, overlay(grey, result, analysis.heats)))

    made: list[Outgoing] = []
    for destination in destinations:
        if isinstance(destination, DicomDestination):
            kinds = [k for k in destination.objects if k == "sr" or result.answer is not Answer.NOT_ANALYSED]
            artefacts = [Artefact(kind=k, identifier=result.uid(k), content=dicom(k)) for k in kinds]
        elif isinstance(destination, Hl7Destination):
            message = oru.oru_r01(
                source,
                result,
                sending_application=destination.sending_application,
                sending_facility=destination.sending_facility,
                receiving_application=destination.receiving_application,
                receiving_facility=destination.receiving_facility,
                version=destination.version,
            )
            artefacts = [Artefact(kind="oru", identifier=oru.control_id(result), content=message)]
        else:
            bundle = fhir.transaction(source, result)
            artefacts = [Artefact(kind="fhir", identifier=result.uid("fhir"), content=bundle)]
        made += [Outgoing(destination=destination.name, artefact=a, digest=put(a.content)) for a in artefacts]
    return made
