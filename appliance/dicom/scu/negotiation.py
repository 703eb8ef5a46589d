"""The forms that an object can take on the wire, best first, and how one is made from another.

What a peer does not accept at negotiation is replaced by the next best form that it does: compressed pixels are
decompressed, a Comprehensive 3D SR becomes a Comprehensive SR. Nothing is decided anew; the same object always gives
the same other one, under a UID of its own where it is of another class.

References
----------
DICOM PS3.3 A.35.3 (Comprehensive SR) and A.35.13 (Comprehensive 3D SR): the same modules, the latter with SCOORD3D.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from appliance.config import Encoding
from appliance.dicom.objects.report_class import report_uid
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.reading.decoders import samples

PLAIN: dict[Encoding, UID] = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian}

UTF_8 = "ISO_IR 192"
"""Specific Character Set in which every answer is made."""

EVERY_ENCODING: tuple[Encoding, ...] = ("compressed", "explicit", "implicit")


@dataclass(frozen=True, slots=True)
class ObjectForm:
    """SOP class and transfer syntax: what a presentation context is about."""

    sop_class_uid: str
    transfer_syntax_uid: str

    def __str__(self) -> str:
        return f"{UID(self.sop_class_uid).name}, {UID(self.transfer_syntax_uid).name}"


def form_of(content: bytes) -> ObjectForm:
    """The form in which a DICOM file lies.

    Raises
    ------
    pydicom.errors.InvalidDicomError, AttributeError
        If it is none, or its File Meta Information does not say.
    """
    meta = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=[]).file_meta
    return ObjectForm(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))


def forms(content: bytes, encodings: Sequence[Encoding] = EVERY_ENCODING) -> list[ObjectForm]:
    """Every form that `content` can take, best first: its own class before another, and `encodings` in their order."""
    own = form_of(content)
    is_compressed = UID(own.transfer_syntax_uid).is_encapsulated
    syntaxes = [own.transfer_syntax_uid if e == "compressed" else str(PLAIN[e]) for e in encodings]
    if not is_compressed:
        syntaxes = [s for e, s in zip(encodings, syntaxes, strict=True) if e != "compressed"]
    classes = [own.sop_class_uid]
    if own.sop_class_uid == Comprehensive3DSRStorage and not _has_3d(dataset_from_bytes(content)):
        classes.append(ComprehensiveSRStorage)
    return [ObjectForm(c, s) for c in classes for s in syntaxes or [own.transfer_syntax_uid]]


def in_form(content: bytes, form: ObjectForm, character_set: str = UTF_8) -> bytes:
    """`content` as it is, or rewritten into another of its `forms`, or in another Specific Character Set.

    A letter that `character_set` does not have becomes ``?``; UIDs stay, since the object says the same.
    """
    own = form_of(content)
    if form == own and character_set == UTF_8:
        return content
    ds = dataset_from_bytes(content)
    if character_set != UTF_8:
        ds.decode()
        ds.SpecificCharacterSet = character_set
    if UID(own.transfer_syntax_uid).is_encapsulated and form.transfer_syntax_uid != own.transfer_syntax_uid:
        _decompress(ds)
    if form.sop_class_uid != own.sop_class_uid:
        _as_comprehensive(ds)
    ds.file_meta.TransferSyntaxUID = UID(form.transfer_syntax_uid)
    if form.transfer_syntax_uid != ImplicitVRLittleEndian:
        return part10_bytes(ds)
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, implicit_vr=True, little_endian=True, enforce_file_format=True)
    return file.getvalue()


def uid_in_form(sop_instance_uid: str, own: ObjectForm, form: ObjectForm) -> str:
    """The SOP Instance UID that the object has in `form`."""
    same = form.sop_class_uid == own.sop_class_uid
    return sop_instance_uid if same else report_uid(sop_instance_uid, form.sop_class_uid)


def _as_comprehensive(ds: Dataset) -> None:
    """Class and UID are all that differs where there are no 3D coordinates; what it replaces went likewise."""
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(
        report_uid(ds.SOPInstanceUID, ComprehensiveSRStorage)
    )
    for study in ds.get("PredecessorDocumentsSequence", []):
        for series in study.ReferencedSeriesSequence:
            for item in series.ReferencedSOPSequence:
                if item.ReferencedSOPClassUID == Comprehensive3DSRStorage:
                    item.ReferencedSOPClassUID = ComprehensiveSRStorage
                    before = report_uid(item.ReferencedSOPInstanceUID, ComprehensiveSRStorage)
                    item.ReferencedSOPInstanceUID = UID(before)


def _has_3d(ds: Dataset) -> bool:
    return any(e.keyword == "ValueType" and e.value == "SCOORD3D" for e in ds.iterall())


def _decompress(ds: Dataset) -> None:
    pixels = samples(ds)
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated <= 8 else "OW"
    ds["PixelData"].is_undefined_length = False
    if ds.SamplesPerPixel == 3:  # codecs give RGB, colour by pixel
        ds.PhotometricInterpretation, ds.PlanarConfiguration = "RGB", 0
