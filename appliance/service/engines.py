"""The configured pack, and the pipeline that its engines make."""

from __future__ import annotations

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
from engines.pack import Pack, PackError, read_pack
from engines.runner import RunnerError


def pack_of(config: Configuration) -> Pack:
    """The pack that the configuration names: one that ships with Osteon, or a folder.

    Raises
    ------
    Fault
        ``pack`` with what to do about it.
    """
    shipped = Path(engines.packs.__file__).parent / config.analyse.pack
    folder = shipped if (shipped / "pack.toml").exists() else Path(config.analyse.pack)
    try:
        return read_pack(folder, DIGEST)
    except PackError as error:
        raise Fault("pack", str(error)) from error


def pipeline_of(config: Configuration) -> Pipeline:
    """Preprocessing and the engines of the configured pack, loaded and ready."""
    # seconds to import, and the page needs neither to describe a pack
    from appliance.preprocessing.dali import DaliPreprocessor
    from engines.onnxruntime_runner import OnnxRuntimeRunner

    pack, threads = pack_of(config), config.analyse.threads
    try:
        localiser = Localiser(OnnxRuntimeRunner(pack.localiser.file, threads), pack.localiser)
        classifiers = {
            Site(site): Classifier(OnnxRuntimeRunner(spec.file, threads), spec)
            for site, spec in pack.classifiers.items()
        }
    except RunnerError as error:
        raise Fault("pack", f"a network of pack {pack.name} cannot be loaded: {error}") from error
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
            compute=choose_compute().name,
        ),
        rules=config.analyse,
        now=now,
    )
