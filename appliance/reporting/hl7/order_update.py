"""The priority update that puts a study on top of the worklist, and the one that takes it from there.

It names the order as the RIS knows it (placer and filler number, accession number) and says nothing but its new
priority. Without an order there is nothing to update.

References
----------
HL7 v2.5.1 ch. 4.4.1 (ORM^O01), 4.4.8 (OMI^O23), 4.5.4 (TQ1), 4.5.6 (IPC); tables 0119 and 0485.
IHE Radiology TF-2, transaction RAD-4, for what a RIS needs in IPC.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from appliance.config import Hl7Destination
from appliance.dicom.objects.patient_study import text
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.reason import ReasonCode
from appliance.domain.study import StudyResult
from appliance.errors import Rejected

from .message import Segment, escape, identifier, message_of
from .requests import FILLER, PLACER, procedure, requested
from .segments import fill, header, patient

ORDER = ArtefactKind.ORDER
"""Kind of the message, beside the report's ``oru``."""

LOWERED = ArtefactKind.ORDER_WITHDRAWAL
"""Kind of the message that takes an `ORDER` back."""


def is_flagged(study: StudyResult, profile: Hl7Destination) -> bool:
    """Whether the RIS gets a `priority_update`."""
    return profile.flag in ("orm", "omi") and study.answer in profile.flagged


def is_lowered(profile: Hl7Destination) -> bool:
    """Whether the RIS gets a `priority_withdrawal` of what it got a `priority_update` for."""
    return profile.flag in ("orm", "omi") and profile.usual_priority is not None


def name_two_orders(source: Dataset, other: Dataset) -> bool:
    """Whether a number that both have is another: what was corrected may have been another patient's."""
    pairs = [(requested(source, keyword), requested(other, keyword)) for keyword in (PLACER, FILLER, "AccessionNumber")]
    return any(one and two and one != two for one, two in pairs)


def priority_update(study: StudyResult, source: Dataset, profile: Hl7Destination) -> bytes:
    """ORM^O01 or OMI^O23, by `profile.flag`, that gives the order `profile.priority`.

    Raises
    ------
    Rejected
        ``no_order``: the source names no order. ``oru_characters`` and ``oru_invalid`` as for the report.
    """
    return _update(study, source, profile, ORDER, profile.priority)


def priority_withdrawal(study: StudyResult, source: Dataset, profile: Hl7Destination) -> bytes:
    """The same with `profile.usual_priority`; `source` is what the order was flagged by, which it names.

    Raises
    ------
    Rejected
        As `priority_update`.
    """
    return _update(study, source, profile, LOWERED, profile.usual_priority or profile.priority)


def _update(study: StudyResult, source: Dataset, profile: Hl7Destination, kind: str, priority: str) -> bytes:

    def number(value: str) -> str:
        return identifier(value, profile.character_set)

    accession = number(text(source, "AccessionNumber"))
    placer, filler = number(requested(source, PLACER)), number(requested(source, FILLER)) or accession
    if not filler:
        raise Rejected(
            ReasonCode.NO_ORDER,
            "the study cannot be flagged by an order update: its header names no filler or accession number",
        )
    orc = ["ORC", "XO", placer, filler]  # ORC-1 of table 0119: change the order
    obr = ["OBR", "1", placer, filler, "^".join(map(escape, procedure(source))).rstrip("^")]
    if profile.flag == "omi":
        shown = number(requested(source, "RequestedProcedureID")) or accession or filler
        step = number(requested(source, "ScheduledProcedureStepID")) or shown
        ipc = ["IPC", accession or filler, shown, study.study_instance_uid, step]
        body: list[Segment] = [orc, ["TQ1", "1", *[""] * 7, priority], obr, ipc]  # TQ1-9
        message = "OMI^O23^OMI_O23"
    else:
        quantity = f"^^^^^{priority}"  # TQ-6 in ORC-7 and OBR-27
        body = [[*orc, "", "", "", quantity], [*obr, *[""] * 22, quantity]]
        message = "ORM^O01^ORM_O01"
    segments = [header(study, source, profile, message, kind), patient(source, profile), *body]
    return message_of(fill(segments, study, source, profile), profile.character_set)
