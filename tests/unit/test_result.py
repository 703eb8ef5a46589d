"""The result record: its answer, its JSON form, and its UIDs."""

import dataclasses
from datetime import UTC, datetime

import pytest

from appliance.domain.finding import Answer, Box, Finding, NotAnalysed, UnreadRegion
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Provenance, Result

PROVENANCE = Provenance(
    software_version="0", pack_name="p", pack_version="1", pack_digest="ab" * 32, pack_is_synthetic=True, compute="cpu"
)


def finding(probability: float) -> Finding:
    return Finding(
        site=Site.LOWER_LEG,
        laterality=Laterality.LEFT,
        box=Box(x0=1, y0=2, x1=30.5, y1=40),
        region_score=0.5,
        peak=(3.0, 4.0),
        probability=probability,
        doubt=0.2,
        positive=0.6,
        focus=0.9,
    )


def result(*probabilities: float) -> Result:
    return Result(
        sop_instance_uid="1.2.3",
        study_instance_uid="1.2",
        created_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
        provenance=PROVENANCE,
        findings=tuple(map(finding, probabilities)),
        unread_regions=(UnreadRegion(site=Site.HAND, box=Box(x0=0, y0=0, x1=1, y1=1), region_score=1.0),),
        not_analysed=None if probabilities else NotAnalysed(code=ReasonCode.NO_REGION, reason="nothing there"),
        caveats=("a caveat",),
        timings_ms=(("preprocess", 1.5),),
    )


@pytest.mark.parametrize(
    ("probability", "answer"),
    [
        (0.0, Answer.NEGATIVE),
        (0.19999, Answer.NEGATIVE),
        (0.2, Answer.DOUBT),
        (0.59999, Answer.DOUBT),
        (0.6, Answer.POSITIVE),
        (1.0, Answer.POSITIVE),
    ],
)
def test_answer_of_a_finding_follows_the_operating_points(probability: float, answer: Answer) -> None:
    assert finding(probability).answer is answer


def test_answer_of_a_radiograph_is_the_gravest_of_its_findings() -> None:
    assert result(0.1, 0.9, 0.3).answer is Answer.POSITIVE
    assert result(0.1, 0.3).answer is Answer.DOUBT
    assert result().answer is Answer.NOT_ANALYSED


@pytest.mark.parametrize("probabilities", [(), (0.1,), (0.9, 0.3)])
def test_result_decoded_from_its_json_is_equal(probabilities: tuple[float, ...]) -> None:
    made = result(*probabilities)
    assert Result.from_json(made.to_json()) == made


def test_result_without_findings_and_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="the reason why"):
        dataclasses.replace(result(0.1), findings=())


def test_nan_is_refused_as_a_probability() -> None:
    with pytest.raises(ValueError, match="out of range"):
        finding(float("nan"))


def test_uids_depend_on_source_pack_kind_and_revision() -> None:
    made = result(0.1)
    others = (
        dataclasses.replace(made, revision=2),
        dataclasses.replace(made, sop_instance_uid="1.2.4"),
        dataclasses.replace(made, provenance=dataclasses.replace(PROVENANCE, pack_digest="cd" * 32)),
    )
    assert made.uid("sc") == dataclasses.replace(made, caveats=()).uid("sc")
    assert len({made.uid("sc"), made.uid("sr"), *(o.uid("sc") for o in others)}) == 5


def test_synthetic_pack_is_named_synthetic() -> None:
    assert "SYNTHETIC" in PROVENANCE.model


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.0, "<1%"), (0.0099, "<1%"), (0.01, "1%"), (0.5, "50%"), (0.99, "99%"), (0.991, ">99%"), (1.0, ">99%")],
)
def test_percent_is_never_0_or_100(probability: float, said: str) -> None:
    assert finding(probability).percent == said
