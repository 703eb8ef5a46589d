"""Heat over a crop's padding is no evidence: it counts for nothing and is drawn nowhere."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from appliance.analysis.classifier import Classifier
from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse
from appliance.domain.finding import Verdict, Withheld
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import Header, Radiograph
from appliance.picture.overlay import overlay
from appliance.preprocessing.reference import ReferencePreprocessor, displayed
from engines.familiarity import Familiarity
from engines.pack import ClassifierSpec, LocaliserSpec
from engines.runner import Runner, Tensors
from tests.support.pictures import limbs
from tests.unit.test_result import PROVENANCE

SPEC = ClassifierSpec(
    site="wrist", file=Path("w"), scale=1.0, offset=0.0, doubt=0.2, positive=0.6, finds=True, clears=True
)


class OneWrist(Runner):
    """Finds a tall wrist, 100 x 300 px of a 512 image, about the image's centre."""

    inputs = outputs = ()

    def _run(self, tensors: Tensors) -> Tensors:
        heat, box = np.zeros((1, 1, 32, 32), np.float32), np.zeros((1, 4, 32, 32), np.float32)
        heat[0, 0, 16, 16] = 0.9
        box[0, :, 16, 16] = 50, 150, 50, 150
        return {"heat": heat, "box": box}


class HotOnThePadding(Runner):
    """A classifier with a map that is hottest to the right of a tall region, and warm at one place on it."""

    inputs = outputs = ()

    def _run(self, tensors: Tensors) -> Tensors:
        cells = np.zeros((1, 1, 16, 16), np.float32)
        cells[0, 0, :, 12:] = 9.0
        cells[0, 0, :, 5] = 2.0  # 5 of its 16 px lie on the region: it counts for less than a third
        cells[0, 0, 4, 2] = 1.0
        return {"logit": np.array([3.0], np.float32), "activations": cells, "gradients": np.ones_like(cells)}


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(
        preprocessor=ReferencePreprocessor(),
        localiser=Localiser(OneWrist(), LocaliserSpec(file=Path("l"), sites=("wrist",), score_threshold=0.5)),
        classifiers={Site.WRIST: Classifier(HotOnThePadding(), SPEC)},
        provenance=PROVENANCE,
        rules=Analyse(),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
def radiograph() -> Radiograph:
    header = Header(sop_instance_uid="1.2", sop_class_uid="1.3", study_instance_uid="1.4", modality="DX")
    return Radiograph(header=header, stored=limbs(1024, across=(264,)))


def test_peak_and_focus_come_from_the_region(pipeline: Pipeline, radiograph: Radiograph) -> None:
    analysis = pipeline.analyse(radiograph)
    (finding,), (heat,) = analysis.result.findings, analysis.heats
    x0, y0, x1, y1 = heat.within  # the crop: the region and 10 % of it on each side
    assert (round(x1 - x0), round(y1 - y0)) == (240, 720)
    cell = (y1 - y0) / 16
    assert finding.peak == pytest.approx((x0 + 2.5 * cell, y0 + 4.5 * cell), abs=1.0)
    assert heat.cells.max() == 1.0
    assert heat.cells[4, 2] == 1.0


@pytest.mark.parametrize(("offset", "verdict"), [(-9.0, Verdict.NOT_CLEARED), (0.0, Verdict.POSITIVE)])
@pytest.mark.proves("SAF-5")
def test_unfamiliar_region_withholds_a_negative_and_never_a_suspicion(
    pipeline: Pipeline, radiograph: Radiograph, offset: float, verdict: Verdict
) -> None:
    one = np.ones(1, np.float32)
    for limit, is_familiar in ((1e3, True), (1e-3, False)):
        familiarity = Familiarity(centre=one, whitening=one[None], limit=limit)
        spec = replace(SPEC, offset=offset, familiarity=familiarity)
        pipeline.classifiers = {Site.WRIST: Classifier(HotOnThePadding(), spec)}
        result = pipeline.analyse(radiograph).result
        (finding,) = result.findings
        assert (Withheld.UNFAMILIAR in finding.withheld) != is_familiar
        assert (Withheld.UNFAMILIAR.sentence in result.caveats) != is_familiar
        assert finding.verdict is (Verdict.NEGATIVE if is_familiar and offset < 0 else verdict)


def test_heat_beyond_the_crop_is_not_drawn(pipeline: Pipeline, radiograph: Radiograph) -> None:
    analysis = pipeline.analyse(radiograph)
    grey = displayed(radiograph.stored)
    shown = overlay(grey, analysis.result, analysis.heats)[-1024:].astype(int)
    coloured = np.ptp(shown, axis=2) > 0
    x0, y0, x1, y1 = (round(v) for v in analysis.heats[0].within)
    assert coloured[y0:y1, x0:x1].any()
    coloured[y0:y1, x0:x1] = False
    assert not coloured.any()
