"""Small radiographs as modalities send them, complete and with many kinds of gaps."""

from __future__ import annotations

import io

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
)

from appliance.domain.identifiers import derived_uid


def source(name: str = "dx", rows: int = 60, columns: int = 50) -> Dataset:
    """Return a DX instance; its UIDs derive from `name`."""
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
    """Write new File Meta Information into `ds`, and return it."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def received(ds: Dataset) -> Dataset:
    """Write and read `ds`, so that every value comes from bytes as after a C-STORE."""
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
        "ContentDate", "ContentTime",
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
    """Return a source with values that are invalid for their VR."""
    ds = source("broken")
    ds.PatientSex = "weiblich"
    ds.ImageLaterality = "B"
    ds.PatientSize = "1.70"
    content = io.BytesIO()
    pydicom.dcmwrite(content, ds, enforce_file_format=True)
    spoiled = content.getvalue().replace(b"1.70", b"tall").replace(b"19700131", b"31.01.70")
    return pydicom.dcmread(io.BytesIO(spoiled))


def changed(name: str, *dropped: str, **values: object) -> Dataset:
    """Return the DX instance without `dropped` attributes, and with `values`; None writes an empty attribute."""
    ds = source(name)
    for keyword in dropped:
        del ds[keyword]
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return with_meta(ds)


def item(**values: object) -> Dataset:
    """Return an item of a sequence."""
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
        "ContentDate", "ContentTime",
    "AccessionNumber", "ReferringPhysicianName", "ImageLaterality", "Manufacturer", "SeriesNumber",
)  # fmt: skip


def _identities() -> Dataset:
    """Return a source with every attribute of patient and study that a RIS may set."""
    ds = changed(
        "identities",
        OtherPatientIDsSequence=[item(PatientID="X-1", IssuerOfPatientID="OTHER", TypeOfPatientID="TEXT")],
        IssuerOfPatientIDQualifiersSequence=[
            item(UniversalEntityID="1.2.3.4", UniversalEntityIDType="ISO"),
        ],
        OtherPatientNames="Weiss^Anna",
        PatientComments="none",
        EthnicGroup="?",
        PatientAge="055Y",
        PatientSize="1.70",
        PatientWeight="70",
        PhysiciansOfRecord="Record^Rita",
        NameOfPhysiciansReadingStudy=["Reader^Rolf", "Reader^Renate"],
        RequestingService="Trauma",
        AdmissionID="A-9",
        ReasonForVisit="fall",
        PatientState="stable",
        TimezoneOffsetFromUTC="-0330",
        ProcedureCodeSequence=[item(CodeValue="XR1", CodingSchemeDesignator="99HOSP", CodeMeaning="Wrist")],
        ReferringPhysicianIdentificationSequence=[
            item(
                PersonIdentificationCodeSequence=[
                    item(CodeValue="17", CodingSchemeDesignator="99HOSP", CodeMeaning="Müller")
                ],
                InstitutionName="Hospital",
            )
        ],
        PatientIdentityRemoved="YES",
        DeidentificationMethod="by hand",
    )
    ds.StationName, ds.ManufacturerModelName, ds.DeviceSerialNumber = "ROOM1", "X-1", "4711"
    ds.SoftwareVersions = ["1", "2"]
    return ds


def _gateway() -> Dataset:
    """Return a source that passed two gateways; the item of one of them is incomplete."""
    whole = item(
        Manufacturer="Gate",
        PurposeOfReferenceCodeSequence=[
            item(CodeValue="109103", CodingSchemeDesignator="DCM", CodeMeaning="Modifying Equipment")
        ],
    )
    return changed("gateway", ContributingEquipmentSequence=[whole, item(ManufacturerModelName="?")])


def _hollow() -> Dataset:
    """Return a source with sequence items that lack required attributes."""
    return changed(
        "hollow",
        ProcedureCodeSequence=[item(CodeMeaning="Wrist"), item()],
        IssuerOfAccessionNumberSequence=[item()],
        OtherPatientIDsSequence=[],
        ReferencedStudySequence=[item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1")],
        RequestAttributesSequence=[item(ScheduledProcedureStepID="S")],
        AdmittingDiagnosesCodeSequence=[item(CodeValue="1", CodingSchemeDesignator="99X")],
    )


def _malformed() -> Dataset:
    """Return a source with more values that are invalid for their VR."""
    ds = changed("malformed", PatientAge="007Y", PatientSize="1.701", TimezoneOffsetFromUTC="CET")
    ds.BodyPartExamined = "WRIST"
    content = io.BytesIO()
    pydicom.dcmwrite(content, ds, enforce_file_format=True)
    spoiled = content.getvalue()
    for good, bad in ((b"007Y", b"7 yr"), (b"1.701", b"1,701"), (b"WRIST ", b"Wrist ")):
        spoiled = spoiled.replace(good, bad)
    return pydicom.dcmread(io.BytesIO(spoiled))


def _modality_lut() -> Dataset:
    lut = item(LUTExplanation="exposure", ModalityLUTType="OD", LUTDescriptor=[4096, 0, 16])
    lut.add_new("LUTData", "OW", np.linspace(0, 65535, 4096).astype("<u2").tobytes())
    return changed("modality lut", "WindowCenter", "WindowWidth", ModalityLUTSequence=[lut])


def _voi_lut() -> Dataset:
    lut = item(LUTExplanation="BONE", LUTDescriptor=[4096, 0, 12])
    lut.add_new("LUTData", "OW", (np.sqrt(np.linspace(0, 1, 4096)) * 4095).astype("<u2").tobytes())
    return changed("voi lut", "WindowCenter", "WindowWidth", VOILUTSequence=[lut])


def _shuttered() -> Dataset:
    return changed(
        "shuttered",
        ShutterShape="RECTANGULAR",
        ShutterLeftVerticalEdge=5,
        ShutterRightVerticalEdge=45,
        ShutterUpperHorizontalEdge=6,
        ShutterLowerHorizontalEdge=55,
        ShutterPresentationValue=0,
    )


def _for_processing() -> Dataset:
    ds = source("processing")
    ds.SOPClassUID, ds.PresentationIntentType = DigitalXRayImageStorageForProcessing, "FOR PROCESSING"
    return with_meta(ds)


def _cr_without_side() -> Dataset:
    ds = _cr()
    del ds.Laterality
    ds.Modality = "CR"
    return with_meta(ds)


def _gbk() -> Dataset:
    ds = source("gbk")
    ds.SpecificCharacterSet = "GB18030"
    ds.PatientName, ds.ReferringPhysicianName, ds.StudyDescription = "王^小东", "", "腕"
    return ds


def variants() -> dict[str, Dataset]:
    """Return all sources, read from bytes, by their peculiarity."""
    written = {
        "dx": source(),
        "cr": _cr(),
        "cr without side": _cr_without_side(),
        "for processing": _for_processing(),
        "monochrome1": _monochrome1(),
        "monochrome1 inverse": changed(
            "mono1 inverse", PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
        ),
        "gaps": _gaps(),
        "empty": changed("empty", **dict.fromkeys(EMPTY)),
        "no manufacturer": changed("no manufacturer", "Manufacturer", "StudyDescription"),
        "no orientation": changed("no orientation", "PatientOrientation"),
        "no order": changed("no order", "RequestAttributesSequence", "IssuerOfAccessionNumberSequence"),
        "latin1": changed("latin1", PatientName="MÜLLER^JÖRG"),
        "no character set": changed(
            "no character set", "SpecificCharacterSet", PatientName="A^B", ReferringPhysicianName="C^D"
        ),
        "gbk": _gbk(),
        "japanese": _japanese(),
        "utf8": _utf8(),
        "identities": _identities(),
        "gateway": _gateway(),
        "hollow": _hollow(),
        "broken": None,
        "malformed": None,
        "no window": changed("no window", "WindowCenter", "WindowWidth"),
        "windows": changed(
            "windows",
            WindowCenter=[1500, 1200],
            WindowWidth=[2800, 1000],
            WindowCenterWidthExplanation=["NORMAL", "BONE"],
        ),
        "sigmoid": changed("sigmoid", VOILUTFunction="SIGMOID"),
        "rescaled": changed("rescaled", RescaleSlope="0.5", RescaleIntercept="-100", RescaleType="US"),
        "signed": changed("signed", PixelRepresentation=1),
        "modality lut": _modality_lut(),
        "voi lut": _voi_lut(),
        "shuttered": _shuttered(),
        "pixel spacing": changed("pixel spacing", PixelSpacing=[0.14, 0.15]),
        "imager spacing": changed("imager spacing", ImagerPixelSpacing=[0.15, 0.15]),
        "lossy": changed("lossy", LossyImageCompression="01", LossyImageCompressionRatio="12"),
        "pelvis": changed("pelvis", "ImageLaterality", BodyPartExamined="PELVIS"),
    }
    spoiled = {"broken": _broken, "malformed": _malformed}
    return {name: received(ds) if ds is not None else spoiled[name]() for name, ds in written.items()}
