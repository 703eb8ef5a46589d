"""The result record: its answer, its JSON form, and its UIDs."""

import dataclasses
from datetime import UTC, datetime

import pytest

from appliance.domain.finding import Answer, Box, Finding, NotAnalysed, UnreadRegion, Verdict, Withheld
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Provenance, Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult

PROVENANCE = Provenance(
    software_version="0", pack_name="p", pack_version="1", pack_digest="ab" * 32, pack_is_synthetic=True, compute="cpu"
)


def finding(probability: float, *withheld: Withheld) -> Finding:
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
        mark=((3.0, 4.0), (5.0, 4.0), (5.0, 7.5)),
        withheld=withheld,
    )


def result(*probabilities: float) -> Result:
    return Result(
        sop_instance_uid="1.2.3",
        study_instance_uid="1.2",
        created_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
        provenance=PROVENANCE,
        findings=tuple(map(finding, probabilities)),
        not_read=(UnreadRegion(site=Site.HAND, box=Box(x0=0, y0=0, x1=1, y1=1), region_score=1.0),),
        not_assessed=(UnreadRegion(site=Site.FOOT),),
        not_analysed=None
        if probabilities
        else NotAnalysed(code=ReasonCode.NO_REGION, reason=Sentence.of("nothing there")),
        caveats=(Sentence.of("a caveat"),),
        timings_ms=(("preprocess", 1.5),),
    )


@pytest.mark.parametrize(
    ("probability", "verdict"),
    [
        (0.0, Verdict.NEGATIVE),
        (0.19999, Verdict.NEGATIVE),
        (0.2, Verdict.DOUBT),
        (0.59999, Verdict.DOUBT),
        (0.6, Verdict.POSITIVE),
        (1.0, Verdict.POSITIVE),
    ],
)
def test_verdict_of_a_finding_follows_the_operating_points(probability: float, verdict: Verdict) -> None:
    assert finding(probability).verdict is verdict


@pytest.mark.parametrize("reason", Withheld)
@pytest.mark.proves("SAF-3")
def test_withheld_negative_is_not_cleared(reason: Withheld) -> None:
    assert finding(0.1, reason).verdict is Verdict.NOT_CLEARED
    assert finding(0.3, reason).verdict is Verdict.DOUBT
    assert finding(0.9, reason).verdict is Verdict.POSITIVE


def test_answer_of_a_radiograph_is_the_gravest_of_its_findings() -> None:
    assert result(0.1, 0.9, 0.3).answer is Answer.POSITIVE
    assert result(0.1, 0.3).answer is Answer.DOUBT
    assert result().answer is Answer.NOT_ANALYSED


@pytest.mark.proves("SAF-1")
def test_radiograph_is_negative_only_if_every_subject_was_read_and_cleared() -> None:
    cleared = dataclasses.replace(result(0.1, 0.1), not_read=())
    assert cleared.answer is Answer.NEGATIVE
    for change in (
        {"not_read": (UnreadRegion(site=Site.HAND),)},
        {"incomplete": ("bone is visible outside the regions that were recognised",)},
        {"findings": (finding(0.1), finding(0.1, Withheld.CUT))},
    ):
        assert dataclasses.replace(cleared, **change).answer is Answer.INCOMPLETE


def test_neighbour_at_the_margin_leaves_the_answer_negative() -> None:
    made = dataclasses.replace(result(0.1), not_read=())
    assert made.not_assessed
    assert made.answer is Answer.NEGATIVE


def test_unread_sites_name_each_unread_or_uncleared_subject_once() -> None:
    made = dataclasses.replace(
        result(0.1),
        findings=(finding(0.1, Withheld.WEAK), finding(0.1, Withheld.CUT), finding(0.9, Withheld.CUT)),
        not_read=(UnreadRegion(site=Site.HAND), UnreadRegion(site=Site.HAND)),
    )
    assert [str(each) for each in made.unread_sites] == ["hand", "left lower leg"]


def test_place_of_an_uncertain_site_names_neither_site_nor_side() -> None:
    assert str(finding(0.9).place) == "left lower leg"
    assert str(dataclasses.replace(finding(0.9), site_is_certain=False).place) == "site uncertain"


def study_answer(*results: Result) -> Answer:
    return StudyResult(study_instance_uid="1.2", created_at=results[0].created_at, results=results).answer


def test_answer_of_a_study_is_the_gravest_of_its_radiographs() -> None:
    cleared = dataclasses.replace(result(0.1), not_read=())
    assert study_answer(cleared, cleared) is Answer.NEGATIVE
    assert study_answer(cleared, result(0.1)) is Answer.INCOMPLETE
    assert study_answer(result(0.1), result(0.3)) is Answer.DOUBT
    assert study_answer(result(0.3), result(0.9)) is Answer.POSITIVE


