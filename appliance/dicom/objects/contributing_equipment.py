"""The equipment that the radiograph comes from, named in every answer.

References
----------
DICOM PS3.3 C.12.1.1.5 (Contributing Equipment Sequence); PS3.16 CID 7005.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import copied, text
from appliance.domain.codes import ACQUISITION_EQUIPMENT

from .codes import code_item

DESCRIBED = (
    "Manufacturer", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName",
    "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "DateOfLastCalibration",
    "TimeOfLastCalibration",
)  # fmt: skip


def contributing_equipment(source: Dataset) -> list[Dataset]:
    """What contributed to `source` already, and the modality; that only if it names its manufacturer (Type 1)."""
    made = [
        item
        for item in copied(source, ("ContributingEquipmentSequence",)).get("ContributingEquipmentSequence", ())
        if text(item, "Manufacturer") and "PurposeOfReferenceCodeSequence" in item
    ]
    if text(source, "Manufacturer").strip():
        modality = copied(source, DESCRIBED)
        modality.PurposeOfReferenceCodeSequence = [code_item(ACQUISITION_EQUIPMENT)]
        made.append(modality)
    return made
