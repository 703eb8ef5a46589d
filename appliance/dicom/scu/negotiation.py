"""The forms that an object can have on the wire, best first, and the conversion of one form to another.

If a peer does not accept a form at negotiation, the object is sent in the next best form that the peer accepts:
compressed pixels are decompressed, a Comprehensive 3D SR becomes a Comprehensive SR. The conversion is deterministic;
an object of another class has a UID of its own.

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
from appliance.dicom.reading.decoders import decoded

UNCOMPRESSED: dict[Encoding, UID] = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian}

UTF_8 = "ISO_IR 192"
"""Specific Character Set of every object that we make."""

EVERY_ENCODING: tuple[Encoding, ...] = ("compressed", "explicit", "implicit")


@dataclass(frozen=True, slots=True)
class ObjectForm:
    """SOP class and transfer syntax of an object: one presentation context."""

    sop_class_uid: str
    transfer_syntax_uid: str

    def __str__(self) -> str:
        return f"{UID(self.sop_class_uid).name}, {UID(self.transfer_syntax_uid).name}"


def form_of(content: bytes) -> ObjectForm:
    """Read the form of a DICOM file from its File Meta Information.

    Raises
    ------
    pydicom.errors.InvalidDicomError
        If `content` is not a DICOM file.
    AttributeError
        If the File Meta Information lacks SOP class or transfer syntax.
    """
    meta = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=[]).file_meta
    return ObjectForm(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))


def forms(content: bytes, encodings: Sequence[Encoding] = EVERY_ENCODING) -> list[ObjectForm]:
    """Return the possible forms of `content`, best first: its own class before another, `encodings` in their order."""
    own = form_of(content)
    is_compressed = UID(own.transfer_syntax_uid).is_encapsulated
    syntaxes = [own.transfer_syntax_uid if e == "compressed" else str(UNCOMPRESSED[e]) for e in encodings]
    if not is_compressed:
        syntaxes = [s for e, s in zip(encodings, syntaxes, strict=True) if e != "compressed"]
    classes = [own.sop_class_uid]
    if own.sop_class_uid == Comprehensive3DSRStorage and not _has_3d_coordinates(dataset_from_bytes(content)):
        classes.append(ComprehensiveSRStorage)
    return [ObjectForm(c, s) for c in classes for s in syntaxes or [own.transfer_syntax_uid]]


def in_form(content: bytes, form: ObjectForm, character_set: str = UTF_8) -> bytes:
    """Convert `content` to another of its `forms` and to a Specific Character Set; unchanged if it has both already.

    A letter that `character_set` lacks becomes ``?``. The UID stays the same in another character set.
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
    """Return the SOP Instance UID that the object has in `form`."""
    same = form.sop_class_uid == own.sop_class_uid
    return sop_instance_uid if same else report_uid(sop_instance_uid, form.sop_class_uid)


def _as_comprehensive(ds: Dataset) -> None:
    """Turn a Comprehensive 3D SR without 3D coordinates into a Comprehensive SR, with its predecessors' references."""
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


def _has_3d_coordinates(ds: Dataset) -> bool:
    return any(e.keyword == "ValueType" and e.value == "SCOORD3D" for e in ds.iterall())


def _decompress(ds: Dataset) -> None:
    pixels = decoded(ds)
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated <= 8 else "OW"
    ds["PixelData"].is_undefined_length = False
    if ds.SamplesPerPixel == 3:  # codecs decode to RGB, interleaved by pixel
        ds.PhotometricInterpretation = "RGB"
        ds.PlanarConfiguration = 0
