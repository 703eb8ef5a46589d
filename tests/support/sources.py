"""Small radiographs as a modality would send them, and the ways in which they come incomplete."""

from __future__ import annotations

import io

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from appliance.domain.identifiers import derived_uid


def source(name: str = "dx", rows: int = 60, columns: int = 50) -> Dataset:
    """A DX instance; `name` makes its UIDs."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = derived_uid("test", name, "instance")
    ds.StudyInstanceUID = derived_uid("test", name, "study")
    ds.SeriesInstanceUID = derived_uid("test", name, "series")
    ds.StudyDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.ContentTime = "101112"
    ds.AccessionNumber = "ACC-77"
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.Manufacturer = "Testroom"
    ds.ReferringPhysicianName = "Müller^Jörg"
    ds.StudyDescription = "XR WRIST"
    ds.PatientName = "Weiß^Änne"
    ds.PatientID = "PID-4711"
    ds.IssuerOfPatientID = "HOSP"
    ds.PatientBirthDate = "19700131"
    ds.PatientSex = "F"
    ds.BodyPartExamined = "WRIST"
    ds.StudyID = "5"
    ds.SeriesNumber = 3
    ds.InstanceNumber = 2
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "L"
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "RIS"
    ds.IssuerOfAccessionNumberSequence = [issuer]
    request = Dataset()
    request.RequestedProcedureID = "RP1"
    request.RequestedProcedureDescription = "Wrist in two planes"
    request.ScheduledProcedureStepID = "SPS1"
    request.AccessionNumber = "ACC-77"
    ds.RequestAttributesSequence = [request]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = (np.add.outer(np.arange(rows), np.arange(columns)) * 8).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    return with_meta(ds)


def with_meta(ds: Dataset) -> Dataset:
    """`ds` with fresh File Meta Information."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def received(ds: Dataset) -> Dataset:
    """`ds` as it looks after the way over the wire: every value read from bytes."""
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(file.getvalue()))


def _cr() -> Dataset:
    ds = source("cr")
    ds.SOPClassUID, ds.Modality = ComputedRadiographyImageStorage, "CR"
    ds.Laterality = "R"
    ds.TimezoneOffsetFromUTC = "+0530"
    del ds.ImageLaterality, ds.PresentationIntentType
    return with_meta(ds)


def _monochrome1() -> Dataset:
    ds = source("mono1")
    ds.PhotometricInterpretation = "MONOCHROME1"
    return ds


def _gaps() -> Dataset:
    ds = source("gaps")
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
        "AccessionNumber", "ReferringPhysicianName", "SpecificCharacterSet", "PatientOrientation",
        "SeriesNumber", "ImageLaterality", "InstanceNumber", "IssuerOfPatientID", "RequestAttributesSequence",
        "IssuerOfAccessionNumberSequence",
    ):  # fmt: skip
        del ds[keyword]
    return ds


def _japanese() -> Dataset:
    ds = source("japanese")
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ds.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    ds.ReferringPhysicianName = "Suzuki^Ichiro"
    return ds


def _utf8() -> Dataset:
    ds = source("utf8")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Łukasiewicz-Ångström^Žofie Ðorđe^^Dr."
    ds.StudyDescription = "Röntgen Handgelenk ü"
    return ds


def _broken() -> Dataset:
    """Values that are none of their VR, as they come from the wire."""
    ds = source("broken")
    ds.PatientSex = "weiblich"
    ds.ImageLaterality = "B"
    ds.PatientSize = "1.70"
    content = io.BytesIO()
    pydicom.dcmwrite(content, ds, enforce_file_format=True)
    spoiled = content.getvalue().replace(b"1.70", b"tall").replace(b"19700131", b"31.01.70")
    return pydicom.dcmread(io.BytesIO(spoiled))


def variants() -> dict[str, Dataset]:
    """Sources by what is particular about them, read from bytes."""
    return {
        "dx": received(source()),
        "cr": received(_cr()),
        "monochrome1": received(_monochrome1()),
        "gaps": received(_gaps()),
        "japanese": received(_japanese()),
        "utf8": received(_utf8()),
        "broken": _broken(),
    }
