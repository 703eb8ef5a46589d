"""The overlay: heat inside its extent, marks and frames by verdict, a band that covers no anatomy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.config import Picture
from appliance.domain.finding import Box, Finding, NotAnalysed, UnreadRegion, Verdict, Withheld
from appliance.domain.identifiers import Site
from appliance.domain.reason import ReasonCode
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.sentence import Sentence
from appliance.picture.band import answers, band, text_px, width_for_text
from appliance.picture.heat import FAINTEST, ORANGE, shown_heat
from appliance.picture.overlay import overlay, thumbnail
from appliance.picture.palette import ANSWER_COLOURS, NEUTRAL
from appliance.picture.regions import DIMMED
from appliance.picture.scale import step_of
from appliance.picture.text import Line, fitted, font
from appliance.ports import Heat
from kernels.reference import blend, colour_map, sample
from tests.support.results import finding, result, unanalysed
from tests.support.sources import source

SOURCE = source()
BOX = Box(x0=40, y0=60, x1=140, y1=180)


def grey(height: int = 240, width: int = 200) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width), np.uint8)


def sampled(given: Heat, image: np.ndarray, verdict: Verdict = Verdict.POSITIVE) -> np.ndarray:
    """Return the heat that is drawn at every pixel of `image`."""
    height, width = image.shape
    return sample(shown_heat(given, verdict).cells, height, width, given.extent)


def whole(*findings: Finding, **changes: object) -> Result:
    """Make a result of a radiograph of which every subject was read."""
    return replace(result(SOURCE, *findings), not_read=(), **changes)  # type: ignore[arg-type]  # names are fields'


def texts(given: Result, *, with_probability: bool = False) -> list[str]:
    return [line.text for line in answers(given, with_probability=with_probability)]


def heat(box: Box = BOX) -> Heat:
    return Heat(cells=np.random.default_rng(2).random((7, 5), np.float32), extent=box.as_tuple(), within=box.as_tuple())


def picture(image: np.ndarray, overlaid: np.ndarray) -> np.ndarray:
    return overlaid[overlaid.shape[0] - image.shape[0] :, : image.shape[1]]


def inner(box: Box, margin: int = 3) -> tuple[slice, slice]:
    return (
        slice(int(box.y0) + margin, int(box.y1) - margin),
        slice(int(box.x0) + margin, int(box.x1) - margin),
    )


def test_overlay_outside_the_region_keeps_every_pixel() -> None:
    image = grey()
    shown = picture(image, overlay(image, whole(finding(box=BOX)), [heat()]))
    outside = np.ones(image.shape, bool)
    outside[int(BOX.y0) - 3 : int(BOX.y1) + 4, int(BOX.x0) - 3 : int(BOX.x1) + 4] = False
    for channel in range(3):
        np.testing.assert_array_equal(shown[..., channel][outside], image[outside])


def test_heat_in_strips_equals_the_reference() -> None:
    image, mapped = grey(), heat()
    shown = picture(image, overlay(image, result(SOURCE, finding(box=BOX)), [mapped]))
    expected = blend(image, sampled(mapped, image))
    difference = np.abs(shown[inner(BOX)].astype(int) - expected[inner(BOX)])
    assert difference.max() <= 1


def test_overlapping_heat_maps_show_the_hotter_one() -> None:
    image = grey()
    other = Box(x0=100, y0=120, x1=190, y1=230)
    heats = [heat(), Heat(cells=np.full((3, 3), 0.85, np.float32), extent=other.as_tuple(), within=other.as_tuple())]
    findings = [finding(0.9, box=BOX), finding(0.8, box=other)]
    shown = picture(image, overlay(image, result(SOURCE, *findings), heats))
    fields = [sampled(h, image) for h in heats]
    expected = blend(image, np.maximum(*fields))
    overlap = (slice(130, 170), slice(110, 130))
    assert np.abs(shown[overlap].astype(int) - expected[overlap]).max() <= 1


@pytest.mark.parametrize("extent", [(-50.5, -20, 60.2, 33), (150, 200, 400, 500), (500, 500, 600, 600)])
def test_heat_map_beyond_the_image_is_clipped(extent: tuple[float, float, float, float]) -> None:
    image = grey()
    cells = np.ones((4, 4), np.float32)
    mapped = Heat(cells=cells, extent=extent, within=extent)
    shown = picture(image, overlay(image, result(SOURCE, finding(box=BOX)), [mapped]))
    assert shown.shape == (*image.shape, 3)


def test_heat_of_a_negative_finding_is_not_drawn() -> None:
    image = grey()
    shown = picture(image, overlay(image, result(SOURCE, finding(0.1, box=BOX)), [heat()]))
    assert (shown[inner(BOX)] == image[inner(BOX)][..., None]).all()


def test_frames_are_solid_dashed_or_thin_by_answer() -> None:
    image = np.zeros((600, 1000), np.uint8)
    box = Box(x0=200, y0=200, x1=600, y1=500)
    drawn = {
        p: np.asarray(picture(image, overlay(image, result(SOURCE, finding(p, box=box)))).any(axis=2))
        for p in (0.9, 0.4, 0.1)
    }
    top = {p: shown[199, 210:590] for p, shown in drawn.items()}
    assert not any(shown[200:500, 200:600].any() for shown in drawn.values()), "a line lies inside the region"
    assert top[0.9].all()
    assert top[0.4].any() and not top[0.4].all()
    assert top[0.1].all()
    thickness = {p: int(shown[190:210, 300].sum()) for p, shown in drawn.items()}
    assert thickness[0.9] >= 2
    assert thickness[0.1] == 1


MARK = ((300.0, 250.0), (420.0, 250.0), (420.0, 380.0), (300.0, 380.0))


@pytest.mark.parametrize("probability", [0.9, 0.4])
def test_mark_has_the_strong_colour_and_the_frame_is_thin_and_neutral(probability: float) -> None:
    image = np.full((600, 1000), 60, np.uint8)
    found = finding(probability, box=Box(x0=200, y0=200, x1=600, y1=500), mark=MARK)
    shown = picture(image, overlay(image, whole(found)))
    strong = (shown == ANSWER_COLOURS[found.verdict]).all(axis=2)
    across = strong[250, 310:410]
    assert across.any() and across.all() == (found.verdict is Verdict.POSITIVE), "solid, or dashed"
    strong[245:386, 295:426] = False
    assert not strong.any(), "the strong colour is elsewhere than at the mark"
    assert (shown[199, 210:590] == NEUTRAL).all()
    assert (shown[198, 210:590] == 60).all()


def test_mark_scales_with_the_radiograph() -> None:
    image = np.full((600, 1000), 60, np.uint8)
    found = finding(0.9, box=Box(x0=200, y0=200, x1=600, y1=500), mark=MARK)
    small = overlay(image, whole(found), (), Picture(longest_px=500))[-300:]
    rows, columns = np.nonzero((small == ANSWER_COLOURS[Verdict.POSITIVE]).all(axis=2))
    edges = (rows.min(), rows.max(), columns.min(), columns.max())
    assert edges == pytest.approx((125, 190, 150, 210), abs=2)


def test_region_not_read_is_dimmed_where_no_region_was_read() -> None:
    image = np.full((600, 1000), 200, np.uint8)
    read = finding(0.1, box=Box(x0=200, y0=200, x1=600, y1=500))
    unread = UnreadRegion(site=Site.FOREARM, box=Box(x0=300, y0=400, x1=800, y1=590))
    named = UnreadRegion(site=Site.ELBOW)
    for look in (Picture(), Picture(layout="grey")):
        shown = picture(image, overlay(image, replace(whole(read), not_read=(unread, named)), (), look))
        assert (shown[510:580, 310:590] == int(200 * DIMMED)).all()
        assert (shown[410:490, 620:790] == int(200 * DIMMED)).all()
        assert (shown[410:490, 310:590] == 200).all()
        assert (shown[10:100] == 200).all()


def test_gravest_region_is_drawn_last() -> None:
    image = np.full((600, 1000), 60, np.uint8)
    box = Box(x0=200, y0=200, x1=600, y1=500)
    found = [finding(p, box=box, mark=MARK) for p in (0.4, 0.9)]
    shown = picture(image, overlay(image, whole(*found)))
    assert (shown[250, 310:410] == ANSWER_COLOURS[Verdict.POSITIVE]).all()


def test_tags_of_equal_regions_do_not_cover_each_other() -> None:
    image = np.full((400, 300), 90, np.uint8)
    found = [finding(p, box=Box(x0=0, y0=0, x1=300, y1=400), mark=()) for p in (0.9, 0.4, *(0.1,) * 8)]
    shown = picture(image, overlay(image, whole(*found)))
    tag = round(text_px(400, 300) * 1.3)
    least = 0.5 * round(tag * 1.1) * round(tag * 1.2)
    areas = {v: int((shown == ANSWER_COLOURS[v]).all(axis=2).sum()) for v in (Verdict.POSITIVE, Verdict.NEGATIVE)}
    assert areas[Verdict.POSITIVE] > least
    assert areas[Verdict.NEGATIVE] > 8 * least


def test_heat_is_relative_to_its_own_maximum_and_transparent_below_a_quarter() -> None:
    cells = np.zeros((16, 16), np.float32)
    cells[4:8, 4:8] = 0.1
    faint = replace(heat(), cells=cells)
    shown = shown_heat(faint, Verdict.POSITIVE).cells
    assert shown.shape == (64, 64) and shown.max() == pytest.approx(1, abs=1e-6)
    cells[12, 12] = 0.1 * (FAINTEST - 0.02)
    assert not shown_heat(faint, Verdict.POSITIVE).cells[44:56, 44:56].any()
    assert not shown_heat(replace(heat(), cells=np.zeros((3, 3), np.float32)), Verdict.DOUBT).cells.any()


def test_heat_of_a_possible_fracture_ends_at_orange() -> None:
    assert shown_heat(heat(), Verdict.POSITIVE).cells.max() > 0.95
    assert 0.95 * ORANGE < shown_heat(heat(), Verdict.DOUBT).cells.max() <= np.float32(ORANGE)
    for kind in ("heat", "sunset"):
        red, green, blue = colour_map(kind)[round(ORANGE * 255)].astype(int)
        assert red > 240 and 100 < green < 150 and blue < 90


def test_headlines_stand_in_the_order_of_gravity() -> None:
    found = [finding(p, site=s) for p, s in ((0.5, Site.WRIST), (0.1, Site.HAND), (0.9, Site.KNEE))]
    assert texts(replace(whole(*found), not_read=(UnreadRegion(site=Site.ELBOW),))) == [
        "3 LEFT KNEE: FRACTURE SUSPECTED",
        "1 LEFT WRIST: POSSIBLE FRACTURE",
        "NOT READ: elbow",
        "2 LEFT HAND: NO FRACTURE FOUND",
    ]


def test_incomplete_headline_names_what_was_read_and_what_was_not() -> None:
    unread = (UnreadRegion(site=Site.ELBOW), UnreadRegion(site=Site.FOREARM, box=BOX))
    given = replace(whole(finding(0.1)), not_read=unread)
    assert texts(given) == ["INCOMPLETE - left wrist: no fracture found. NOT READ: elbow, forearm"]
    (line,) = answers(given)
    assert line.is_headline and line.step is None
    dark = replace(whole(finding(0.1)), incomplete=(Sentence.of("bone is visible outside"),))
    assert texts(dark) == ["INCOMPLETE - left wrist: no fracture found. bone is visible outside"]
    held = finding(0.1, site=Site.KNEE, withheld=(Withheld.CUT,))
    assert texts(whole(held)) == ["INCOMPLETE - NOT CLEARED: left knee"]
    assert texts(whole(finding(0.1), held)) == [
        "INCOMPLETE - 1 left wrist: no fracture found. NOT CLEARED: 2 left knee"
    ]


def test_headline_has_a_scale_or_the_probability_where_the_site_asks() -> None:
    (scaled,), (written,) = (answers(whole(finding(0.1)), with_probability=w) for w in (False, True))
    assert (scaled.text, scaled.step) == ("LEFT WRIST: NO FRACTURE FOUND", 1)
    assert (written.text, written.step) == ("LEFT WRIST: NO FRACTURE FOUND (fracture probability 10%)", None)
    image = grey()
    without, with_it = (overlay(image, whole(finding(0.1)), (), Picture(probability=p)) for p in (False, True))
    assert without.shape != with_it.shape or not np.array_equal(without, with_it)


@pytest.mark.parametrize(
    ("probability", "step"), [(0, 1), (0.14, 1), (0.16, 2), (0.3, 3), (0.69, 3), (0.7, 4), (0.86, 5), (1, 5)]
)
def test_step_lies_between_the_operating_points(probability: float, step: int) -> None:
    assert step_of(finding(probability)) == step


@pytest.mark.parametrize("width", [240, 363, 800])
def test_headlines_have_one_size(width: int) -> None:
    lines = [
        Line(text="1 LEFT WRIST: FRACTURE SUSPECTED", scale=2.2, step=4, is_headline=True),
        Line(text="NOT READ: elbow", scale=2.2, is_headline=True),
        Line(text="a caveat"),
    ]
    *headlines, caveat = fitted(lines, 11, width)
    assert len({piece.size_px for piece in headlines}) == 1
    assert headlines[0].size_px > caveat.size_px == 11
    assert all(piece.width_px <= width for piece in headlines)
    assert [piece.step for piece in headlines if piece.step] == [4]


def test_overlay_with_a_wrong_number_of_heat_maps_raises() -> None:
    with pytest.raises(ValueError, match="2 heat maps for 1 findings"):
        overlay(grey(), result(SOURCE), [heat(), heat()])


@pytest.mark.parametrize("shape", [(1, 1), (60, 97), (200, 163), (3000, 373), (2500, 2048), (1000, 4000)])
@pytest.mark.parametrize("kind", ["positive", "several", "unanalysed"])
@pytest.mark.parametrize("layout", ["overlay", "beside", "grey"])
def test_radiograph_of_any_shape_is_whole_under_a_band_that_fits(
    shape: tuple[int, int], kind: str, layout: str
) -> None:
    box = Box(x0=0, y0=0, x1=shape[1], y1=shape[0])
    given = {
        "positive": result(SOURCE, finding(box=box)),
        "several": result(
            SOURCE,
            *(finding(p, box=box) for p in (0.87, 0.4, 0.1)),
            caveats=(Sentence(template="a " * 60), Sentence(template="x" * 70)),
        ),
        "unanalysed": unanalysed(SOURCE),
    }[kind]
    image = np.full(shape, 77, np.uint8)
    made = overlay(image, given, (), Picture(layout=layout))
    assert made.dtype == np.uint8 and made.ndim == (2 if layout == "grey" else 3)
    assert made.shape[1] >= width_for_text(shape[1], text_px(*shape))
    shown = picture(image, made)
    assert shown.shape[:2] == shape
    if kind == "unanalysed":
        assert (shown == 77).all()


@pytest.mark.parametrize("shape", [(454, 373), (2500, 2048)])
def test_band_takes_a_small_part_of_the_picture(shape: tuple[int, int]) -> None:
    plain = replace(result(SOURCE), not_read=())
    size = text_px(*shape)
    assert band(plain, width_for_text(shape[1], size), size, colour_map()).shape[0] <= 0.2 * shape[0]


def test_reduced_radiograph_has_text_of_the_same_size() -> None:
    image, mapped = grey(1200, 1000), heat(Box(x0=200, y0=300, x1=700, y1=900))
    given = result(SOURCE, finding(box=Box(x0=200, y0=300, x1=700, y1=900)))
    small = overlay(image, given, [mapped], Picture(longest_px=600))
    rows = small.shape[0] - 600
    assert small.shape[1] == 500
    assert rows == band(given, 500, text_px(600, 500), colour_map()).shape[0]
    slope = np.add.outer(np.arange(1200) // 10, np.arange(1000) // 10).astype(np.uint8)
    shown = picture(np.empty((600, 500)), overlay(slope, given, [], Picture(longest_px=600)))
    middle = (slice(170, 430), slice(120, 330))
    np.testing.assert_allclose(shown[..., 1][middle], slope[::2, ::2][middle], atol=1)
    framed = picture(np.empty((600, 500)), small)
    assert (framed[149, 110:340] == framed[149, 110]).all(), "the frame is not where the region came to lie"


def test_layout_beside_shows_the_radiograph_unchanged() -> None:
    image = grey()
    given = result(SOURCE, finding(box=BOX))
    both = overlay(image, given, [heat()], Picture(layout="beside"))
    panels = both[both.shape[0] - image.shape[0] :]
    assert (panels[:, : image.shape[1]] == image[..., None]).all()
    alone = picture(image, overlay(image, given, [heat()]))
    left = image.shape[1] + 4
    np.testing.assert_array_equal(panels[inner(BOX)[0], left + 45 : left + 135], alone[inner(BOX)[0], 45:135])


def test_layout_grey_has_no_heat_and_a_visible_frame() -> None:
    bone = np.full((600, 500), 255, np.uint8)
    box = Box(x0=100, y0=100, x1=400, y1=500)
    mapped = Heat(cells=np.ones((3, 3), np.float32), extent=box.as_tuple(), within=box.as_tuple())
    shown = picture(bone, overlay(bone, result(SOURCE, finding(box=box)), [mapped], Picture(layout="grey")))
    assert (shown[inner(box)] == 255).all()
    assert {0, 255} <= set(shown[90:101, 250].tolist())


def test_colour_blind_colours_come_from_the_sunset_map() -> None:
    image, mapped = grey(), heat()
    shown = picture(image, overlay(image, result(SOURCE, finding(box=BOX)), [mapped], Picture(colours="colour_blind")))
    expected = blend(image, sampled(mapped, image), colours=colour_map("sunset"))
    assert np.abs(shown[inner(BOX)].astype(int) - expected[inner(BOX)]).max() <= 1


def test_every_heat_over_every_grey_equals_the_reference() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 300, axis=1)
    box = Box(x0=0, y0=0, x1=300, y1=256)
    mapped = Heat(
        cells=np.tile(np.linspace(0, 1, 300, dtype=np.float32), (2, 1)), extent=box.as_tuple(), within=box.as_tuple()
    )
    shown = picture(image, overlay(image, whole(finding(box=box)), [mapped]))
    difference = np.abs(shown.astype(int) - blend(image, sampled(mapped, image)))
    assert difference[8:-8, 8:-8].max() <= 1


def test_number_of_a_region_covers_no_region() -> None:
    image = np.full((400, 300), 90, np.uint8)
    boxes = [Box(x0=60, y0=110, x1=140, y1=200), Box(x0=150, y0=4, x1=280, y1=300), Box(x0=40, y0=4, x1=120, y1=90)]
    shown = picture(image, overlay(image, result(SOURCE, *(finding(0.1, box=b) for b in boxes))))
    for box in boxes:
        assert (shown[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] == 90).all(), box


def test_thumbnail_is_the_overlay_without_text() -> None:
    image = grey(1000, 800)
    small = thumbnail(image, result(SOURCE, finding(box=BOX)), [heat()], 500)
    assert small.shape == (500, 400, 3)
    assert np.ptp(small[40:80, 30:60].astype(int), axis=2).max() > 20


def test_radiograph_without_pixels_gives_a_card_with_the_reason() -> None:
    one = overlay(None, unanalysed(SOURCE))
    other = overlay(
        None,
        replace(unanalysed(SOURCE), not_analysed=NotAnalysed(code=ReasonCode.UNREADABLE, reason=Sentence.of("broken"))),
    )
    assert one.shape[2] == 3 and not np.array_equal(one, other)
    assert overlay(None, unanalysed(SOURCE), (), Picture(layout="grey")).ndim == 2


def test_band_of_a_narrow_radiograph_fits_each_sentence_in_one_line() -> None:
    assert font(11).getlength(str(SECOND_READER)) < 373 - 10


def test_radiograph_not_analysed_is_shown_unchanged_under_the_reason() -> None:
    image = grey()
    made = overlay(image, unanalysed(SOURCE))
    assert (picture(image, made) == image[..., None]).all()
    other = replace(
        unanalysed(SOURCE), not_analysed=NotAnalysed(code=ReasonCode.UNREADABLE, reason=Sentence.of("broken"))
    )
    assert not np.array_equal(made, overlay(image, other))


def test_overlay_drawn_twice_gives_the_same_picture() -> None:
    image = grey()
    once, again = (overlay(image, result(SOURCE, finding(box=BOX)), [heat()]) for _ in range(2))
    np.testing.assert_array_equal(once, again)
