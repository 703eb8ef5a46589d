"""Instances as other people's devices send them: each is read, or named with the true reason."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from appliance.config import Analyse
from appliance.dicom.reading.decoders import rle_samples
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_dataset, read_parts
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed
from appliance.service.examined_instance import examine
from tests.support.sources import source

RAMP = np.add.outer(np.arange(160) * 13, np.arange(200) * 9).astype(np.uint16) % 4096
PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"
ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def instance(**attributes: object) -> Dataset:
    ds = source("field", *RAMP.shape)
    ds.PixelData = RAMP.astype("<u2").tobytes()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def data_set(ds: Dataset, *, implicit: bool = False) -> bytes:
    """Return the data set alone, as a C-STORE carries it."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, ds)
    return buffer.getvalue()


def meta(ds: Dataset, syntax: UID) -> bytes:
    """Return preamble and File Meta Information, as our receiver writes them from the C-STORE."""
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, ds.file_meta)
    return b"\0" * 128 + b"DICM" + buffer.getvalue()


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def rle(pixels: NDArray[np.uint16]) -> bytes:
    ds = instance()
    ds.compress(RLELossless, pixels, generate_instance_uid=False)
    return get_frame(ds.PixelData, 0, number_of_frames=1)


CODECS: dict[UID, Callable[[NDArray[np.uint16]], bytes]] = {
    JPEGLosslessSV1: lambda a: bytes(imagecodecs.jpeg8_encode(a, lossless=True, bitspersample=12)),
    JPEGLSLossless: lambda a: bytes(imagecodecs.jpegls_encode(a)),
    JPEG2000Lossless: lambda a: bytes(imagecodecs.jpeg2k_encode(a, level=0, reversible=True, codecformat="j2k")),
    RLELossless: rle,
}
STREAMS = {syntax: encode(RAMP) for syntax, encode in CODECS.items()}
JPEGS = [syntax for syntax in CODECS if syntax != RLELossless]


def item(content: bytes) -> bytes:
    return ITEM + struct.pack("<L", len(content)) + content


def compressed(syntax: UID, pixels: bytes, length: int = 0xFFFFFFFF) -> bytes:
    """Return an instance with `pixels` as the value of Pixel Data, and whatever follows it."""
    ds = instance()
    del ds.PixelData
    head = PIXEL_DATA_TAG + b"OB\0\0" + struct.pack("<L", length)
    return meta(ds, syntax) + data_set(ds) + head + pixels


def pixels_of(content: bytes) -> NDArray[np.uint16]:
    ds = read_dataset(content)
    return radiograph_from_dataset(ds, header_from_dataset(ds)).stored.pixels


def reason_of(content: bytes) -> tuple[ReasonCode, str]:
    with pytest.raises(Rejected) as caught:
        pixels_of(content)
    return caught.value.code, caught.value.reason


ENDS = {
    "no delimiter": b"",
    "half a delimiter": DELIMITER[:5],
    "zeros": b"\0" * 300,
    "trailing padding": element(0xFFFC, 0xFFFC, b"OB", b"\0\0") + b"\0\0",
    "bytes that are no element": b"\xff\xfe\xfd\xfc\xfb" * 9,
}


@pytest.mark.parametrize("syntax", CODECS)
@pytest.mark.parametrize("end", ENDS)
def test_compressed_pixels_without_a_sequence_delimiter_are_read(syntax: UID, end: str) -> None:
    """DCMTK #118 (hundreds of files of one vendor), pydicom #1799, fo-dicom #1339 and #1718."""
    content = compressed(syntax, item(b"") + item(STREAMS[syntax]) + ENDS[end])
    np.testing.assert_array_equal(pixels_of(content), RAMP)


BEHIND = {
    "zeros": b"\0" * 100,
    "fill bytes": b"\xff" * 7,
    "text": b"made by a gateway",
    "the buffer's last content": bytes(range(256)) * 20,
    "a second image": STREAMS[JPEGLosslessSV1],
}


@pytest.mark.parametrize("syntax", JPEGS)
@pytest.mark.parametrize("behind", BEHIND)
def test_bytes_behind_the_end_marker_are_ignored(syntax: UID, behind: str) -> None:
    content = compressed(syntax, item(b"") + item(STREAMS[syntax] + BEHIND[behind]) + DELIMITER)
    np.testing.assert_array_equal(pixels_of(content), RAMP)


