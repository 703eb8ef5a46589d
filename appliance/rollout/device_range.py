"""The validated range of devices: a live site answers as in an evaluation on radiographs of a device beyond it."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase

from .told import Phases

DeviceRanges = Mapping[Site, frozenset[str]]
"""The devices in the sample by which each site went live; a site without such a sample is not in it."""


def phases_on_device(phases: Phases, ranges: DeviceRanges, device: str) -> dict[Site, Phase]:
    """Return the phases for a radiograph of `device`: a live site that was not validated on it is in familiarise."""
    return {
        site: Phase.FAMILIARISE if phase is Phase.LIVE and device not in ranges.get(site, {device}) else phase
        for site, phase in phases.items()
    }
