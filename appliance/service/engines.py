"""The configured pack, and the pipeline that its engines make."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import version
from pathlib import Path

import engines.packs
from appliance.analysis.classifier import Classifier
from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Pipeline
from appliance.compute import choose_compute
from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.domain.result import Provenance
from appliance.errors import Fault
from appliance.preprocessing.recipe import DIGEST
from appliance.storage.database import now
from engines.goldens import check_goldens
from engines.pack import MANIFEST, Pack, PackError, joined, read_pack
from engines.signature import check_signature

log = logging.getLogger(__name__)

SHIPPED = Path(engines.packs.__file__).parent
"""Folder of the packs that ship with Osteon."""


def pack_of(config: Configuration) -> Pack:
    """What the configuration names, as one pack; `Fault` as `packs_of`."""
    return joined(packs_of(config))


def packs_of(config: Configuration) -> list[Pack]:
    """The packs that the configuration names: those that ship with Osteon, that were installed, or folders.

    Raises
    ------
    Fault
        ``pack`` with what to do about it.
    """
    try:
        return [_pack(name, config) for name in (config.analyse.pack, *config.analyse.more_packs)]
    except PackError as error:
        raise Fault("pack", str(error)) from error


def pack_folder(name: str, config: Configuration) -> Path:
    """Where the pack of that name lies: among those that ship, those that were installed, or at that path."""
    places = (SHIPPED / name, config.packs_dir / name)
    return next((place for place in places if (place / MANIFEST).exists()), Path(name))


def _pack(name: str, config: Configuration) -> Pack:
    folder = pack_folder(name, config)
    if config.analyse.trusted_keys:
        check_signature(folder, config.analyse.trusted_keys)
    return known_sites(read_pack(folder, DIGEST))


def known_sites(pack: Pack) -> Pack:
    """`pack`, if this version of Osteon knows the sites that it speaks of.

    Raises
    ------
    PackError
        If it does not.
    """
    if strange := {*pack.localiser.sites, *pack.classifiers} - {site.value for site in Site}:
        raise PackError(f"pack {pack.name} speaks of {', '.join(sorted(strange))}: upgrade Osteon")
    return pack


def pipeline_of(config: Configuration) -> Pipeline:
    """Preprocessing and the engines of the configured packs, loaded, checked against its goldens and ready.

    Raises
    ------
    Fault
        ``pack`` if the pack is refused, or its networks do not compute on this machine what was measured.
    """
    # seconds to import, and the page needs neither to describe a pack
    from appliance.preprocessing.dali import DaliPreprocessor
    from engines.onnxruntime_runner import OnnxRuntimeRunner

    packs, threads = packs_of(config), config.analyse.threads
    compute = choose_compute(config.analyse.compute)
    log.info("%s: %s", compute.name, compute.reason)

    @cache
    def runner_of(file: Path) -> OnnxRuntimeRunner:
        return OnnxRuntimeRunner(file, threads)

    try:
        for pack in packs:
            check_goldens(pack, runner_of)
    except PackError as error:
        raise Fault("pack", str(error)) from error
    pack = joined(packs)
    localiser = Localiser(runner_of(pack.localiser.file), pack.localiser)
    classifiers = {Site(site): Classifier(runner_of(spec.file), spec) for site, spec in pack.classifiers.items()}
    return Pipeline(
        preprocessor=DaliPreprocessor("cpu", threads),
        localiser=localiser,
        classifiers=classifiers,
        provenance=Provenance(
            software_version=version("osteon"),
            pack_name=pack.name,
            pack_version=pack.version,
            pack_digest=pack.digest,
            pack_is_synthetic=pack.is_synthetic,
            compute=compute.name,
        ),
        rules=config.analyse,
        now=now,
        compute=compute,
    )
