"""The `Preprocessor` port: DALI on the CPU against the NumPy reference, and the reference against OpenCV."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.domain.radiograph import StoredValues, VoiFunction, Window
from appliance.errors import Fault
from appliance.ports import Preprocessor
from appliance.preprocessing.dali import DaliPreprocessor
from appliance.preprocessing.recipe import Cut, Prepared, equalisation_table, fitted_size
from appliance.preprocessing.reference import ReferencePreprocessor, displayed
from appliance.service.pipeline_assembly import check_preprocessor
from kernels.device import OutOfMemory

SHAPES = [(1, 1), (2, 509), (373, 454), (600, 601), (1501, 1013), (512, 512)]
BORDER_PX = 2
"""DALI clamps at the image's edge where Pillow renormalises: the outermost pixels differ."""


def smooth(shape: tuple[int, int], top: int, seed: int = 0) -> NDArray[np.uint16]:
    noise = np.random.default_rng(seed).random(shape, np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    blurred = (blurred - blurred.min()) / max(float(np.ptp(blurred)), 1e-6)
    return (blurred * top).astype(np.uint16)


def stored(shape: tuple[int, int], function: VoiFunction = "LINEAR", invert: bool = False) -> StoredValues:
    window = Window(center=1900.0, width=2600.0, function=function)
    return StoredValues(pixels=smooth(shape, 4095), slope=1.02, intercept=-30.0, window=window, invert=invert)


def cuts(values: StoredValues, table: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[Cut]:
    return [Cut(stored=values, table=table, box=box) for box in boxes]


@pytest.fixture(scope="module")
def dali() -> DaliPreprocessor:
    return DaliPreprocessor("cpu", 2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.proves("MIS-3")
def test_dali_agrees_with_the_reference(
    dali: DaliPreprocessor, shape: tuple[int, int], function: VoiFunction, invert: bool
) -> None:
    values = stored(shape, function, invert)
    expected, actual = ReferencePreprocessor().prepare([values])[0], dali.prepare([values])[0]
    assert actual.scale == expected.scale
    h, w = fitted_size(*shape, 512)
    assert not actual.image[h:].any() and not actual.image[:, w:].any()
    if min(h, w) > 2 * BORDER_PX + 1:
        inner = (slice(BORDER_PX, h - BORDER_PX), slice(BORDER_PX, w - BORDER_PX))
        difference = np.abs(actual.image[inner].astype(int) - expected.image[inner])
        # one grey level before equalisation can be a few after it, where the histogram is steep
        assert difference.max() <= 6
        assert (difference > 2).mean() < 0.01


def test_dali_equalises_the_image_by_its_table(dali: DaliPreprocessor) -> None:
    """Regions get the same table by which DALI's own `equalize` changes the image."""
    values = stored((700, 400))
    prepared = dali.prepare([values])[0]
    whole = dali.regions(cuts(values, prepared.table, np.array([[0, 0, 400, 700]], np.float32)))[0]
    h, w = fitted_size(700, 400, 512)
    small = cv2.resize(prepared.image[:h, :w], (146, 256), interpolation=cv2.INTER_AREA)
    assert abs(small.astype(int) - whole[:256, :146])[4:-4, 4:-4].mean() < 3
    grey = ReferencePreprocessor().prepare([values])[0]
    np.testing.assert_allclose(prepared.table.astype(int), grey.table, atol=3)


@pytest.mark.parametrize("preprocessor", ["reference", "dali"])
def test_region_is_cut_from_the_received_resolution(preprocessor: str, dali: DaliPreprocessor) -> None:
    """A line two pixels wide is lost at 512 px and visible in its region."""
    pixels = np.full((3000, 2500), 3000, np.uint16)
    pixels[1000:1300, 1100:1102] = 500
    pixels[:400] = 1000
    values = StoredValues(pixels=pixels, window=Window(center=2048, width=4096))
    port: Preprocessor = ReferencePreprocessor() if preprocessor == "reference" else dali
    prepared = port.prepare([values])[0]
    region = port.regions(cuts(values, prepared.table, np.array([[1000, 1000, 1256, 1256]], np.float32)))
    assert region.shape == (1, 256, 256)
    line, beside = region[0, 50:200, 100:102].astype(int), region[0, 50:200, 120:160].astype(int)
    assert beside.min() - line.max() > 100


def test_many_regions_are_returned_in_order(dali: DaliPreprocessor) -> None:
    values = stored((600, 500))
    table = dali.prepare([values])[0].table
    boxes = np.array([[k, k, k + 200, k + 100 + k] for k in range(37)], np.float32)
    together = dali.regions(cuts(values, table, boxes))
    for k in (0, 15, 16, 36):
        np.testing.assert_array_equal(together[k], dali.regions(cuts(values, table, boxes[k : k + 1]))[0])


@pytest.mark.parametrize("kind", ["noise", "three levels", "constant", "half black"])
def test_equalisation_table_equals_opencv(kind: str) -> None:
    rng = np.random.default_rng(1)
    image = {
        "noise": rng.integers(0, 256, (97, 101)),
        "three levels": rng.choice([3, 77, 200], (64, 64)),
        "constant": np.full((9, 9), 120),
        "half black": np.where(np.arange(10_000).reshape(100, 100) < 5000, 0, rng.integers(1, 256, (100, 100))),
    }[kind].astype(np.uint8)
    np.testing.assert_array_equal(equalisation_table(image)[image], cv2.equalizeHist(image))


def test_window_maps_its_edges_to_black_and_white() -> None:
    """DICOM PS3.3 C.11.2.1.2.1, the note's example: center 2048, width 4096 maps 0..4095 to black..white."""
    values = StoredValues(pixels=np.array([[0, 2047, 4095, 65535]], np.uint16), window=Window(center=2048, width=4096))
    assert displayed(values).tolist() == [[0, 127, 255, 255]]


def test_monochrome1_is_inverted_once() -> None:
    pixels = np.array([[0, 4095]], np.uint16)
    for invert, expected in ((False, [[0, 255]]), (True, [[255, 0]])):
        values = StoredValues(pixels=pixels, window=Window(center=2048, width=4096), invert=invert)
        assert displayed(values).tolist() == expected


@pytest.mark.parametrize("shape", [(373, 454), (1501, 1013)])
def test_regions_of_dali_agree_with_the_reference(dali: DaliPreprocessor, shape: tuple[int, int]) -> None:
    values = stored(shape)
    h, w = shape
    boxes = np.array([[0, 0, w, h], [10.5, 20.25, w / 2, h / 3], [w / 2, h / 2, w, h], [5, 5, 40, h]], np.float32)
    table = ReferencePreprocessor().prepare([values])[0].table
    expected, actual = (
        ReferencePreprocessor().regions(cuts(values, table, boxes)),
        dali.regions(cuts(values, table, boxes)),
    )
    for e, a, (x0, y0, x1, y1) in zip(expected.astype(int), actual.astype(int), boxes, strict=True):
        fh, fw = fitted_size(y1 - y0, x1 - x0, 256)
        inner = (slice(BORDER_PX, fh - BORDER_PX), slice(BORDER_PX, fw - BORDER_PX))
        assert np.abs(a[inner] - e[inner]).max() <= 4
        assert not a[fh:].any() and not a[:, fw:].any()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(2, 256), st.integers(2, 256)),
    seed=st.integers(0, 99),
    slope=st.sampled_from([0.5, 1.0, 2.0, -1.0]),
    center=st.integers(500, 3500),
    width=st.integers(300, 5000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    invert=st.booleans(),
)
@pytest.mark.parametrize("preprocessor", ["reference", "dali"])
def test_stage_one_agrees_with_opencv(
    dali: DaliPreprocessor,
    preprocessor: str,
    shape: tuple[int, int],
    seed: int,
    slope: float,
    center: int,
    width: int,
    function: VoiFunction,
    invert: bool,
) -> None:
    """The expected image is made by OpenCV and the Standard's formulas in double precision, without our code."""
    port: Preprocessor = ReferencePreprocessor() if preprocessor == "reference" else dali
    pixels = smooth(shape, 4095, seed)
    window = Window(center=float(center), width=float(width), function=function)
    values = StoredValues(pixels=pixels, slope=slope, intercept=4095.0 * (slope < 0), window=window, invert=invert)
    prepared = port.prepare([values])[0]

    scale = 512 / max(shape)
    h, w = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    x = cv2.resize(pixels.astype(np.float64), (w, h), interpolation=cv2.INTER_LINEAR) * slope + values.intercept
    if function == "SIGMOID":
        y = 1 / (1 + np.exp(-4 * (x - center) / width))
    elif function == "LINEAR_EXACT":
        y = np.clip((x - center) / width + 0.5, 0, 1)
    else:
        y = np.clip((x - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    grey = np.floor((1 - y if invert else y) * 255 + 0.5).astype(np.uint8)
    expected, actual = cv2.equalizeHist(grey).astype(int), prepared.image[:h, :w].astype(int)
    # a pixel that rounds to the next grey level moves by that level's share of the histogram
    steepest = int(np.abs(np.diff(prepared.table.astype(int)[np.unique(grey)])).max(initial=0))
    assert np.abs(actual - expected).max() <= steepest + 3
    assert (np.abs(actual - expected) > 3).mean() < 0.02
    assert not prepared.image[h:].any() and not prepared.image[:, w:].any()


@pytest.mark.parametrize("preprocessor", ["reference", "dali"])
@pytest.mark.parametrize("invert", [False, True])
def test_padding_does_not_enter_the_histogram(preprocessor: str, dali: DaliPreprocessor, invert: bool) -> None:
    """Half of the image is padding, written as black; the other half looks as if it were alone."""
    port: Preprocessor = ReferencePreprocessor() if preprocessor == "reference" else dali
    pixels = 500 + smooth((512, 512), 3000)
    window = Window(center=2048, width=4096)
    alone = port.prepare([StoredValues(pixels=pixels, window=window, invert=invert)])[0]
    padded = pixels.copy()
    padded[:, 256:] = 65535 if invert else 0
    half = port.prepare([StoredValues(pixels=padded, window=window, invert=invert)])[0]
    narrow = port.prepare([StoredValues(pixels=pixels[:, :256].copy(), window=window, invert=invert)])[0]
    np.testing.assert_allclose(half.table[40:230].astype(int), narrow.table[40:230], atol=3)
    assert np.abs(half.image[:, :250].astype(int) - narrow.image[:, :250]).mean() < 2
    assert not half.image[:, 260:].any()
    assert alone.image[:, 260:].any()


def test_graph_that_failed_is_built_again() -> None:
    own = DaliPreprocessor("cpu", 1)
    values = stored((300, 200))
    before = own.prepare([values])[0].image
    pipeline = own._image._pipeline
    assert pipeline is not None
    with pytest.raises(IndexError, match="no longer valid"):
        pipeline.run(pixels=[np.zeros((2, 2), np.uint16)])  # dies: not what the graph takes
    np.testing.assert_array_equal(own.prepare([values])[0].image, before)


class Refusing:
    """A DALI pipeline that fails as with a full or broken GPU."""

    def __init__(self, said: str) -> None:
        self._said = said

    def run(self, **_: object) -> None:
        raise RuntimeError(f"Critical error in pipeline:\n{self._said}")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("CUDA allocation failed", OutOfMemory),
        ("Can't allocate 250000000 bytes on device 0.", OutOfMemory),
        ("CUDA runtime API error cudaErrorIllegalAddress (700)", Fault),
    ],
)
def test_failure_of_dali_becomes_out_of_memory_or_fault(said: str, error: type[Exception]) -> None:
    own, values = DaliPreprocessor("cpu", 1), stored((300, 200))
    before = own.prepare([values])[0].image
    rebuilt, own._image._build = own._image._build, lambda: Refusing(said)  # type: ignore[method-assign]
    own._image._pipeline = Refusing(said)
    with pytest.raises(error, match="DALI failed twice"):
        own.prepare([values])
    own._image._build = rebuilt  # type: ignore[method-assign]
    np.testing.assert_array_equal(own.prepare([values])[0].image, before)


SHORT = """
import resource, sys
from pathlib import Path
import numpy as np
from appliance.domain.radiograph import StoredValues, Window
from appliance.preprocessing.dali import _Graph
from appliance.service.log import set_up_logging
set_up_logging()
graph, side = _Graph("cpu", 1024, 1), 64
pixels = np.add.outer(np.arange(side), np.arange(side)).astype(np.uint16)
stored = StoredValues(pixels=pixels, window=Window(center=side, width=2 * side))
samples = [(stored, pixels[..., None], np.array([k, k, side, side], np.float32)) for k in range(16)]
list(graph(samples[:1]))
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
most = held + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
made = list(graph(samples))
print(graph._batch)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
expected = _Graph("cpu", 1024, 1)(samples)
for part, whole in zip(made, expected, strict=True):
    np.testing.assert_array_equal(part, whole)
"""
"""Program that cuts 16 regions of 1024 px with the given additional memory, in MiB."""


def test_short_memory_halves_the_batch_of_regions() -> None:
    """The host's memory is limited here; DALI reports a GPU's in the same way. Freed memory is returned at once."""
    returned = {"DALI_MALLOC_POOL_THRESHOLD": "1000000M", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    plenty, short, none = (
        subprocess.run(
            [sys.executable, "-c", SHORT, more], env=os.environ | returned, check=False, capture_output=True, text=True
        )
        for more in ("4000", "120", "1")
    )
    assert plenty.stdout == "16\n", plenty.stderr
    assert "built anew" not in plenty.stderr
    assert short.stdout in ("8\n", "4\n", "2\n"), short.stderr
    assert "is built anew for batches of 8: std::bad_alloc" in short.stderr
    assert none.returncode == 1
    assert "OutOfMemory: DALI failed twice: " in none.stderr


def brighter(image: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    return np.clip(image.astype(int) + by, 0, 255).astype(np.uint8)


class Off:
    """Stage 1 as another version of a library might compute it: image or regions brighter."""

    def __init__(self, image: int, regions: int) -> None:
        self._image = image
        self._regions = regions
        self._right = ReferencePreprocessor()

    def prepare(self, radiographs: Sequence[StoredValues]) -> list[Prepared]:
        return [replace(made, image=brighter(made.image, self._image)) for made in self._right.prepare(radiographs)]

    def regions(self, cuts: Sequence[Cut]) -> NDArray[np.uint8]:
        return brighter(self._right.regions(cuts), self._regions)


@pytest.mark.proves("SAF-18")
def test_wrong_stage_one_is_refused_at_start(dali: DaliPreprocessor) -> None:
    check_preprocessor(dali)
    check_preprocessor(Off(0, 0))
    for off in (Off(9, 0), Off(-9, 0), Off(0, 9)):
        with pytest.raises(Fault, match="grey levels"):
            check_preprocessor(off)
