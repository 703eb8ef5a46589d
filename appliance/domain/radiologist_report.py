"""A report that a radiologist sent by HL7, as far as the appliance reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiologistReport:
    """Sender, order, study and status of one received message; a field that the message lacks is empty.

    Attributes
    ----------
    sending_application, sending_facility
        MSH-3 and MSH-4, unescaped.
    control_id
        MSH-10 as received.
    accession_number
        OBR-18, else the OBX with code 121022 (DICOM PS3.16 annex D), else OBR-3.
    result_status
        OBR-25, table 0123.
    """

    sending_application: str
    sending_facility: str
    control_id: str
    accession_number: str
    study_instance_uid: str
    result_status: str
