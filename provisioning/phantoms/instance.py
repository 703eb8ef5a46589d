"""A phantom as a DX or CR instance with a complete header of an obviously invented patient."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from appliance.domain.identifiers import derived_uid

from .phantom import Phantom

YEAR = 2026
"""Year of every study."""

BODY_PARTS = {
    "ankle": ("ANKLE", "70258002", "Ankle joint"),
    "wrist": ("WRIST", "74670003", "Wrist joint"),
    "knee": ("KNEE", "72696002", "Knee"),
    "shoulder": ("SHOULDER", "16982005", "Shoulder"),
    "pelvis": ("PELVIS", "816092008", "Pelvis"),
    "spine": ("LSPINE", "122496007", "Lumbar spine"),
}
"""Body Part Examined (DICOM PS3.16 annex L) and its SNOMED CT code (CID 4009)."""

VIEWS = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}
"""View Position and its SNOMED CT code (DICOM PS3.16 CID 4010)."""

ROWS_TOWARDS = {"AP": "L", "PA": "L", "LL": "A", "RL": "P"}
"""Patient Orientation of the rows by View Position (DICOM PS3.3 C.7.6.1.1.1), as the anatomies are drawn."""


def instance_from_phantom(
    phantom: Phantom,
    *,
    computed_radiography: bool = False,
    patient_id: str | None = None,
    accession_number: str | None = None,
    study_instance_uid: str | None = None,
) -> Dataset:
    """Return the instance with its file meta information, in Explicit VR Little Endian.

    The same arguments give the same UIDs, so that an instance sent twice is one object; another patient, accession
    number or study gives others. The views of one patient are one study.

    References
    ----------
    DICOM PS3.3 A.26 (DX) and A.2 (CR).
    """
    body_part, code, meaning = BODY_PARTS[phantom.site]
    number = f"{phantom.site[:2].upper()}{phantom.seed:04}{int(phantom.fracture is not None)}"
    patient_id = f"PH-{number}" if patient_id is None else patient_id
    accession_number = f"A{number}" if accession_number is None else accession_number
    study = study_instance_uid or derived_uid("phantom", number, patient_id, accession_number, "study")
    key = ("phantom", number, patient_id, accession_number, study, phantom.view, int(computed_radiography))
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ComputedRadiographyImageStorage if computed_radiography else DigitalXRayImageStorageForPresentation
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.SOPInstanceUID = UID(derived_uid(*key))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID = study
    ds.SeriesInstanceUID = derived_uid(*key, "series")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = f"{YEAR}0101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "101112"
    ds.Modality = "CR" if computed_radiography else "DX"
    ds.Manufacturer = "OSTEON"
    ds.ManufacturerModelName = "PHANTOM"
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = "1"
    ds.InstitutionName = "PHANTOM HOSPITAL"
    ds.ReferringPhysicianName = "PHANTOM^REFERRER"
    ds.StudyDescription = f"XR {body_part} (PHANTOM)"
    ds.SeriesDescription = f"{meaning} {phantom.view_position}"
    ds.PatientName = f"PHANTOM^{body_part}"
    ds.PatientID = patient_id
    ds.PatientBirthDate = f"{YEAR - phantom.age_years}0101"
    ds.PatientSex = "O"
    ds.AccessionNumber = accession_number
    ds.StudyID = "1"
    ds.SeriesNumber = f"{phantom.view + 1}"
    ds.InstanceNumber = "1"
    ds.BodyPartExamined = body_part
    ds.ViewPosition = phantom.view_position
    downwards = "H" if phantom.site == "wrist" else "F"  # fingers up, and they point to the feet
    ds.PatientOrientation = [ROWS_TOWARDS[phantom.view_position], downwards]
    ds.BurnedInAnnotation = "NO"
    ds.WindowCenter = f"{phantom.window.center:g}"
    ds.WindowWidth = f"{phantom.window.width:g}"
    ds.ImagerPixelSpacing = [f"{phantom.spacing_mm:g}"] * 2
    if computed_radiography:
        ds.ImageType = ["ORIGINAL", "PRIMARY"]
        if phantom.laterality:  # absent for an unpaired body part (DICOM PS3.3 C.7.3.1)
            ds.Laterality = phantom.laterality
    else:
        _add_dx_attributes(ds, phantom, code, meaning)
    _add_pixels(ds, phantom)
    return ds


def _add_dx_attributes(ds: Dataset, phantom: Phantom, code: str, meaning: str) -> None:
    """Add the attributes that DX asks for beyond CR (DICOM PS3.3 C.8.11)."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageLaterality = phantom.laterality or "U"
    ds.AnatomicRegionSequence = [_code(code, meaning)]
    ds.ViewCodeSequence = [_code(*VIEWS[phantom.view_position])]
    ds.AcquisitionContextSequence = []
    ds.DetectorType = "DIRECT"
    ds.DetectorConfiguration = "AREA"
    ds.DetectorID = "PHANTOM"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if phantom.invert else -1
    ds.RescaleIntercept = "0"
    ds.RescaleSlope = "1"
    ds.RescaleType = "US"
    ds.LossyImageCompression = "00"
    ds.PresentationLUTShape = "INVERSE" if phantom.invert else "IDENTITY"
    ds.FieldOfViewShape = "RECTANGLE"
    ds.PositionerType = "NONE"


def _add_pixels(ds: Dataset, phantom: Phantom) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if phantom.invert else "MONOCHROME2"
    ds.Rows, ds.Columns = phantom.pixels.shape
    ds.BitsAllocated = 16
    ds.BitsStored = phantom.bits_stored
    ds.HighBit = phantom.bits_stored - 1
    ds.PixelRepresentation = 0
    ds.add_new("PixelData", "OW", phantom.pixels.tobytes())


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "SCT"
    code.CodeMeaning = meaning
    return code
