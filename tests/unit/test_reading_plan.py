"""The plan of what is read, tested without any network."""

from __future__ import annotations

import pytest

from appliance.analysis.localiser import LocatedRegion
from appliance.analysis.reading_plan import (
    Standing,
    covered_share,
    is_subject,
    one_name_each,
    plan_reading,
)
from appliance.domain.finding import Box, Withheld
from appliance.domain.identifiers import Site

SHAPE = (1000, 800)
ENGINES = frozenset({Site.ANKLE, Site.WRIST, Site.KNEE, Site.PELVIS})
WHOLE = (300, 300, 500, 500)


def region(site: Site, box: tuple[float, float, float, float] = WHOLE, score: float = 0.6) -> LocatedRegion:
    x0, y0, x1, y1 = box
    return LocatedRegion(site=site, box=Box(x0=x0, y0=y0, x1=x1, y1=y1), score=score)


def standings(regions: list[LocatedRegion], named: set[Site] | None = None) -> dict[Site, Standing]:
    plan = plan_reading(regions, SHAPE, named or set(), ENGINES, 0.3)
    return {r.region.site: r.standing for r in plan.regions}


def test_two_names_for_one_place_leave_the_better_score() -> None:
    kept = one_name_each([region(Site.ANKLE, score=0.5), region(Site.WRIST, score=0.7)], ())
    assert [r.site for r in kept] == [Site.WRIST]


def test_a_tie_for_one_place_goes_to_the_site_of_the_header() -> None:
    kept = one_name_each([region(Site.ANKLE, score=0.5), region(Site.WRIST, score=0.55)], {Site.ANKLE})
    assert [r.site for r in kept] == [Site.ANKLE]


def test_regions_in_different_places_keep_their_names() -> None:
    elsewhere = region(Site.KNEE, (300, 600, 500, 800))
    assert len(one_name_each([region(Site.ANKLE), elsewhere], ())) == 2


@pytest.mark.parametrize(
    ("site", "box", "expected"),
    [
        (Site.ELBOW, WHOLE, True),
        (Site.ELBOW, (0, 300, 200, 500), False),
        (Site.ELBOW, (300, 995, 500, 1000), False),
        (Site.FOREARM, (300, 0, 400, 300), True),
        (Site.FOREARM, (300, 0, 400, 120), False),
        (Site.SPINE, WHOLE, False),
        (Site.LOWER_LEG, (200, 160, 700, 760), True),
        (Site.LOWER_LEG, (300, 300, 600, 650), False),
        (Site.SPINE, (250, 0, 450, 1000), True),
        (Site.SPINE, (250, 0, 400, 1000), False),
    ],
)
def test_a_subject_is_a_whole_joint_or_half_of_a_shaft(
    site: Site, box: tuple[float, float, float, float], expected: bool
) -> None:
    assert is_subject(region(site, box), SHAPE) is expected


def test_the_covered_share_is_that_of_the_union() -> None:
    halves = [Box(x0=300, y0=300, x1=400, y1=500), Box(x0=300, y0=300, x1=400, y1=400)]
    assert covered_share(region(Site.KNEE).box, halves) == pytest.approx(0.5, abs=0.02)
    assert covered_share(region(Site.KNEE).box, []) == 0


def test_a_whole_joint_without_an_engine_is_not_read() -> None:
    found = standings([region(Site.WRIST), region(Site.ELBOW, (300, 600, 500, 800))])
    assert found == {Site.WRIST: Standing.READ, Site.ELBOW: Standing.NOT_READ}


def test_a_neighbour_cut_by_the_border_is_at_the_margin() -> None:
    found = standings([region(Site.WRIST), region(Site.ELBOW, (300, 900, 500, 1000))])
    assert found[Site.ELBOW] is Standing.MARGIN


def test_a_region_that_lies_in_read_boxes_is_read_with_them() -> None:
    found = standings([region(Site.WRIST, (200, 200, 600, 700)), region(Site.HAND, (300, 210, 590, 460))])
    assert found[Site.HAND] is Standing.MARGIN


@pytest.mark.proves("SAF-1")
def test_a_site_that_the_header_names_is_a_subject_wherever_it_lies() -> None:
    found = standings([region(Site.WRIST), region(Site.ELBOW, (300, 900, 500, 1000))], {Site.ELBOW})
    assert found[Site.ELBOW] is Standing.NOT_READ


def test_a_weak_region_is_read_only_if_the_header_names_it() -> None:
    weak = region(Site.WRIST, score=0.2)
    unnamed = plan_reading([weak], SHAPE, (), ENGINES, 0.3)
    named = plan_reading([weak], SHAPE, {Site.WRIST}, ENGINES, 0.3)
    assert not unnamed.read and unnamed.regions[0].standing is Standing.NOT_READ
    assert [r.withheld for r in named.read] == [(Withheld.WEAK,)]
    strong_hand = region(Site.HAND, (300, 550, 500, 750), 0.8)
    beside = plan_reading([weak, strong_hand], SHAPE, {Site.WRIST}, ENGINES, 0.3)
    assert [r.withheld for r in beside.read] == [(Withheld.WEAK,)]


