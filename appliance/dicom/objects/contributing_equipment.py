"""The equipment that made the radiograph, named in every object that we make from it.

References
----------
DICOM PS3.3 C.12.1.1.5 (Contributing Equipment Sequence); PS3.16 CID 7005.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import copied, text
from appliance.domain.codes import ACQUISITION_EQUIPMENT

from .codes import code_item

EQUIPMENT = (
    "Manufacturer", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName",
    "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "DateOfLastCalibration",
    "TimeOfLastCalibration",
)  # fmt: skip
"""Attributes that describe the modality (DICOM PS3.3 C.7.5.1)."""


def contributing_equipment(source: Dataset) -> list[Dataset]:
    """Return the items of Contributing Equipment Sequence: those of `source`, then the modality that made it.

    An item without Manufacturer (Type 1) is left out, and so is a modality that names none.
    """
    items = [
        item
        for item in copied(source, ("ContributingEquipmentSequence",)).get("ContributingEquipmentSequence", ())
        if text(item, "Manufacturer") and "PurposeOfReferenceCodeSequence" in item
    ]
    if text(source, "Manufacturer").strip():
        modality = copied(source, EQUIPMENT)
        modality.PurposeOfReferenceCodeSequence = [code_item(ACQUISITION_EQUIPMENT)]
        items.append(modality)
    return items
