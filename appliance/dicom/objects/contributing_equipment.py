"""The equipment that made the radiograph and the algorithm that read it, named in every object that we make.

References
----------
DICOM PS3.3 C.12.1.1.5 (Contributing Equipment Sequence); PS3.16 CID 7005; IHE AI Results (Processing
Algorithm).
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import copied, text
from appliance.domain.codes import ACQUISITION_EQUIPMENT, PROCESSING_ALGORITHM
from appliance.domain.identifiers import derived_uid
from appliance.domain.result import Provenance

from .codes import code_item

EQUIPMENT = (
    "Manufacturer", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName",
    "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "DateOfLastCalibration",
    "TimeOfLastCalibration",
)  # fmt: skip
"""Attributes that describe the modality (DICOM PS3.3 C.7.5.1)."""


MANUFACTURER = "Osteon"
MODEL_NAME = "Osteon"


def contributing_equipment(source: Dataset, provenance: Provenance) -> list[Dataset]:
    """Return the items of Contributing Equipment Sequence: those of `source`, its modality, and our algorithm.

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
    return [*items, _algorithm(provenance)]


def device_uid(provenance: Provenance) -> str:
    """Return the UID of the appliance with this pack, as observer and as equipment."""
    return derived_uid("device", provenance.pack_digest)


def _algorithm(provenance: Provenance) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(PROCESSING_ALGORITHM)]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = provenance.pack_name[:64]
    item.SoftwareVersions = [provenance.software_version[:64], provenance.model[:64]]
    item.DeviceUID = device_uid(provenance)
    return item
