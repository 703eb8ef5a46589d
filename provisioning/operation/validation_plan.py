"""`osteon validate plan`: the size of a sample, and the radiographs of this hospital beside those of the pack."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.rollout.gate import ACCURACY, COVERAGE
from appliance.rollout.planning import chance_of_accuracy, chance_of_fractures, radiographs_needed
from appliance.rollout.statistics import rate
from appliance.service.pipeline_assembly import packs_of
from appliance.storage.mix import Mix, first_result_at, site_mix
from engines.pack import Pack
from provisioning.operation.queues import reading

DAYS = 90
"""Days from which the mix of the radiographs is taken."""

HOPED = 0.977
"""True accuracy that is hoped for, unless another one is named."""

SHARE = 0.2
"""Share of the patients that are drawn, unless another one is named."""

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
    weeks
        Weeks that drawing them takes at the rate of patients so far; None where none came.
    chance_of_accuracy, chance_of_fractures
        Probabilities that the criterion of accuracy is met, and that enough fractures are among them.
    """

    scored: int
    to_draw: int | None
    weeks: float | None
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
    days
        Days of the hospital's own radiographs, at most `DAYS`.
    out_of_reach
        Sites that the pack lets clear, but that are right too seldom in its own data to pass, with that share.
    needed
        Scored radiographs for each of `CHANCES`; None if even the largest sample is too small.
    """

    accuracy: float
    coverage: float
    are_measured: bool
    fractures: float
    share: float
    days: int
    out_of_reach: dict[Site, float]
    samples: tuple[Sample, ...]
    needed: dict[float, int | None]
    sites: tuple[SitePlan, ...]

    @property
    def patients_per_week(self) -> float:
        """Patients of all sites together."""
        return sum(site.patients_per_week for site in self.sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The radiographs of a sample of some size that will be answered, and the chance that they are right enough."""

    scored: int
    coverage: float
    are_measured: bool
    chance_of_accuracy: float


def outlook_of(config: Configuration, sites: Collection[Site], size: int) -> Outlook:
    """Return what to expect of a sample of these sites, if the accuracy is `HOPED`."""
    with reading(config) as c:
        mixes = site_mix(c, now() - timedelta(days=DAYS)) if c else {}
    coverage, are_measured = _coverage([mix for site, mix in mixes.items() if site in sites])
    scored = int(size * coverage)
    chance = chance_of_accuracy(scored, HOPED)
    return Outlook(scored=scored, coverage=coverage, are_measured=are_measured, chance_of_accuracy=chance)


def plan_validation(config: Configuration, accuracy: float, fractures: float | None, share: float = SHARE) -> Plan:
    """Plan a sample for a hoped-for accuracy.

    Parameters
    ----------
    fractures
        Share of the radiographs that show one; None: the share of suspicious answers.
    share
        Share of the patients that are drawn.
    """
    packs = packs_of(config)
    with reading(config) as c:
        since = now() - timedelta(days=DAYS)
        mixes, first = (site_mix(c, since), first_result_at(c)) if c else ({}, None)
    days = min(math.ceil((now() - first) / timedelta(days=1)), DAYS) if first else 0
    sites = tuple(
        _site_plan(site, mix, pack, max(days, 1))
        for site, mix in mixes.items()
        if (pack := _pack_of(site, packs)) is not None
    )
    radiographs = sum(site.mix.radiographs for site in sites)
    drawn_per_week = share * sum(site.patients_per_week for site in sites)
    coverage, are_measured = _coverage([site.mix for site in sites])
    if fractures is None:
        fractures = sum(site.mix.suspicious for site in sites) / radiographs if are_measured else FRACTURES
    needed = {chance: radiographs_needed(accuracy, chance) for chance in CHANCES}
    sizes = sorted({*SIZES, *(n for n in needed.values() if n)})
    to_draw = {n: math.ceil(n / coverage) if coverage else None for n in sizes}
    return Plan(
        accuracy=accuracy,
        coverage=coverage,
        are_measured=are_measured,
        fractures=fractures,
        share=share,
        days=days,
        out_of_reach=_out_of_reach(packs),
        samples=tuple(
            Sample(
                scored=n,
                to_draw=drawn,
                weeks=drawn / drawn_per_week if drawn and drawn_per_week else None,
                chance_of_accuracy=chance_of_accuracy(n, accuracy),
                chance_of_fractures=chance_of_fractures(n, fractures),
            )
            for n, drawn in to_draw.items()
        ),
        needed=needed,
        sites=sites,
    )


def _coverage(mixes: Collection[Mix]) -> tuple[float, bool]:
    """Return the share of answered radiographs, and whether it is the hospital's own."""
    radiographs = sum(mix.radiographs for mix in mixes)
    if radiographs < ENOUGH:
        return COVERAGE, False
    return sum(mix.answered for mix in mixes) / radiographs, True


def _out_of_reach(packs: Sequence[Pack]) -> dict[Site, float]:
    """Return the accuracy of the engines that the gate's limit excludes, by the figures that their packs state."""
    found: dict[Site, float] = {}
    for pack in packs:
        for site, spec in pack.classifiers.items():
            right, n = _right(spec.performance)
            if spec.clears and n and rate(right, n).high <= ACCURACY:
                found.setdefault(Site(site), right / n)
    return found


def _right(stated: Mapping[str, Any]) -> tuple[int, int]:
    """Return the regions that an engine answered right in its pack's data, and all of them; zeros if not stated."""
    try:
        n, positives = int(stated["n"]), int(stated["positives"])
        found, cleared = float(stated["sensitivity_doubt"][0]), float(stated["specificity_doubt"][0])
    except (KeyError, IndexError, TypeError, ValueError):
        return 0, 0
    return round(positives * found + (n - positives) * cleared), n


def _site_plan(site: Site, mix: Mix, pack: Pack, days: int) -> SitePlan:
    stated = pack.classifiers[site].performance
    return SitePlan(
        site=site,
        pack=pack.name,
        clears=pack.classifiers[site].clears,
        patients_per_week=mix.patients * 7 / days,
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
