"""`osteon validate refit`: a new version of the pack, with calibration and operating points from a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import ReadMark, SampleKind, Validation
from appliance.errors import Rejected
from appliance.preprocessing.recipe import DIGEST
from appliance.rollout.gate import LEAST_FRACTURES_OF_SITE, LEAST_OTHERS_OF_SITE
from appliance.rollout.scoring import Case
from appliance.service.pipeline_assembly import fingerprints_of, packs_of
from appliance.storage.scored import find_validation, require_shown, scored_sample
from engines.pack import NAME, Pack, read_pack
from engines.training.recalibrate import LocalReads, Recalibrated, recalibrate, write_recalibrated
from provisioning.operation.queues import reading


def refit_sites(
    config: Configuration, sites: Sequence[Site], number: int | None, version: str, folder: Path
) -> tuple[Pack, dict[Site, Recalibrated]]:
    """Write a pack whose engines of `sites` are calibrated on the blinded reads of a validation.

    Parameters
    ----------
    number
        Validation; None: the newest random one.
    version
        Of the new pack; empty: the present one with the number of the validation.

    Raises
    ------
    Rejected
        ``no_validation``; ``validation_open`` before its sample is full and read; ``not_in_validation`` if a site is
        not part of it, its engine is another one by now, or it has too few reads; ``pack`` if the sites belong to
        several packs, or the folder exists.
    """
    pack = _common_pack(config, sites)
    with reading(config) as c:
        if c is None:
            raise Rejected(ReasonCode.NO_VALIDATION, "there is no database yet: osteon validate start")
        validation = find_validation(c, SampleKind.RANDOM, number)
        _check_engines(validation, sites, fingerprints_of(config))
        sample = scored_sample(c, validation, {})
    require_shown(sample)
    cases = [case for case in sample.cases if case.is_blinded]
    reads = {site: _reads(site, cases) for site in sites}
    version = version or f"{pack.version}-local-{validation.validation_id}"
    if not NAME.fullmatch(version):
        raise Rejected(ReasonCode.PACK, f"version {version!r}: small letters, digits, dots and dashes")
    if folder.exists():
        raise Rejected(ReasonCode.PACK, f"{folder} is there already: name another folder")
    found = {
        site: recalibrate(reads[site], pack.classifiers[site].doubt, pack.classifiers[site].positive) for site in sites
    }
    began = f"{validation.started_at:%Y-%m-%d}"
    source = f"the reads of validation {validation.validation_id} of this hospital, begun {began}"
    mix = {str(site): _mix([case for case in cases if case.site is site]) for site in sites}
    write_recalibrated(pack.folder, folder, version, {str(site): one for site, one in found.items()}, source, mix)
    return read_pack(folder, DIGEST), found


def _common_pack(config: Configuration, sites: Sequence[Site]) -> Pack:
    """Return the pack whose engines serve the sites."""
    packs = packs_of(config)
    serving = {site: next((pack for pack in packs if site in pack.classifiers), None) for site in sites}
    if missing := [site for site, pack in serving.items() if pack is None]:
        raise Rejected(ReasonCode.PACK, f"no engine of the pack serves {', '.join(missing)}")
    found = {pack.name: pack for pack in serving.values() if pack}
    if len(found) > 1:
        raise Rejected(ReasonCode.PACK, f"the sites belong to several packs ({', '.join(found)}): refit one at a time")
    return next(iter(found.values()))


def _check_engines(validation: Validation, sites: Sequence[Site], known: Mapping[Site, str]) -> None:
    for site in sites:
        if site not in validation.sites:
            reason = f"validation {validation.validation_id} is not about {site}"
            raise Rejected(ReasonCode.NOT_IN_VALIDATION, reason)
        if validation.fingerprints[site] != known.get(site):
            reason = f"the engine of {site} is not the one that validation {validation.validation_id} is about"
            raise Rejected(ReasonCode.NOT_IN_VALIDATION, f"{reason}: start another validation")


def _reads(site: Site, cases: Sequence[Case]) -> LocalReads:
    """Return the blinded reads of a site on radiographs on which its engine read a region, answered or not."""
    of_site = [case for case in cases if case.site is site and case.truth is not None]
    known = [(case, case.probability) for case in of_site if case.probability is not None]
    fractured = np.array([bool(case.truth) for case, _ in known], np.bool_)
    if fractured.sum() < LEAST_FRACTURES_OF_SITE or (~fractured).sum() < LEAST_OTHERS_OF_SITE:
        raise Rejected(
            ReasonCode.NOT_IN_VALIDATION,
            f"{site}: {fractured.sum()} fractures and {(~fractured).sum()} others are read; refitting takes "
            f"{LEAST_FRACTURES_OF_SITE} and {LEAST_OTHERS_OF_SITE}",
        )
    return LocalReads(
        probability=np.array([probability for _, probability in known]),
        fractured=fractured,
        hardware=np.array([ReadMark.HARDWARE in case.marks for case, _ in known], np.bool_),
    )


def _mix(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the shares of ages and devices of the sample, as `osteon validate plan` compares them."""
    return {
        name: {value or "unknown": n / len(cases) for value, n in Counter(values).items()}
        for name, values in (
            ("ages", [case.age_band for case in cases]),
            ("devices", [case.device for case in cases]),
        )
    }