@pytest.mark.proves("SAF-4")
def test_a_header_of_another_limb_contradicts_and_withholds_negatives() -> None:
    plan = plan_reading([region(Site.ANKLE)], SHAPE, {Site.WRIST}, ENGINES, 0.3)
    assert plan.contradicts and plan.missing == {Site.WRIST}
    assert [r.withheld for r in plan.read] == [(Withheld.CONTRADICTION,)]


def test_a_spine_beside_an_arm_does_not_confirm_a_header_of_the_pelvis() -> None:
    arm = region(Site.ELBOW)
    spine = region(Site.SPINE, (0, 0, 60, 900))
    assert plan_reading([arm, spine], SHAPE, {Site.PELVIS}, ENGINES, 0.3).contradicts
    assert not plan_reading([spine], SHAPE, {Site.PELVIS}, ENGINES, 0.3).contradicts


def test_a_weak_region_of_the_site_in_the_header_does_not_contradict() -> None:
    plan = plan_reading([region(Site.WRIST, score=0.2)], SHAPE, {Site.WRIST}, ENGINES, 0.3)
    assert not plan.contradicts and not plan.recognised
    assert [r.withheld for r in plan.read] == [(Withheld.WEAK,)]


def test_a_place_with_two_names_about_as_good_may_not_be_called_negative() -> None:
    plan = plan_reading([region(Site.WRIST, score=0.62), region(Site.ANKLE, score=0.6)], SHAPE, (), ENGINES, 0.3)
    assert [(r.region.site, r.withheld, r.site_is_certain) for r in plan.read] == [
        (Site.WRIST, (Withheld.AMBIGUOUS,), False)
    ]
    clear = plan_reading([region(Site.WRIST, score=0.62), region(Site.ANKLE, score=0.4)], SHAPE, (), ENGINES, 0.3)
    assert [(r.withheld, r.site_is_certain) for r in clear.read] == [((), True)]


def test_a_name_that_the_header_chose_may_not_be_called_negative() -> None:
    regions = [region(Site.ELBOW, score=0.58), region(Site.WRIST, score=0.5)]
    plan = plan_reading(regions, SHAPE, {Site.WRIST}, ENGINES, 0.3)
    assert [(r.region.site, r.withheld, r.site_is_certain) for r in plan.read] == [
        (Site.WRIST, (Withheld.AMBIGUOUS,), True)
    ]


def test_a_header_of_a_neighbour_does_not_contradict() -> None:
    plan = plan_reading([region(Site.WRIST)], SHAPE, {Site.HAND}, ENGINES, 0.3)
    assert not plan.contradicts and plan.missing == {Site.HAND}


def test_a_named_site_without_an_engine_withholds_its_neighbours_negative() -> None:
    plan = plan_reading([region(Site.WRIST)], SHAPE, {Site.FOREARM}, ENGINES, 0.3)
    assert [r.withheld for r in plan.read] == [(Withheld.NAMED_SITE_UNREAD,)]


def test_an_arm_and_a_leg_without_a_reason_leave_the_better_limb_and_no_negative() -> None:
    regions = [region(Site.WRIST, score=0.7), region(Site.ANKLE, (300, 600, 500, 800), 0.5)]
    plan = plan_reading(regions, SHAPE, (), ENGINES, 0.3)
    assert [(r.region.site, r.withheld) for r in plan.read] == [(Site.WRIST, (Withheld.OTHER_LIMB,))]
    assert plan.regions[1].standing is Standing.NOT_READ


def test_an_arm_and_a_leg_that_the_header_names_are_both_read() -> None:
    regions = [region(Site.WRIST, score=0.7), region(Site.ANKLE, (300, 600, 500, 800), 0.5)]
    plan = plan_reading(regions, SHAPE, {Site.WRIST, Site.ANKLE}, ENGINES, 0.3)
    assert [r.withheld for r in plan.read] == [(), ()]


def test_an_ordinary_radiograph_withholds_nothing() -> None:
    plan = plan_reading([region(Site.KNEE)], SHAPE, {Site.KNEE}, ENGINES, 0.3)
    assert [(r.standing, r.withheld) for r in plan.regions] == [(Standing.READ, ())]
    assert not plan.missing and not plan.contradicts


def test_a_joint_at_the_border_may_not_be_called_negative() -> None:
    plan = plan_reading([region(Site.WRIST, (0, 300, 200, 500))], SHAPE, (), ENGINES, 0.3)
    assert [r.withheld for r in plan.read] == [(Withheld.CUT,)]


def test_regions_beyond_the_twelfth_are_not_read() -> None:
    grid = [(x, y, x + 90, y + 90) for y in range(100, 800, 100) for x in range(100, 400, 100)]
    plan = plan_reading([region(Site.WRIST, box, 0.9 - n / 100) for n, box in enumerate(grid)], SHAPE, (), ENGINES, 0.3)
    assert len(plan.read) == 12 and plan.regions[12].standing is Standing.NOT_READ
