"""Results of radiographs and studies, as the analysis makes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pydicom.dataset import Dataset

from appliance.domain.finding import Box, Finding, NotAnalysed, UnreadRegion
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Predecessor, Provenance, Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult

PROVENANCE = Provenance(
    software_version="0.1.0",
    pack_name="bones",
    pack_version="1.2.0",
    pack_digest="0123456789abcdef" * 4,
    pack_is_synthetic=True,
    compute="ONNX Runtime 1.32, CPU",
)


def finding(probability: float = 0.87, **changes: object) -> Finding:
    """Make the finding of a wrist: 0.87 is positive, 0.4 in doubt, 0.1 negative."""
    made = Finding(
        site=Site.WRIST,
        laterality=Laterality.LEFT,
        box=Box(x0=10, y0=12.5, x1=40, y1=45),
        region_score=0.97,
        peak=(22.0, 30.0),
        probability=probability,
        doubt=0.3,
        positive=0.7,
        focus=0.91,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the caller's names are the fields'


def result(source: Dataset, *findings: Finding, caveats: tuple[Sentence, ...] = ()) -> Result:
    """Make the result of `source` with `findings`; with one positive wrist if none are given."""
    return Result(
        sop_instance_uid=str(source.SOPInstanceUID),
        study_instance_uid=str(source.StudyInstanceUID),
        created_at=datetime(2026, 1, 2, 10, 15, 30, tzinfo=UTC),
        provenance=PROVENANCE,
        findings=findings or (finding(),),
        not_read=(UnreadRegion(site=Site.HAND, box=Box(x0=0, y0=0, x1=9, y1=9), region_score=0.8),),
        caveats=caveats,
    )


def study(*results: Result, **changes: object) -> StudyResult:
    """Make the first result of a study from those of its radiographs."""
    last = results[-1]
    made = StudyResult(study_instance_uid=last.study_instance_uid, created_at=last.created_at, results=results)
    return replace(made, **changes)  # type: ignore[arg-type]  # the caller's names are the fields'


def revised(given: StudyResult) -> StudyResult:
    """Make the next revision of a study's result."""
    before = Predecessor(revision=given.revision, pack_digest=given.provenance.pack_digest)
    return replace(given, revision=given.revision + 1, predecessor=before)


def unanalysed(source: Dataset) -> Result:
    """Make the result of a radiograph that was not analysed."""
    return Result(
        sop_instance_uid=str(source.SOPInstanceUID),
        study_instance_uid=str(source.StudyInstanceUID),
        created_at=datetime(2026, 1, 2, 10, 15, 30, tzinfo=UTC),
        provenance=PROVENANCE,
        not_analysed=NotAnalysed(code=ReasonCode.NO_ENGINE, reason=Sentence.of("this pack has no engine for ribs")),
    )
