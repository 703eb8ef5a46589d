"""The side of a suspicion on a pelvis: told only where picture and header leave no doubt."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from appliance.analysis.classifier import Classifier
from appliance.analysis.hip_side import side_of_mark
from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse
from appliance.domain.finding import Box
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import Header, Radiograph
from appliance.preprocessing.reference import ReferencePreprocessor
from engines.pack import ClassifierSpec, LocaliserSpec
from engines.runner import Runner, Tensors
from tests.support.pictures import limbs
from tests.unit.test_result import PROVENANCE

SHAPE = (800, 1000)
WHOLE = Box(x0=150, y0=100, x1=850, y1=620)
AT_THE_LEFT = ((200.0, 400.0), (300.0, 400.0), (300.0, 480.0))
AT_THE_RIGHT = tuple((1000 - x, y) for x, y in AT_THE_LEFT)
LEFT, RIGHT, UNKNOWN = Laterality.LEFT, Laterality.RIGHT, Laterality.UNKNOWN
HEADER = Header(
    sop_instance_uid="1.2",
    sop_class_uid="1.3",
    study_instance_uid="1.4",
    modality="DX",
    view_position="AP",
    patient_orientation=("L", "F"),
)


def changed(**change: object) -> Header:
    return dataclasses.replace(HEADER, **change)  # type: ignore[arg-type]  # the caller's names are the fields'


@pytest.mark.parametrize(
    ("rows", "mark", "side"),
    [
        ("L", AT_THE_LEFT, RIGHT),
        ("L", AT_THE_RIGHT, LEFT),
        ("R", AT_THE_LEFT, LEFT),
        ("R", AT_THE_RIGHT, RIGHT),
    ],
)
@pytest.mark.proves("SAF-8")
def test_side_is_that_of_the_patient_where_the_mark_lies(rows: str, mark: object, side: Laterality) -> None:
    for view in ("AP", "PA"):
        header = changed(patient_orientation=(rows, "F"), view_position=view)
        assert side_of_mark(mark, WHOLE, header, SHAPE) is side  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"patient_orientation": None},
        {"patient_orientation": ("P", "F")},
        {"patient_orientation": ("L", "H")},
        {"patient_orientation": ("L", "P")},
        {"patient_orientation": ("LH", "F")},
        {"view_position": ""},
        {"view_position": "LL"},
        {"laterality": LEFT},
    ],
)
def test_header_that_is_not_plain_gives_no_side(change: dict[str, object]) -> None:
    assert side_of_mark(AT_THE_LEFT, WHOLE, changed(**change), SHAPE) is UNKNOWN


def test_header_of_the_same_side_confirms_it() -> None:
    assert side_of_mark(AT_THE_LEFT, WHOLE, changed(laterality=RIGHT), SHAPE) is RIGHT


@pytest.mark.parametrize(
    "mark",
    [
        (),
        ((480.0, 400.0), (520.0, 400.0), (520.0, 480.0)),
        ((300.0, 400.0), (440.0, 400.0), (440.0, 480.0)),
        (*AT_THE_LEFT, *AT_THE_RIGHT),
    ],
)
def test_mark_that_reaches_the_middle_gives_no_side(mark: tuple[tuple[float, float], ...]) -> None:
    assert side_of_mark(mark, WHOLE, HEADER, SHAPE) is UNKNOWN


@pytest.mark.parametrize(
    "region",
    [
        Box(x0=0, y0=100, x1=700, y1=620),
        Box(x0=300, y0=100, x1=1000, y1=620),
        Box(x0=150, y0=0, x1=850, y1=790),
        Box(x0=100, y0=100, x1=500, y1=400),
    ],
    ids=["cut at the left", "cut at the right", "one hip", "small"],
)
def test_region_that_is_no_whole_pelvis_gives_no_side(region: Box) -> None:
    assert side_of_mark(AT_THE_LEFT, region, HEADER, SHAPE) is UNKNOWN


class OnePelvis(Runner):
    """Finds a pelvis, 380 x 280 px of a 512 image, about the image's centre."""

    inputs = outputs = ()

    def _run(self, tensors: Tensors) -> Tensors:
        heat, box = np.zeros((1, 1, 32, 32), np.float32), np.zeros((1, 4, 32, 32), np.float32)
        heat[0, 0, 16, 16] = 0.9
        box[0, :, 16, 16] = 190, 140, 190, 140
        return {"heat": heat, "box": box}


class HotAtTheLeft(Runner):
    """A classifier with one logit whose map is hot at the left of the picture."""

    inputs = outputs = ()

    def __init__(self, logit: float) -> None:
        self._logit = logit

    def _run(self, tensors: Tensors) -> Tensors:
        cells = np.zeros((1, 1, 16, 16), np.float32)
        cells[0, 0, 6, 3] = 1.0
        return {"logit": np.array([self._logit], np.float32), "activations": cells, "gradients": np.ones_like(cells)}


@pytest.mark.parametrize(
    ("logit", "change", "place"),
    [
        (3.0, {}, "right side of the pelvis and hip"),
        (3.0, {"laterality": RIGHT}, "right side of the pelvis and hip"),
        (3.0, {"laterality": LEFT}, "pelvis and hip"),
        (3.0, {"patient_orientation": None, "laterality": LEFT}, "pelvis and hip"),
        (-9.0, {"laterality": LEFT}, "pelvis and hip"),
    ],
)
def test_pelvis_has_the_side_of_its_suspicion_and_never_the_headers(
    logit: float, change: dict[str, object], place: str
) -> None:
    spec = ClassifierSpec(
        site="pelvis", file=Path("p"), scale=1.0, offset=0.0, doubt=0.2, positive=0.6, finds=True, clears=True
    )
    pipeline = Pipeline(
        preprocessor=ReferencePreprocessor(),
        localiser=Localiser(OnePelvis(), LocaliserSpec(file=Path("l"), sites=("pelvis",), score_threshold=0.5)),
        classifiers={Site.PELVIS: Classifier(HotAtTheLeft(logit), spec)},
        provenance=PROVENANCE,
        rules=Analyse(),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    given = Radiograph(header=changed(**change), stored=limbs(1024, across=(264,)))
    (finding,) = pipeline.analyse(given).result.findings
    assert str(finding.place) == place
