"""`osteon validate plan`: the size of a sample, and the radiographs of this hospital beside those of the pack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.rollout.gate import COVERAGE
from appliance.rollout.planning import chance_of_accuracy, chance_of_fractures, radiographs_needed
from appliance.service.pipeline_assembly import packs_of
from appliance.storage.mix import Mix, site_mix
from engines.pack import Pack
from provisioning.operation.queues import reading

DAYS = 90
"""Days from which the mix of the radiographs is taken."""

SIZES = (200, 300, 500)
CHANCES = (0.8, 0.9)

ENOUGH = 50
"""Radiographs from which on the hospital's own shares are used."""

FRACTURES = 0.2
"""Share of fractures that is assumed without any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A possible sample.

    Attributes
    ----------
    scored
        Radiographs with an answer and a read.
    to_draw
        Radiographs to draw for that, since some are not answered; None where none is.
    chance_of_accuracy, chance_of_fractures
        Probabilities that the criterion of accuracy is met, and that enough fractures are among them.
    """

    scored: int
    to_draw: int | None
    chance_of_accuracy: float
    chance_of_fractures: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The share of a group of radiographs here and in the data of the pack; None where the pack does not state it."""

    name: str
    here: float
    stated: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """The radiographs of a site here beside those of its pack."""

    site: Site
    pack: str
    clears: bool
    patients_per_week: float
    mix: Mix
    ages: tuple[Share, ...]
    devices: tuple[Share, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a validation.

    Attributes
    ----------
    coverage, fractures
        Shares of answered radiographs and of fractures that the plan goes by.
    are_measured
        Whether the coverage is that of the hospital's own radiographs.
    needed
        Scored radiographs for each of `CHANCES`; None if even the largest sample is too small.
    """

    accuracy: float
    coverage: float
    are_measured: bool
    fractures: float
    samples: tuple[Sample, ...]
    needed: dict[float, int | None]
    sites: tuple[SitePlan, ...]

    @property
    def patients_per_week(self) -> float:
        """Patients of all sites together."""
        return sum(site.patients_per_week for site in self.sites)


def plan_validation(config: Configuration, accuracy: float, fractures: float | None) -> Plan:
    """Plan a sample for a hoped-for accuracy.

    Parameters
    ----------
    fractures
        Share of the radiographs that show one; None: the share of suspicious answers.
    """
    packs = packs_of(config)
    with reading(config) as c:
        mixes = site_mix(c, now() - timedelta(days=DAYS)) if c else {}
    sites = tuple(
        _site_plan(site, mix, pack) for site, mix in mixes.items() if (pack := _pack_of(site, packs)) is not None
    )
    radiographs = sum(site.mix.radiographs for site in sites)
    are_measured = radiographs >= ENOUGH
    answered = sum(site.mix.answered for site in sites)
    coverage = answered / radiographs if are_measured else COVERAGE
    if fractures is None:
        fractures = sum(site.mix.suspicious for site in sites) / radiographs if are_measured else FRACTURES
    needed = {chance: radiographs_needed(accuracy, chance) for chance in CHANCES}
    sizes = sorted({*SIZES, *(n for n in needed.values() if n)})
    return Plan(
        accuracy=accuracy,
        coverage=coverage,
        are_measured=are_measured,
        fractures=fractures,
        samples=tuple(
            Sample(
                scored=n,
                to_draw=math.ceil(n / coverage) if coverage else None,
                chance_of_accuracy=chance_of_accuracy(n, accuracy),
                chance_of_fractures=chance_of_fractures(n, fractures),
            )
            for n in sizes
        ),
        needed=needed,
        sites=sites,
    )


def _site_plan(site: Site, mix: Mix, pack: Pack) -> SitePlan:
    stated = pack.classifiers[site].performance
    return SitePlan(
        site=site,
        pack=pack.name,
        clears=pack.classifiers[site].clears,
        patients_per_week=mix.patients * 7 / DAYS,
        mix=mix,
        ages=_shares(mix.ages, mix.radiographs, stated.get("ages")),
        devices=_shares(mix.devices, mix.radiographs, stated.get("devices")),
    )


def _shares(counts: Mapping[str, int], radiographs: int, stated: Any) -> tuple[Share, ...]:
    """Return the share of each group, the largest here first; `stated` is a table of shares in the pack's manifest."""
    table = stated if isinstance(stated, dict) else {}
    counts = {name or "unknown": n for name, n in counts.items()}
    names = sorted({*counts, *table}, key=lambda name: (-counts.get(name, 0), name))
    return tuple(
        Share(name=name, here=counts.get(name, 0) / radiographs, stated=float(table.get(name, 0)) if table else None)
        for name in names
    )


def _pack_of(site: Site, packs: Sequence[Pack]) -> Pack | None:
    return next((pack for pack in packs if site in pack.classifiers), None)
