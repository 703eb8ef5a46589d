"""A pipeline around networks with fixed outputs, on a drawn picture: for the rules that lead to a result."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from appliance.analysis.classifier import Classifier
from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import Header, Radiograph, StoredValues
from appliance.domain.result import Result
from appliance.preprocessing.recipe import IMAGE_PX, REGION_PX
from appliance.preprocessing.reference import ReferencePreprocessor
from engines.pack import ClassifierSpec, LocaliserSpec
from engines.runner import Runner, Tensors, TensorSpec
from tests.support.pictures import limbs
from tests.support.results import PROVENANCE

REAL = replace(PROVENANCE, pack_is_synthetic=False)
SPEC = ClassifierSpec(
    site="wrist", file=Path("w"), scale=1.0, offset=0.0, doubt=0.2, positive=0.6, finds=True, clears=True
)
SITES = ("wrist", "shoulder", "spine")


class FixedLocaliser(Runner):
    """A localiser that finds the given sites side by side, with the given flags for hardware and cast."""

    inputs = (TensorSpec("image", (None, 1, IMAGE_PX, IMAGE_PX)),)
    outputs = ()

    def __init__(self, *sites: str, flags: tuple[float, float] = (0, 0)) -> None:
        self._sites, self._flags = sites, flags

    def _run(self, tensors: Tensors) -> Tensors:
        heat, box = np.zeros((1, len(SITES), 32, 32), np.float32), np.full((1, 4, 32, 32), 40, np.float32)
        for k, site in enumerate(self._sites):
            heat[0, SITES.index(site), 16, 4 + 8 * k] = 0.9
        return {"heat": heat, "box": box, "flags": np.array([self._flags], np.float32)}


class FixedClassifier(Runner):
    """A classifier with one logit, and a heat map that is hot in one place or everywhere."""

    inputs = (TensorSpec("region", (None, 1, REGION_PX, REGION_PX)),)
    outputs = ()

    def __init__(self, logit: float, *, diffuse: bool) -> None:
        self._logit, self._diffuse = logit, diffuse

    def _run(self, tensors: Tensors) -> Tensors:
        regions = len(tensors["region"])
        cells = np.full((regions, 1, 16, 16), float(self._diffuse), np.float32)
        cells[:, 0, 7, 7] = 1
        return {
            "logit": np.full(regions, self._logit, np.float32),
            "activations": cells,
            "gradients": np.ones_like(cells),
        }


def analysed(
    *sites: str,
    flags: tuple[float, float] = (0, 0),
    logit: float = 3,
    diffuse: bool = False,
    rules: Analyse | None = None,
    stored: StoredValues | None = None,
    bone_outside: float = 1.0,
    **header: object,
) -> Result:
    """Analyse a picture of limbs, on which `sites` are found and each wrist has the same `logit`.

    Parameters
    ----------
    sites
        Of `SITES`, side by side; a wrist unless they are given.
    bone_outside
        As in the description of a pack's localiser.
    header
        Attributes of the header.
    """
    spec = LocaliserSpec(
        file=Path("l"),
        sites=SITES,
        score_threshold=0.5,
        flags=("hardware", "cast"),
        bone_outside=bone_outside,
        polarity_is_measured=True,
    )
    pipeline = Pipeline(
        preprocessor=ReferencePreprocessor(),
        localiser=Localiser(FixedLocaliser(*(sites or ("wrist",)), flags=flags), spec),
        classifiers={Site.WRIST: Classifier(FixedClassifier(logit, diffuse=diffuse), SPEC)},
        provenance=REAL,
        rules=rules or Analyse(),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    known = Header(sop_instance_uid="1.2", sop_class_uid="1.3", study_instance_uid="1.4", modality="DX", **header)  # type: ignore[arg-type]
    return pipeline.analyse(Radiograph(header=known, stored=stored or limbs())).result
