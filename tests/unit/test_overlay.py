"""The overlay: heat inside its extent, boxes by answer, a band that covers no anatomy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.analysis.band import band, font
from appliance.analysis.overlay import overlay
from appliance.domain.finding import Box, NotAnalysed
from appliance.domain.result import SECOND_READER
from appliance.ports import Heat
from kernels.reference import blend, sample
from tests.support.results import finding, result, unanalysed
from tests.support.sources import source

SOURCE = source()
BOX = Box(x0=40, y0=60, x1=140, y1=180)


def grey(height: int = 240, width: int = 200) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width), np.uint8)


def heat(box: Box = BOX) -> Heat:
    return Heat(cells=np.random.default_rng(2).random((7, 5), np.float32), extent=box.as_tuple(), within=box.as_tuple())


def picture(image: np.ndarray, overlaid: np.ndarray) -> np.ndarray:
    return overlaid[overlaid.shape[0] - image.shape[0] :]


def inner(box: Box, margin: int = 3) -> tuple[slice, slice]:
    return (
        slice(int(box.y0) + margin, int(box.y1) - margin),
        slice(int(box.x0) + margin, int(box.x1) - margin),
    )


def test_outside_the_box_every_pixel_of_the_radiograph_stays() -> None:
    image = grey()
    shown = picture(image, overlay(image, result(SOURCE, finding(box=BOX)), [heat()]))
    outside = np.ones(image.shape, bool)
    outside[int(BOX.y0) - 3 : int(BOX.y1) + 4, int(BOX.x0) - 3 : int(BOX.x1) + 4] = False
    for channel in range(3):
        np.testing.assert_array_equal(shown[..., channel][outside], image[outside])


def test_heat_is_what_the_reference_blends_over_the_whole_image() -> None:
    image, mapped = grey(), heat()
    shown = picture(image, overlay(image, result(SOURCE, finding(box=BOX)), [mapped]))
    expected = blend(image, sample(mapped.cells, *image.shape, mapped.extent))
    difference = np.abs(shown[inner(BOX)].astype(int) - expected[inner(BOX)])
    assert difference.max() <= 1


def test_where_two_heat_maps_meet_the_hotter_one_shows() -> None:
    image = grey()
    other = Box(x0=100, y0=120, x1=190, y1=230)
    heats = [heat(), Heat(cells=np.full((3, 3), 0.9, np.float32), extent=other.as_tuple(), within=other.as_tuple())]
    findings = [finding(0.9, box=BOX), finding(0.8, box=other)]
    shown = picture(image, overlay(image, result(SOURCE, *findings), heats))
    fields = [sample(h.cells, *image.shape, h.extent) for h in heats]
    expected = blend(image, np.maximum(*fields))
    overlap = (slice(130, 170), slice(110, 130))
    assert np.abs(shown[overlap].astype(int) - expected[overlap]).max() <= 1


@pytest.mark.parametrize("extent", [(-50.5, -20, 60.2, 33), (150, 200, 400, 500), (500, 500, 600, 600)])
def test_an_extent_may_reach_beyond_the_image(extent: tuple[float, float, float, float]) -> None:
    image = grey()
    cells = np.ones((4, 4), np.float32)
    mapped = Heat(cells=cells, extent=extent, within=extent)
    shown = picture(image, overlay(image, result(SOURCE, finding(box=BOX)), [mapped]))
    assert shown.shape == (*image.shape, 3)


def test_the_heat_of_a_negative_finding_is_not_drawn() -> None:
    image = grey()
    shown = picture(image, overlay(image, result(SOURCE, finding(0.1, box=BOX)), [heat()]))
    assert (shown[inner(BOX)] == image[inner(BOX)][..., None]).all()


def test_boxes_are_solid_dashed_and_thin() -> None:
    image = np.zeros((600, 1000), np.uint8)
    box = Box(x0=200, y0=200, x1=600, y1=500)
    drawn = {
        p: picture(image, overlay(image, result(SOURCE, finding(p, box=box)))).any(axis=2) for p in (0.9, 0.4, 0.1)
    }
    top = {p: shown[200, 210:590] for p, shown in drawn.items()}
    assert top[0.9].all()
    assert top[0.4].any() and not top[0.4].all()
    assert top[0.1].all()
    thickness = {p: int(shown[190:210, 300].sum()) for p, shown in drawn.items()}
    assert thickness[0.9] >= 2
    assert thickness[0.1] == 1


def test_the_number_of_heat_maps_must_be_that_of_the_findings() -> None:
    with pytest.raises(ValueError, match="2 heat maps for 1 findings"):
        overlay(grey(), result(SOURCE), [heat(), heat()])


@pytest.mark.parametrize("width", [1, 97, 373, 2048, 3000])
@pytest.mark.parametrize("kind", ["positive", "several", "unanalysed"])
def test_the_band_is_as_wide_as_the_image_whatever_its_width(width: int, kind: str) -> None:
    given = {
        "positive": result(SOURCE),
        "several": result(SOURCE, finding(), finding(0.4), finding(0.1), caveats=("a " * 60, "x" * 70)),
        "unanalysed": unanalysed(SOURCE),
    }[kind]
    made = band(given, width, with_legend=kind != "unanalysed")
    assert made.shape[1:] == (width, 3)
    assert made.dtype == np.uint8


@pytest.mark.parametrize("width", [373, 2048])
def test_the_band_is_slim(width: int) -> None:
    plain = replace(result(SOURCE), unread_regions=())
    assert band(plain, width, with_legend=True).shape[0] <= 0.28 * width


def test_what_must_be_said_fits_a_narrow_image_in_one_line() -> None:
    assert font(11).getlength(SECOND_READER) < 373 - 10


def test_a_radiograph_that_was_not_analysed_is_shown_unchanged_under_the_reason() -> None:
    image = grey()
    made = overlay(image, unanalysed(SOURCE))
    assert (picture(image, made) == image[..., None]).all()
    other = replace(unanalysed(SOURCE), not_analysed=NotAnalysed(code="broken", reason="broken"))
    assert not np.array_equal(made, overlay(image, other))


def test_the_same_result_gives_the_same_picture() -> None:
    image = grey()
    once, again = (overlay(image, result(SOURCE, finding(box=BOX)), [heat()]) for _ in range(2))
    np.testing.assert_array_equal(once, again)
