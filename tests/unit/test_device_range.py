"""Phases of a radiograph by its device."""

from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.rollout.device_range import phases_on_device

PHASES = {Site.KNEE: Phase.LIVE, Site.WRIST: Phase.LIVE, Site.ANKLE: Phase.VALIDATE, Site.HAND: Phase.SHADOW}
RANGES = {Site.KNEE: frozenset({"MAKER A", "MAKER B"}), Site.ANKLE: frozenset({"MAKER A"})}


def test_live_site_is_told_as_in_familiarise_on_a_device_that_its_sample_does_not_hold() -> None:
    assert phases_on_device(PHASES, RANGES, "MAKER A") == PHASES
    assert phases_on_device(PHASES, RANGES, "MAKER C") == PHASES | {Site.KNEE: Phase.FAMILIARISE}
    assert phases_on_device(PHASES, RANGES, "") == PHASES | {Site.KNEE: Phase.FAMILIARISE}


def test_sample_without_reads_covers_no_device() -> None:
    assert phases_on_device(PHASES, {Site.KNEE: frozenset()}, "MAKER A")[Site.KNEE] is Phase.FAMILIARISE
