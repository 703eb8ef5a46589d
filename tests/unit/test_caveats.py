"""Caveats of a result, and the refusal of a chest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from appliance.analysis.classifier import Classifier
from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse, Origins
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import Header, Radiograph, StoredValues
from appliance.preprocessing.recipe import IMAGE_PX, REGION_PX
from appliance.preprocessing.reference import ReferencePreprocessor
from engines.pack import ClassifierSpec, LocaliserSpec
from engines.runner import Runner, Tensors, TensorSpec
from tests.support.pictures import limbs
from tests.unit.test_result import PROVENANCE

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


def caveats(
    *sites: str,
    flags: tuple[float, float] = (0, 0),
    logit: float = 3,
    diffuse: bool = False,
    rules: Analyse | None = None,
    stored: StoredValues | None = None,
    **header: object,
) -> tuple[str, ...]:
    spec = LocaliserSpec(
        file=Path("l"), sites=SITES, score_threshold=0.5, flags=("hardware", "cast"), polarity_is_measured=True
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
    result = pipeline.analyse(Radiograph(header=known, stored=stored or limbs())).result
    return (result.not_analysed.code,) if result.not_analysed else tuple(map(str, result.caveats))


def test_ordinary_radiograph_has_no_caveat() -> None:
    assert caveats(body_part_examined="WRIST") == ()


@pytest.mark.parametrize(
    ("flags", "seen"), [((0.5, 0.49), ["hardware"]), ((0.1, 0.9), ["cast"]), ((0.9, 0.9), ["hardware", "cast"])]
)
def test_hardware_and_casts_make_caveats(flags: tuple[float, float], seen: list[str]) -> None:
    assert [c.split()[0] for c in caveats(flags=flags)] == seen


def test_mobile_radiograph_makes_a_caveat() -> None:
    rules = Analyse(mobile=Origins(stations=("PORT*",)))
    assert caveats(rules=rules, station_name="PORT2") == ("mobile radiograph: the engines were not measured on these",)
    assert caveats(rules=rules, station_name="ROOM2") == ()


def test_header_that_contradicts_itself_or_the_image_makes_a_caveat() -> None:
    assert "both sides" in caveats(sides_disagree=True)[0]
    assert caveats(body_part_examined="KNEE") == ("the header says knee, the image looks like wrist: site uncertain",)


def test_contradiction_without_suspicion_is_not_analysed() -> None:
    assert caveats(body_part_examined="KNEE", logit=-9) == ("site_uncertain",)


@pytest.mark.parametrize(("age", "is_child"), [(6.4, True), (17.9, True), (18.0, False), (None, False)])
def test_child_makes_a_caveat(age: float | None, is_child: bool) -> None:
    assert any(c.startswith("child of ") for c in caveats(age_years=age)) is is_child


def test_age_of_a_child_is_told_in_whole_years() -> None:
    assert caveats(age_years=6.9)[0].startswith("child of 6 years: growth plates may be open")


def test_two_regions_of_one_site_with_one_side_in_the_header_make_a_caveat() -> None:
    assert caveats("wrist", "wrist", laterality=Laterality.LEFT) == (
        "2 regions of the wrist in the image, the header names one side: side unknown",
    )
    assert caveats("wrist", "wrist") == ()


def test_part_beside_our_sites_in_the_header_makes_the_radiograph_incomplete() -> None:
    spec = LocaliserSpec(file=Path("l"), sites=SITES, score_threshold=0.5)
    pipeline = Pipeline(
        preprocessor=ReferencePreprocessor(),
        localiser=Localiser(FixedLocaliser("wrist"), spec),
        classifiers={Site.WRIST: Classifier(FixedClassifier(-9, diffuse=False), SPEC)},
        provenance=REAL,
        rules=Analyse(),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    known = {"sop_instance_uid": "1.2", "sop_class_uid": "1.3", "study_instance_uid": "1.4", "modality": "DX"}
    header = Header(**known, body_part_examined="WRIST AND RIBS")  # type: ignore[arg-type]
    made = pipeline.analyse(Radiograph(header=header, stored=limbs())).result
    assert made.answer is Answer.INCOMPLETE
    assert [str(s) for s in made.incomplete] == ["the header also names RIBS, which no engine reads"]


def test_inverted_picture_makes_a_caveat() -> None:
    upright = limbs(across=(72,))
    inverted = replace(upright, invert=True)
    assert caveats(stored=inverted) == ("black and white may be exchanged",)
    assert caveats(stored=upright) == ()


def test_diffuse_heat_of_a_suspicious_finding_makes_a_caveat() -> None:
    assert caveats(diffuse=True) == ("non-specific attention: the heat map is diffuse",)
    assert caveats(diffuse=True, logit=-9) == ()


def test_image_with_the_regions_of_a_chest_is_not_analysed() -> None:
    """Also with a wrist in the picture, unless the header names the shoulders."""
    seen = ("shoulder", "spine", "shoulder", "wrist")
    assert caveats(*seen) == ("out_of_scope",)
    assert caveats(*seen, body_part_examined="CLAVICLE") != ("out_of_scope",)
