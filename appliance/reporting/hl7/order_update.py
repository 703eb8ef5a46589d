"""Priority updates of an order: one raises a study on the worklist, the other restores its usual priority.

The message names the order as the RIS knows it (placer, filler and accession number) and carries only a new priority.
Without an order there is nothing to update.

References
----------
HL7 v2.5.1 ch. 4.4.1 (ORM^O01), 4.4.8 (OMI^O23), 4.5.4 (TQ1), 4.5.6 (IPC); tables 0119 and 0485.
IHE Radiology TF-2, transaction RAD-4, for the fields that a RIS needs in IPC.
"""

from __future__ import annotations

from appliance.config import Hl7Destination
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.order import Examination, Procedure
from appliance.domain.reason import ReasonCode
from appliance.domain.study import StudyResult
from appliance.errors import Rejected

from .message import Segment, escape, identifier, message_of
from .segments import fill_mapped_fields, header, patient_segment

ORDER = ArtefactKind.ORDER
"""Kind of the message that raises the priority, beside the report's ``oru``."""

LOWERED = ArtefactKind.ORDER_WITHDRAWAL
"""Kind of the message that takes an `ORDER` back."""


def is_flagged(study: StudyResult, profile: Hl7Destination) -> bool:
    """Return whether the RIS gets a `priority_update`."""
    return profile.flag in ("orm", "omi") and study.is_flagged(profile.flagged)


def is_lowered(profile: Hl7Destination) -> bool:
    """Return whether the RIS gets a `priority_withdrawal` after a `priority_update`."""
    return profile.flag in ("orm", "omi") and profile.usual_priority is not None


def priority_update(study: StudyResult, examination: Examination, profile: Hl7Destination) -> bytes:
    """Return the ORM^O01 or OMI^O23, by `profile.flag`, that gives the order `profile.priority`.

    Raises
    ------
    Rejected
        ``no_order``: the examination names no order. ``oru_characters`` and ``oru_invalid`` as for the report.
    """
    return _update(study, examination, profile, ORDER, profile.priority)


def priority_withdrawal(study: StudyResult, examination: Examination, profile: Hl7Destination) -> bytes:
    """Return the same message with `profile.usual_priority`; `examination` names the order that was flagged.

    Raises
    ------
    Rejected
        As `priority_update`.
    """
    return _update(study, examination, profile, LOWERED, profile.usual_priority or profile.priority)


def _update(study: StudyResult, examination: Examination, profile: Hl7Destination, kind: str, priority: str) -> bytes:
    order = examination.order

    def number(value: str) -> str:
        return identifier(value, profile.character_set)

    accession = number(order.accession_number)
    placer, filler = number(order.placer_order_number), number(order.filler_order_number) or accession
    if not filler:
        raise Rejected(
            ReasonCode.NO_ORDER,
            "the study cannot be flagged by an order update: its header names no filler or accession number",
        )
    orc = ["ORC", "XO", placer, filler]  # ORC-1 of table 0119: change the order
    obr = ["OBR", "1", placer, filler, _procedure(order.procedure)]
    if profile.flag == "omi":
        shown = number(order.requested_procedure_id) or accession or filler
        step = number(order.scheduled_procedure_step_id) or shown
        ipc = ["IPC", accession or filler, shown, study.study_instance_uid, step]
        body: list[Segment] = [orc, ["TQ1", "1", *[""] * 7, priority], obr, ipc]  # TQ1-9
        message_type = "OMI^O23^OMI_O23"
    else:
        quantity = f"^^^^^{priority}"  # TQ-6 in ORC-7 and OBR-27
        body = [[*orc, "", "", "", quantity], [*obr, *[""] * 22, quantity]]
        message_type = "ORM^O01^ORM_O01"
    segments = [
        header(study, examination, profile, message_type, kind),
        patient_segment(study, examination.patient, profile),
        *body,
    ]
    return message_of(fill_mapped_fields(segments, study, examination, profile), profile.character_set)


def _procedure(procedure: Procedure) -> str:
    """Return OBR-4, CE: code, meaning and scheme."""
    return "^".join(map(escape, (procedure.code, procedure.meaning, procedure.scheme))).rstrip("^")
