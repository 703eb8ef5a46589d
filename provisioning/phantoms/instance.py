"""A phantom as a DX or CR instance with a complete header, obviously of nobody."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from appliance.domain.identifiers import derived_uid

from .phantom import Phantom

BODY_PARTS = {
    "ankle": ("ANKLE", "70258002", "Ankle"),
    "wrist": ("WRIST", "8205005", "Wrist"),
    "knee": ("KNEE", "72696002", "Knee"),
    "shoulder": ("SHOULDER", "16982005", "Shoulder"),
    "pelvis": ("PELVIS", "12921003", "Pelvis"),
    "spine": ("LSPINE", "122496007", "Lumbar spine"),
}
"""Body Part Examined and its SNOMED CT code (DICOM PS3.16 annex L)."""

VIEWS = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399198007", "right lateral"),
    "RL": ("399352003", "left lateral"),
}
"""View Position and its SNOMED CT code (DICOM PS3.16 CID 4010)."""


def instance_from_phantom(
    phantom: Phantom,
    *,
    computed_radiography: bool = False,
    patient_id: str | None = None,
    accession_number: str | None = None,
    study_instance_uid: str | None = None,
) -> Dataset:
    """The instance with its file meta; the same phantom gives the same UIDs (DICOM PS3.3 A.26 or A.2)."""
    key = ("phantom", phantom.site, phantom.seed, int(phantom.fracture is not None), int(computed_radiography))
    body_part, code, meaning = BODY_PARTS[phantom.site]
    number = f"{phantom.site[:2].upper()}{phantom.seed:04}{int(phantom.fracture is not None)}"
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = (
        ComputedRadiographyImageStorage if computed_radiography else DigitalXRayImageStorageForPresentation
    )
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = derived_uid(*key)
    ds.StudyInstanceUID = study_instance_uid or derived_uid(*key, "study")
    ds.SeriesInstanceUID = derived_uid(*key, "series")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20260101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "101112"
    ds.Modality = "CR" if computed_radiography else "DX"
    ds.Manufacturer, ds.ManufacturerModelName = "OSTEON", "PHANTOM"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.InstitutionName = "PHANTOM HOSPITAL"
    ds.ReferringPhysicianName = "PHANTOM^REFERRER"
    ds.StudyDescription = f"XR {body_part} (PHANTOM)"
    ds.SeriesDescription = f"{meaning} {phantom.view_position}"
    ds.PatientName, ds.PatientID = f"PHANTOM^{body_part}", patient_id or f"PH-{number}"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.AccessionNumber = accession_number or f"A{number}"
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", "1", "1"
    ds.BodyPartExamined, ds.ViewPosition = body_part, phantom.view_position
    ds.PatientOrientation = ["L", "F"]
    ds.BurnedInAnnotation = "NO"
    ds.WindowCenter, ds.WindowWidth = f"{phantom.window.center:g}", f"{phantom.window.width:g}"
    ds.ImagerPixelSpacing = [f"{phantom.spacing_mm:g}"] * 2
    if computed_radiography:
        ds.ImageType = ["ORIGINAL", "PRIMARY"]
        ds.Laterality = phantom.laterality
    else:
        _add_dx_attributes(ds, phantom, code, meaning)
    _add_pixels(ds, phantom)
    return ds


def _add_dx_attributes(ds: Dataset, phantom: Phantom, code: str, meaning: str) -> None:
    """What the DX image module asks for beyond CR (DICOM PS3.3 C.8.11)."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageLaterality = phantom.laterality or "U"
    ds.AnatomicRegionSequence = [_code(code, meaning)]
    if phantom.view_position in VIEWS:
        ds.ViewCodeSequence = [_code(*VIEWS[phantom.view_position])]
    ds.AcquisitionContextSequence = []
    ds.DetectorType, ds.DetectorConfiguration, ds.DetectorID = "DIRECT", "AREA", "PHANTOM"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if phantom.invert else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.LossyImageCompression = "00"
    ds.PresentationLUTShape = "INVERSE" if phantom.invert else "IDENTITY"
    ds.FieldOfViewShape, ds.PositionerType = "RECTANGLE", "NONE"


def _add_pixels(ds: Dataset, phantom: Phantom) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if phantom.invert else "MONOCHROME2"
    ds.Rows, ds.Columns = phantom.pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, phantom.bits_stored, phantom.bits_stored - 1
    ds.PixelRepresentation = 0
    ds.add_new("PixelData", "OW", phantom.pixels.tobytes())


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code