@pytest.mark.proves("SAF-2")
def test_study_with_a_radiograph_not_analysed_is_incomplete_at_best() -> None:
    cleared = dataclasses.replace(result(0.1), not_read=())
    assert study_answer(cleared, result()) is Answer.INCOMPLETE
    assert study_answer(result(0.9), result()) is Answer.POSITIVE
    assert study_answer(result(), result()) is Answer.NOT_ANALYSED


def of_site(probability: float, site: Site, side: Laterality, *withheld: Withheld) -> Finding:
    return dataclasses.replace(finding(probability, *withheld), site=site, laterality=side)


LEFT, RIGHT, NO_SIDE = Laterality.LEFT, Laterality.RIGHT, Laterality.UNKNOWN
LEFT_WRIST, RIGHT_WRIST, WRIST = ((Site.WRIST, side) for side in (LEFT, RIGHT, NO_SIDE))
LEFT_HIP, RIGHT_HIP, PELVIS = ((Site.PELVIS, side) for side in (LEFT, RIGHT, NO_SIDE))


@pytest.mark.parametrize(
    ("views", "sentences"),
    [
        ([[(0.9, *LEFT_WRIST)], [(0.1, *LEFT_WRIST)]], ("left wrist: seen in 1 of 2 views",)),
        ([[(0.3, *WRIST)], [(0.1, *WRIST)], [(0.9, *WRIST)]], ("wrist: seen in 2 of 3 views",)),
        ([[(0.9, *LEFT_WRIST)], [(0.1, *LEFT_WRIST, Withheld.CUT)]], ("left wrist: seen in 1 of 2 views",)),
        ([[(0.9, *LEFT_WRIST)], [(0.3, *LEFT_WRIST)]], ()),
        ([[(0.1, *LEFT_WRIST)], [(0.1, *LEFT_WRIST)]], ()),
        ([[(0.9, *LEFT_WRIST)], [(0.1, *RIGHT_WRIST)]], ()),
        ([[(0.9, *LEFT_WRIST)], [(0.1, *WRIST)]], ()),
        ([[(0.9, *LEFT_WRIST)], [(0.1, Site.HAND, LEFT)], []], ()),
        ([[(0.9, *WRIST), (0.1, *WRIST)]], ()),
        ([[(0.9, *LEFT_HIP)], [(0.1, *PELVIS)]], ("left side of the pelvis and hip: seen in 1 of 2 views",)),
        ([[(0.9, *LEFT_HIP)], [(0.1, *RIGHT_HIP)]], ()),
        (
            [[(0.9, *LEFT_WRIST)], [(0.1, *LEFT_WRIST), (0.9, *RIGHT_WRIST)], [(0.1, *RIGHT_WRIST)]],
            ("left wrist: seen in 1 of 2 views", "right wrist: seen in 1 of 2 views"),
        ),
    ],
)
def test_suspicion_is_paired_with_the_other_views_of_its_joint(
    views: list[list[tuple[float, Site, Laterality]]], sentences: tuple[str, ...]
) -> None:
    results = [
        dataclasses.replace(result(0.1), findings=tuple(of_site(*f) for f in v)) if v else result() for v in views
    ]
    made = StudyResult(study_instance_uid="1.2", created_at=results[0].created_at, results=tuple(results))
    assert tuple(map(str, made.seen_in_some_views)) == sentences
    gravest = [r.answer for r in results if r.answer.is_suspicious]
    assert made.answer is (Answer.POSITIVE if Answer.POSITIVE in gravest else made.answer)


def test_view_of_an_uncertain_site_is_paired_with_none() -> None:
    uncertain = dataclasses.replace(finding(0.9), site_is_certain=False)
    results = tuple(dataclasses.replace(result(0.1), findings=(f,)) for f in (uncertain, finding(0.1)))
    assert (
        StudyResult(study_instance_uid="1.2", created_at=results[0].created_at, results=results).seen_in_some_views
        == ()
    )


@pytest.mark.parametrize("probabilities", [(), (0.1,), (0.9, 0.3)])
def test_result_decoded_from_its_json_is_equal(probabilities: tuple[float, ...]) -> None:
    made = dataclasses.replace(result(*probabilities), incomplete=(Sentence.of("bone is visible"),))
    if made.findings:
        made = dataclasses.replace(made, findings=(*made.findings, finding(0.1, Withheld.WEAK, Withheld.CUT)))
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
@pytest.mark.proves("SAF-12")
def test_percent_is_never_0_or_100(probability: float, said: str) -> None:
    assert finding(probability).percent == said
