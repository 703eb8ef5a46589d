"""Every real DICOM file at hand gets its proper outcome, as far as it is decided without the engines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import Configuration
from appliance.errors import Rejected
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pipeline_of

pytestmark = pytest.mark.data

DECODED = "decoded"
OUTCOMES = {
    "charset_Lena-utf8": "not_a_radiograph",
    "charset_chrJapMulti": "no_pixels",
    "charset_chrX2": "not_a_radiograph",
    "codec_CT1_UNC.explicit_big_endian": "not_a_radiograph",
    "codec_HTJ2KLossless_08_RGB": "unreadable",  # it has no UID that a report could refer to
    "codec_RG2_J2KI": DECODED,
    "codec_RG2_J2KR": DECODED,
    "codec_RG2_JLSL": DECODED,
    "codec_RG2_JLSN": DECODED,
    "codec_RG2_JPLL": DECODED,
    "codec_RG2_JPLY": DECODED,
    "codec_RG2_JPLY_fixed": DECODED,
    "codec_RG2_RLE": DECODED,
    "codec_image_dfl": "not_a_radiograph",
    "happy_966_fixed": "out_of_scope",
    "happy_NM_Kakadu44_SOTmarkerincons": DECODED,
    "happy_RG1_J2KI": "out_of_scope",
    "happy_RG2_UNC": DECODED,
    "happy_RG3_UNC": DECODED,
    "headers_6154": "too_small",
    "headers_DX-Im-Carestream_DRX": "no_pixels",
    "headers_DX-Im-Date-Missing": "too_small",
    "headers_DX-Im-SiemensMultix": "too_small",
    "hostile_20-wrong-transfer-syntax": "not_a_radiograph",
    "hostile_2017-06-27-XSSInjection": "not_a_radiograph",
    "hostile_2026-05-06-Deeply-Nested-Sequence": "not_a_radiograph",
    "hostile_2026-05-26-oob-monochrome-65535": "not_a_radiograph",
    "hostile_GH340": "not_dicom",
    "hostile_Issue22-NoPixelData": "not_a_radiograph",
    "hostile_MR_truncated": "not_a_radiograph",
    "hostile_OutOfBoundsOverlay": "not_a_radiograph",
    "hostile_badVR": "not_a_radiograph",
    "hostile_implicitLittleEndian": "out_of_scope",
    "photometric_DX-Im-GE_XR220-1": "for_processing",
    "photometric_Fake_MONOHR1": "not_a_radiograph",
    "photometric_Monochrome1-Jpeg": DECODED,  # a chest; its header does not say so
    "photometric_mlut_18": "not_a_radiograph",
    "photometric_test8bits": "not_a_radiograph",
    "photometric_vlut_04": "not_a_radiograph",
    "reject_0_ORIGINAL_compressed": "out_of_scope",
    "reject_CT_small": "not_a_radiograph",
    "reject_GH133": "not_a_radiograph",
    "reject_RF-RDSR-Siemens-Zee": "not_a_radiograph",
    "reject_dx_image": "out_of_scope",
}
CHESTS = (
    "charset_chrJapMulti", "happy_966_fixed", "happy_RG1_J2KI", "headers_DX-Im-Carestream_DRX",
    "headers_DX-Im-SiemensMultix", "hostile_implicitLittleEndian", "photometric_Fake_MONOHR1",
    "photometric_Monochrome1-Jpeg", "photometric_test8bits", "reject_0_ORIGINAL_compressed", "reject_dx_image",
)  # fmt: skip


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader(pipeline_of(Configuration()))
    yield made
    made.close()


def outcome(reader: Reader, path: Path) -> str:
    try:
        examined = reader.examine(path.read_bytes)
    except Rejected as error:
        assert len(error.reason) > 20
        return error.code
    if examined.reason:
        assert len(str(examined.reason.reason)) > 20
        return examined.reason.code
    return DECODED


def test_table_of_outcomes_names_every_file(data: Path) -> None:
    assert {path.stem for path in (data / "dicom").glob("*.dcm")} == set(OUTCOMES)


@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.proves("MIS-2")
def test_real_file_gets_its_outcome(name: str, data: Path, reader: Reader) -> None:
    assert outcome(reader, data / "dicom" / f"{name}.dcm") == OUTCOMES[name]


@pytest.mark.parametrize("name", CHESTS)
@pytest.mark.proves("SAF-6")
def test_chest_is_not_analysed(name: str, data: Path, reader: Reader) -> None:
    """Where the header does not name the chest, the image has to decide."""
    try:
        examined = reader.examine((data / "dicom" / f"{name}.dcm").read_bytes)
    except Rejected:
        return
    result = reader.read(examined).analysis.result
    assert result.not_analysed is not None, [f.site for f in result.findings]


def test_copies_in_lossless_syntaxes_have_equal_pixels(data: Path, reader: Reader) -> None:
    names = ("happy_RG2_UNC", *(f"codec_RG2_{syntax}" for syntax in ("J2KR", "JLSL", "JPLL", "RLE")))
    examined = [reader.examine((data / "dicom" / f"{name}.dcm").read_bytes) for name in names]
    first = examined[0].radiograph
    assert first is not None
    for other in examined[1:]:
        assert other.radiograph is not None
        assert (other.radiograph.stored.pixels == first.stored.pixels).all()


@pytest.mark.parametrize(("syntax", "furthest"), [("J2KI", 87), ("JLSN", 4), ("JPLY", 128), ("JPLY_fixed", 128)])
def test_copies_in_lossy_syntaxes_differ_by_the_loss_of_the_codec(
    syntax: str, furthest: int, data: Path, reader: Reader
) -> None:
    """Limits in 1024 grey levels: the catalogue states two of them; single pixels of the JPEG differ by an eighth."""
    first, other = (
        reader.examine((data / "dicom" / f"{name}.dcm").read_bytes).radiograph
        for name in ("happy_RG2_UNC", f"codec_RG2_{syntax}")
    )
    assert first is not None
    assert other is not None
    difference = abs(other.stored.pixels.astype(int) - first.stored.pixels)
    assert difference.max() <= furthest
    assert difference.mean() < 4