TABLES = {
    "an offset of 8": struct.pack("<L", 8),
    "five offsets": struct.pack("<5L", 0, 100, 200, 300, 400),
    "no offset at all": struct.pack("<L", 0xFFFFFFFF),
    "three bytes": b"\1\2\3",
}


@pytest.mark.parametrize("syntax", CODECS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("count", [1, 3])
def test_wrong_offset_table_of_a_single_frame_is_ignored(syntax: UID, table: str, count: int) -> None:
    """dcm4chee-arc-light #752, dicom-rs #399: a single frame is all of its fragments."""
    stream = STREAMS[syntax]
    size = -(-len(stream) // count)
    fragments = b"".join(item(stream[at : at + size]) for at in range(0, len(stream), size))
    content = compressed(syntax, item(TABLES[table]) + fragments + DELIMITER)
    np.testing.assert_array_equal(pixels_of(content), RAMP)


@pytest.mark.parametrize("syntax", CODECS)
def test_fragment_without_an_offset_table_before_it_is_read(syntax: UID) -> None:
    np.testing.assert_array_equal(pixels_of(compressed(syntax, item(STREAMS[syntax]) + DELIMITER)), RAMP)


@pytest.mark.parametrize("syntax", JPEGS)
def test_stream_that_is_not_encapsulated_is_read(syntax: UID) -> None:
    stream = STREAMS[syntax] + b"\0" * (len(STREAMS[syntax]) % 2)
    np.testing.assert_array_equal(pixels_of(compressed(syntax, stream, len(stream))), RAMP)


@pytest.mark.parametrize("syntax", JPEGS)
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
@pytest.mark.parametrize(
    "behind", [b"", DELIMITER, b"\0" * 70, STREAMS[JPEGLosslessSV1]], ids=["end", "delimiter", "zeros", "image"]
)
def test_cut_stream_is_broken_whatever_follows(syntax: UID, share: float, behind: bytes) -> None:
    """A codec would show grey for what is missing, and the networks see no fracture in grey."""
    stream = STREAMS[syntax][: int(len(STREAMS[syntax]) * share) - 2]
    content = compressed(syntax, item(b"") + ITEM + struct.pack("<L", len(stream + behind)) + stream + behind)
    code, reason = reason_of(content)
    assert code == ReasonCode.BROKEN_PIXELS and "cut" in reason


@pytest.mark.parametrize("syntax", JPEGS)
def test_cut_stream_before_a_whole_one_is_broken(syntax: UID) -> None:
    whole = STREAMS[syntax]
    for share in (0.1, 0.5, 0.9, 1.0):
        content = compressed(syntax, item(b"") + item(whole[: int(len(whole) * share) - 2] + whole) + DELIMITER)
        assert reason_of(content)[0] == ReasonCode.BROKEN_PIXELS


@pytest.mark.parametrize("share", [0.01, 0.3, 0.999])
def test_cut_rle_stream_is_broken(share: float) -> None:
    stream = STREAMS[RLELossless][: int(len(STREAMS[RLELossless]) * share)]
    assert reason_of(compressed(RLELossless, item(b"") + item(stream)))[0] == ReasonCode.BROKEN_PIXELS


@pytest.mark.parametrize("header", [b"", bytes(64), struct.pack("<16L", 2, *[64] * 15), b"\xff" * 64], ids=range(4))
def test_rle_header_that_lies_is_an_error(header: bytes) -> None:
    with pytest.raises((ValueError, struct.error, RuntimeError)):
        rle_samples(header + b"\0\1" * 20, (8, 8), 1, 2)


@pytest.mark.parametrize(("count", "dtype"), [(1, np.uint8), (1, np.uint16), (3, np.uint8), (3, np.uint16)])
def test_rle_samples_are_those_that_were_encoded(count: int, dtype: type[np.unsignedinteger[Any]]) -> None:
    """The encoder is pydicom's own."""
    shape = (30, 41) if count == 1 else (30, 41, 3)
    samples = np.random.default_rng(4).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    ds = instance(Rows=30, Columns=41, SamplesPerPixel=count)
    ds.BitsAllocated = ds.BitsStored = 8 * samples.dtype.itemsize
    ds.HighBit, ds.PlanarConfiguration = ds.BitsStored - 1, 0
    ds.PhotometricInterpretation = "MONOCHROME2" if count == 1 else "RGB"
    ds.compress(RLELossless, samples, generate_instance_uid=False)
    stream = get_frame(ds.PixelData, 0, number_of_frames=1)
    np.testing.assert_array_equal(rle_samples(stream, (30, 41), count, samples.dtype.itemsize), samples)


@pytest.mark.parametrize("syntax", JPEGS)
@pytest.mark.parametrize("negotiated", [ExplicitVRLittleEndian, *CODECS])
def test_stream_of_another_syntax_than_negotiated_is_read(syntax: UID, negotiated: UID) -> None:
    content = compressed(negotiated, item(b"") + item(STREAMS[syntax]) + DELIMITER)
    np.testing.assert_array_equal(pixels_of(content), RAMP)


@pytest.mark.parametrize("negotiated", [ExplicitVRLittleEndian, *CODECS])
def test_uncompressed_pixels_under_a_compressed_syntax_are_read(negotiated: UID) -> None:
    ds = instance()
    np.testing.assert_array_equal(pixels_of(meta(ds, negotiated) + data_set(ds)), RAMP)


SECOND_META = {
    "a whole file": meta(instance(), JPEG2000Lossless),
    "its meta information": meta(instance(), JPEG2000Lossless)[132:],
    "a transfer syntax": element(0x0002, 0x0010, b"UI", JPEG2000Lossless.encode() + b"\0"),
    "a whole file in a file": meta(instance(), RLELossless) + meta(instance(), JPEGLSLossless),
    "a command set": struct.pack("<HHLL", 0, 0, 4, 10) + struct.pack("<HHLH", 0, 0x0100, 2, 1),
}


@pytest.mark.parametrize("second", SECOND_META)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_transfer_syntax_is_that_of_the_presentation_context(second: str, syntax: UID) -> None:
    ds = instance()
    received = SECOND_META[second] + data_set(ds, implicit=syntax == ImplicitVRLittleEndian)
    if syntax == DeflatedExplicitVRLittleEndian:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        received = deflater.compress(received) + deflater.flush()
    content = meta(ds, syntax) + received
    read = read_dataset(content)
    assert read.file_meta.TransferSyntaxUID == syntax
    assert not [tag for tag in read.keys() if tag.group < 8]  # noqa: SIM118
    assert read.PatientName == ds.PatientName
    np.testing.assert_array_equal(pixels_of(content), RAMP)


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID"])
def test_uid_that_the_data_set_lacks_is_that_of_the_c_store(keyword: str) -> None:
    ds = instance()
    head, known = meta(ds, ExplicitVRLittleEndian), ds[keyword].value
    del ds[keyword]
    read = read_dataset(head + data_set(ds))
    assert read[keyword].value == known


def cut_behind(keyword: str, more: bytes = b"") -> bytes:
    """Return an instance that ends behind an attribute, in one that has no end."""
    ds = instance()
    ds = ds[: ds[keyword].tag + 1]
    ds.file_meta = instance().file_meta
    return meta(ds, ExplicitVRLittleEndian) + data_set(ds) + more


ENDLESS = struct.pack("<HH2sHL", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + item(b"")[:6]
CUT_VALUE = element(0x0028, 0x0030, b"DS", b"0.1\\0.1 ")[:-3]


@pytest.mark.parametrize("more", [ENDLESS, CUT_VALUE, b"\xff" * 20], ids=["endless", "cut", "bytes"])
def test_broken_data_set_that_names_patient_and_study_is_answered(more: bytes) -> None:
    ds, reason = read_parts(cut_behind("StudyInstanceUID", more))
    assert reason is not None and reason.code == ReasonCode.UNREADABLE
    assert "cannot be parsed" in str(reason.reason)
    assert (ds.PatientID, ds.StudyInstanceUID) == (instance().PatientID, instance().StudyInstanceUID)
    examined = examine(lambda: cut_behind("StudyInstanceUID", more), "ROOM1", Analyse())
    assert examined.reason == reason and examined.radiograph is None
    assert examined.header.study_instance_uid == instance().StudyInstanceUID


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyDate", "PatientName", "PatientID"])
def test_broken_data_set_without_patient_or_study_is_recorded_with_the_true_reason(keyword: str) -> None:
    """Nobody's study could be named: the row, the page, the log and the metrics are all that there is."""
    with pytest.raises(Rejected) as caught:
        read_parts(cut_behind(keyword, ENDLESS))
    assert caught.value.code == ReasonCode.UNREADABLE
    assert "cannot be parsed from (0040,0275) on" in caught.value.reason


def test_broken_data_set_that_is_no_radiograph_is_recorded_as_that() -> None:
    content = cut_behind("StudyInstanceUID", ENDLESS).replace(b"CS\2\0DX", b"CS\2\0CT")
    examined = examine(lambda: content, "ROOM1", Analyse())
    assert examined.reason is not None and examined.reason.code == ReasonCode.NOT_A_RADIOGRAPH


def test_identity_that_is_cut_is_not_believed() -> None:
    """A name or number that ends with the file may be the beginning of another one."""
    whole = cut_behind("PatientID")
    for missing in range(1, 8):
        with pytest.raises(Rejected, match=r"unreadable|parsed from \(0010,0020\) on"):
            read_parts(whole[:-missing])


def test_data_set_cut_anywhere_is_read_or_named_with_its_reason() -> None:
    ds = instance()
    content = meta(ds, ExplicitVRLittleEndian) + data_set(ds)
    for end in range(1, content.index(PIXEL_DATA_TAG) + 40):
        try:
            examined = examine(lambda end=end: content[:end], "ROOM1", Analyse())  # type: ignore[misc]
        except Rejected as error:
            assert error.code in (ReasonCode.UNREADABLE, ReasonCode.NOT_DICOM), end
        else:
            assert examined.radiograph is None and examined.reason is not None, end
            assert examined.source.PatientID == ds.PatientID, end


def test_deflated_data_set_that_is_cut_tells_patient_and_study() -> None:
    ds = instance()
    ds.PixelData = np.random.default_rng(1).integers(0, 4096, RAMP.shape, np.uint16).tobytes()
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(data_set(ds)) + deflater.flush()
    content = meta(ds, DeflatedExplicitVRLittleEndian) + deflated[: len(deflated) // 2]
    examined = examine(lambda: content, "ROOM1", Analyse())
    assert examined.reason is not None and examined.reason.code == ReasonCode.BROKEN_PIXELS
    assert examined.source.PatientID == ds.PatientID


BROKEN_HEADERS: dict[str, Any] = {
    "decimal comma": element(0x0028, 0x0008, b"IS", b"1,0 "),
    "frames that are no number": element(0x0028, 0x0008, b"IS", b"ONE "),
    "frames with a decimal point": element(0x0028, 0x0008, b"IS", b"1.0 "),
    "no frames": element(0x0028, 0x0008, b"IS", b"0 "),
    "angle that is no number": element(0x0018, 0x1470, b"DS", b"NONE"),
    "samples of one byte": element(0x0028, 0x0002, b"US", b"\1"),
    "sequence that is text": element(0x0008, 0x2218, b"LO", b"WRIST "),
    "sequence of broken items": struct.pack("<HH2sHL", 8, 0x2218, b"SQ", 0, 10) + b"\xff" * 10,
    "species of broken items": struct.pack("<HH2sHL", 0x0010, 0x2202, b"SQ", 0, 10) + b"\xff" * 10,
    "orientation of numbers": element(0x0020, 0x0020, b"US", b"\1\0\2\0"),
    "high bit of one byte": element(0x0028, 0x0102, b"US", b"\x0b"),
    "representation of one byte": element(0x0028, 0x0103, b"US", b"\0"),
    "bits stored of one byte": element(0x0028, 0x0101, b"US", b"\x0c"),
    "overlay bit of one byte": element(0x6000, 0x0102, b"US", b"\0"),
    "age of two values": element(0x0010, 0x1010, b"AS", b"030Y\\031Y "),
    "window of text": element(0x0028, 0x1050, b"DS", b"AUTO"),
    "modality of two values": element(0x0008, 0x0060, b"CS", b"DX\\CR "),
    "image type of numbers": element(0x0008, 0x0008, b"US", b"\1\0"),
}


@pytest.mark.parametrize("name", BROKEN_HEADERS)
def test_attribute_with_a_fallback_costs_no_radiograph(name: str) -> None:
    ds, broken = instance(), BROKEN_HEADERS[name]
    tag = struct.unpack("<HH", broken[:4])
    if tag in ds:
        del ds[tag]
    whole = data_set(ds)
    before = len(data_set(ds[: (tag[0] << 16) + tag[1]]))
    examined = examine(
        lambda: meta(ds, ExplicitVRLittleEndian) + whole[:before] + broken + whole[before:], "ROOM1", Analyse()
    )
    assert examined.reason is None, examined.reason
    assert examined.radiograph is not None
    np.testing.assert_array_equal(examined.radiograph.stored.pixels, RAMP)


def test_several_frames_with_a_decimal_comma_are_refused_as_several() -> None:
    ds = instance()
    whole = data_set(ds)
    at = whole.index(struct.pack("<HH", 0x0028, 0x0010))
    content = meta(ds, ExplicitVRLittleEndian) + whole[:at] + element(0x28, 8, b"IS", b"3,0 ") + whole[at:]
    examined = examine(lambda: content, "ROOM1", Analyse())
    assert examined.reason is not None and examined.reason.code == ReasonCode.NOT_A_PROJECTION


NUMBERS = [
    b"99999999999",
    b"-99999999999",
    b"1e300",
    b"-1e300",
    b"1e-300",
    b"0 ",
    b"nan ",
    b"",
    b"1,5 ",
    b"1\\2 ",
    b"x ",
]
LUT_DESCRIPTORS = [bytes(6), b"\xff" * 6, struct.pack("<3H", 10, 0, 0), struct.pack("<2H", 10, 0)]
FULL = {0x1602: b"1 ", 0x1604: b"200 ", 0x1606: b"1 ", 0x1608: b"160 "}


def shutter(shape: bytes, *edges: tuple[int, bytes]) -> list[bytes]:
    return [element(0x0018, 0x1600, b"CS", shape), *(element(0x0018, number, b"IS", value) for number, value in edges)]


def lut(number: int, descriptor: bytes, table: bytes) -> bytes:
    content = element(0x0028, 0x3002, b"US", descriptor) + struct.pack("<HH2sHL", 0x0028, 0x3006, b"OW", 0, len(table))
    content += table
    return struct.pack("<HH2sHL", 0x0028, number, b"SQ", 0, len(content) + 8) + item(content)


DISPLAYS = {
    **{
        f"{n:04x} {value!r}": [element(0x28, n, b"DS", value)]
        for n in (0x1050, 0x1051, 0x1052, 0x1053)
        for value in NUMBERS
    },
    **{
        f"rectangle {n:04x} {value!r}": shutter(b"RECTANGULAR ", *(FULL | {n: value}).items())
        for n in FULL
        for value in NUMBERS
    },
    **{
        f"circle {value!r}": shutter(
            b"CIRCULAR", (0x1610, b"80\\100"), (0x1612, value.strip() + b" " * (len(value.strip()) % 2))
        )
        for value in NUMBERS
    },
    "polygon of one point": shutter(b"POLYGONAL ", (0x1620, b"10\\10 ")),
    "polygon of two points": shutter(b"POLYGONAL ", (0x1620, b"10\\10\\90\\90 ")),
    "polygon of an odd number": shutter(b"POLYGONAL ", (0x1620, b"1\\1\\1\\200\\160 ")),
    "polygon without an area": shutter(b"POLYGONAL ", (0x1620, b"10\\10\\90\\90\\20\\20 ")),
    **{f"padding {value!r}": [element(0x28, 0x120, b"DS", value)] for value in NUMBERS},
    **{
        f"padding range {value!r}": [element(0x28, 0x120, b"US", b"\xff\xff"), element(0x28, 0x121, b"DS", value)]
        for value in NUMBERS
        if value != b"0 "
    },
    **{
        f"lut {number:04x} {descriptor!r} {table[:2]!r}": [lut(number, descriptor, table)]
        for number in (0x3000, 0x3010)
        for descriptor in LUT_DESCRIPTORS
        for table in (b"", b"\0\0", b"\1" * 8192)
    },
    **{
        f"{n:04x} {value!r}": [element(0x28, n, b"DS", value)]
        for n in (0x0002, 0x0102, 0x0103)
        for value in NUMBERS
        if value not in {b"1,5 ", b"1\\2 "}
    },
}


def with_elements(*elements: bytes) -> bytes:
    """Return an instance with these elements in their places."""
    ds = instance()
    parts = {(tag.group, tag.element): data_set(ds[tag : tag + 1]) for tag in ds.keys()}  # noqa: SIM118
    parts |= {struct.unpack("<HH", one[:4]): one for one in elements}
    return meta(ds, ExplicitVRLittleEndian) + b"".join(parts[tag] for tag in sorted(parts))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", DISPLAYS)
def test_broken_attribute_of_the_display_costs_no_radiograph(name: str) -> None:
    """Weasis #236, fo-dicom #1062, #1296, #1369, #1915 and #1975, GateTools #68: the picture is there all the same."""
    examined = examine(lambda: with_elements(*DISPLAYS[name]), "ROOM1", Analyse())
    assert examined.reason is None, examined.reason
    assert examined.radiograph is not None
    shown = displayed(examined.radiograph.stored)
    assert np.percentile(shown, 99) - np.percentile(shown, 1) > 100, "the picture uses its range"
