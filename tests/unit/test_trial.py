"""UIDs of trials, and the files that people try: recognised by their content alone."""

import io
import uuid
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image

from appliance.dicom.objects.wrapped_picture import instance_from_file, is_picture
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading import reader
from appliance.domain.identifiers import derived_uid
from appliance.domain.reason import ReasonCode
from appliance.domain.trial import is_trial_uid, new_trial_uid
from appliance.errors import Rejected
from tests.support.sources import source


def picture(format: str, size: tuple[int, int] = (40, 30)) -> bytes:  # noqa: A002  Pillow's name
    file = io.BytesIO()
    Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0])).save(file, format)
    return file.getvalue()


def test_uid_of_a_trial_is_recognised_and_no_other() -> None:
    uids = {new_trial_uid() for _ in range(50)}
    assert len(uids) == 50
    assert all(is_trial_uid(uid) and len(uid) <= 64 for uid in uids)
    first = next(iter(uids))
    others = ["", "2.25", "2.25.", "2.25.1", f"2.25.{2**128}", first + ".1", first[:-1], "1" + first, derived_uid("x")]
    assert not any(map(is_trial_uid, others))


def test_uid_of_a_trial_is_that_of_a_uuid() -> None:
    made = uuid.UUID(int=int(new_trial_uid().removeprefix("2.25.")))
    assert (made.version, made.variant) == (5, uuid.RFC_4122)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_picture_is_wrapped_as_an_instance(format: str) -> None:  # noqa: A002
    ds = pydicom.dcmread(io.BytesIO(instance_from_file(picture(format))))
    assert (ds.Columns, ds.Rows, ds.Modality) == (40, 30, "DX")
    assert reader.read_dataset(instance_from_file(picture(format))).SOPInstanceUID == ds.SOPInstanceUID


def test_dicom_file_with_a_picture_in_its_preamble_is_read_as_dicom() -> None:
    whole = part10_bytes(source())
    polyglot = (picture("JPEG")[:128].ljust(128, b"\0")) + whole[128:]
    assert not is_picture(polyglot)
    assert instance_from_file(polyglot) == polyglot


@pytest.mark.parametrize("format", ["GIF", "TIFF", "BMP", "WEBP"])
def test_file_of_another_format_is_never_decoded_as_a_picture(format: str) -> None:  # noqa: A002
    content = picture(format)
    assert instance_from_file(content) == content
    with pytest.raises(Rejected) as caught:
        reader.read_dataset(content)
    assert caught.value.code is ReasonCode.NOT_DICOM


def test_other_format_behind_the_first_bytes_of_a_jpeg_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        instance_from_file(b"\xff\xd8\xff" + picture("TIFF"))
    assert caught.value.code is ReasonCode.NOT_A_PICTURE
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("size", [(12_000, 12_000), (60_000, 60_000)])
def test_picture_with_too_many_pixels_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    bomb = bytearray(picture("PNG"))
    bomb[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    with pytest.raises(Rejected) as caught:
        instance_from_file(bytes(bomb))
    assert caught.value.code is ReasonCode.TOO_LARGE


def test_truncated_picture_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        instance_from_file(picture("JPEG", (400, 300))[:-500])
    assert caught.value.code is ReasonCode.NOT_A_PICTURE
