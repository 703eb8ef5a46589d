"""Names in every character set of PS3.3 C.12.1.1.2 reach the answers as Unicode; so do those of sloppy senders."""

import io
from collections.abc import Iterator
from functools import partial

import pytest

from appliance.config import Analyse
from appliance.dicom.objects.patient_study import identity_digest, patient_study
from appliance.dicom.reading.reader import header_from_dataset, read_dataset
from appliance.service.examined_instance import Examined, examine
from appliance.service.isolation import Isolated
from tests.support.sources import source

NAMES = {
    "ISO_IR 6": "Doe^Jane",
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 101": "Wałęsa^Żaneta",
    "ISO_IR 109": "Ġorġ^Ħ",
    "ISO_IR 110": "Bērziņš^Jānis",
    "ISO_IR 144": "Люкceмбypг^Анна",
    "ISO_IR 127": "قباني^لنزار",
    "ISO_IR 126": "Διονυσιος^Α",
    "ISO_IR 138": "שרון^דבורה",
    "ISO_IR 148": "Çavuşoğlu^Işıl",
    "ISO_IR 203": "Œuvrard^Zoé€",
    "ISO_IR 13": "ﾔﾏﾀﾞ^ﾀﾛｳ",
    "ISO_IR 166": "สมชาย^ใจดี",
    "ISO_IR 192": "王^小東",
    "GB18030": "王^小东",
    "GBK": "王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 100\\ISO 2022 IR 144": "Müller^Анна",
}


def received(character_set: str, name: str) -> bytes:
    ds = source("charset")
    ds.SpecificCharacterSet = character_set.split("\\") if "\\" in character_set else character_set
    ds.PatientName = name
    ds.OtherPatientNames = [name, "Doe^J"]
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("character_set", NAMES)
def test_name_in_every_character_set_is_copied(character_set: str) -> None:
    ds = read_dataset(received(character_set, NAMES[character_set]))
    assert header_from_dataset(ds).modality == "DX"
    made = patient_study(ds)
    assert str(made.PatientName) == NAMES[character_set]
    assert made.SpecificCharacterSet == "ISO_IR 192"


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated[Examined]]:
    made = Isolated(examine)
    yield made
    made.close()


@pytest.mark.parametrize("character_set", NAMES)
def test_name_read_in_the_isolated_process_is_copied(character_set: str, isolated: Isolated[Examined]) -> None:
    """Return every text of the data set, in a fixed order."""
    content = received(character_set, NAMES[character_set])
    source = isolated(partial(bytes, content), "", Analyse()).source
    made = patient_study(source)
    assert str(made.PatientName) == str(made.OtherPatientNames[0]) == NAMES[character_set]
    assert len(made.OtherPatientNames) == 2


def test_chinese_escape_sequences_are_removed() -> None:
    """PS3.5 K.2: each component group begins with its own escape sequence."""
    coded = b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab="
    ds = source("charset")
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 58"]
    ds.PatientName = "x" * len(coded)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    read = read_dataset(buffer.getvalue().replace(b"x" * len(coded), coded))
    assert str(patient_study(read).PatientName) == "Wang^XiaoDong=王^小东"


def test_identity_digest_is_the_same_in_another_character_set() -> None:
    latin, unicode = (read_dataset(received(c, "Müller^Jörg")) for c in ("ISO_IR 100", "ISO_IR 192"))
    assert identity_digest(latin) == identity_digest(unicode)
    assert identity_digest(latin) != identity_digest(read_dataset(received("ISO_IR 192", "Muller^Jorg")))


@pytest.mark.parametrize("declared", [b"", b"ISO-IR 100", b"ISO IR 100", b"NONSENSE 1"])
def test_undeclared_or_misspelt_character_set_still_gives_objects(declared: bytes) -> None:
    content = received("ISO_IR 100", "Müller^Jörg")
    assert content.count(b"ISO_IR 100") == 1
    ds = read_dataset(content.replace(b"ISO_IR 100", declared.ljust(10)))
    assert header_from_dataset(ds).study_instance_uid
    name = str(patient_study(ds).PatientName)
    assert name.startswith("M")
    assert name.endswith("rg")


@pytest.mark.parametrize("value", [None, "", "31.01.70", "00000000"])
def test_missing_or_wrong_dates_still_give_objects(value: str | None) -> None:
    content = received("ISO_IR 100", "Doe^Jane")
    ds = read_dataset(content)
    for keyword in ("StudyDate", "PatientBirthDate"):
        if value is None:
            del ds[keyword]
        else:
            ds[keyword]._value = value
    assert header_from_dataset(ds).modality == "DX"
    made = patient_study(ds)
    assert made.StudyDate == made.PatientBirthDate == ""
