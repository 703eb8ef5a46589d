"""Stages 1 to 3 of a radiograph: preprocess, localise, classify."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter

import numpy as np

from appliance.config import Analyse
from appliance.domain.finding import Box, Finding, NotAnalysed, UnreadRegion
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import Header, Radiograph
from appliance.domain.result import Provenance, Result
from appliance.domain.sentence import Sentence
from appliance.ports import Analysis, Heat, Preprocessor
from appliance.preprocessing.recipe import REGION_PX, Cut, Prepared, fitted_size
from kernels.device import OutOfMemory

from .appearance import look
from .caveats import SYNTHETIC, caveats
from .classifier import Classifier, RegionEvidence
from .conclusion import (
    ClassifiedRegion,
    Survey,
    findings_with_heat,
    not_assessed,
    not_read,
    reasons_for_incompleteness,
    why_not_analysed,
)
from .eligibility import parts_of_header, shows_a_trunk
from .geometry import crop_box
from .localiser import Localisation, Localiser
from .orientation import limb_direction_deg, quarter_turns
from .reading_plan import plan_reading
from .upright import read_upright

Timings = tuple[tuple[str, float], ...]
"""Milliseconds by stage."""


@dataclass(slots=True)
class Pipeline:
    """Preprocessing and the engines of one pack behind one call."""

    preprocessor: Preprocessor
    localiser: Localiser
    classifiers: Mapping[Site, Classifier]
    provenance: Provenance
    rules: Analyse
    now: Callable[[], datetime]

    def analyse(self, radiograph: Radiograph) -> Analysis:
        """Analyse one eligible radiograph; raises as `analyse_all`."""
        return self.analyse_all([radiograph])[0]

    def analyse_all(self, radiographs: Sequence[Radiograph]) -> list[Analysis]:
        """Analyse eligible radiographs as one batch, or in halves if the batch does not fit into memory.

        Raises
        ------
        Fault, engines.runner.RunnerError, kernels.operations.KernelError
            If an engine or a device fails; the role has to be restarted.
        """
        if not radiographs:
            return []
        try:
            return self._analyse_batch(radiographs)
        except OutOfMemory:
            if len(radiographs) < 2:
                raise
            half = len(radiographs) // 2
            return self.analyse_all(radiographs[:half]) + self.analyse_all(radiographs[half:])

    def not_analysed(self, header: Header, reason: NotAnalysed) -> Result:
        """Make the result of a radiograph that was not analysed, for `reason`."""
        return self._result(header, not_analysed=reason)

    def _analyse_batch(self, radiographs: Sequence[Radiograph]) -> list[Analysis]:
        spent_ms: dict[str, float] = {}
        with _timed("preprocess", spent_ms):
            prepared = self.preprocessor.prepare([r.stored for r in radiographs])
        with _timed("localise", spent_ms):
            located = self.localiser.locate(prepared, [r.shape for r in radiographs])
            surveys = [self._survey(*both) for both in zip(radiographs, located, strict=True)]
        with _timed("classify", spent_ms):
            classified = self._classify(radiographs, prepared, surveys)
        # each radiograph has an equal share of the time of its batch
        timings = tuple((stage, round(ms / len(radiographs), 1)) for stage, ms in spent_ms.items())
        return [self._analysis(*of_one, timings) for of_one in zip(radiographs, surveys, classified, strict=True)]

    def _survey(self, radiograph: Radiograph, located: Localisation) -> Survey:
        """Look at the picture as a whole, and plan which regions are read; none of a chest."""
        appearance, spec = look(radiograph.stored), self.localiser.spec
        named = parts_of_header(radiograph.header)
        regions = [r for r in located.regions if not appearance.is_flat(r.box)]
        is_of_a_trunk = shows_a_trunk(
            (r.site for r in regions if r.score >= self.localiser.threshold), radiograph.header
        )
        plan = plan_reading(
            [] if is_of_a_trunk else regions, radiograph.shape, named.sites, self._engines, self.localiser.threshold
        )
        boxes = [r.region.box for r in plan.regions]
        return Survey(
            plan=plan,
            named=named,
            flags=located.flags,
            turns=quarter_turns(limb_direction_deg(regions)),
            is_of_a_trunk=is_of_a_trunk,
            looks_inverted=spec.polarity_is_measured and appearance.polarity_is_doubtful,
            shows_bone_outside=appearance.bone_outside(boxes) > spec.bone_outside,
        )

    def _classify(
        self, radiographs: Sequence[Radiograph], prepared: Sequence[Prepared], surveys: Sequence[Survey]
    ) -> list[list[ClassifiedRegion]]:
        """Classify the regions of each radiograph, all regions of one site in one batch.

        A region of a limb that does not point down is classified twice, as it is and upright; the higher probability
        counts.
        """
        regions = [(k, planned) for k, survey in enumerate(surveys) for planned in survey.plan.read]
        classified: list[list[ClassifiedRegion]] = [[] for _ in radiographs]
        if not regions:
            return classified
        crops = [crop_box(planned.region.box, *radiographs[k].shape) for k, planned in regions]
        fitted = [fitted_size(c.y1 - c.y0, c.x1 - c.x0, REGION_PX) for c in crops]
        images = self.preprocessor.regions(
            [
                Cut(stored=radiographs[k].stored, table=prepared[k].table, box=np.array(crop.as_tuple(), np.float32))
                for (k, _), crop in zip(regions, crops, strict=True)
            ]
        )
        evidence: dict[int, RegionEvidence] = {}
        for site in {planned.region.site for _, planned in regions}:
            members = [m for m, (_, planned) in enumerate(regions) if planned.region.site == site]
            turns = [surveys[regions[m][0]].turns for m in members]
            of_members = read_upright(self.classifiers[site], images[members], [fitted[m] for m in members], turns)
            evidence |= zip(members, of_members, strict=True)
        for m, (k, planned) in enumerate(regions):
            heat = _heat(evidence[m], crops[m], fitted[m])
            classified[k].append(
                ClassifiedRegion(
                    region=planned, evidence=evidence[m], heat=heat, spec=self.classifiers[planned.region.site].spec
                )
            )
        return classified

    def _analysis(
        self, radiograph: Radiograph, survey: Survey, classified: list[ClassifiedRegion], timings: Timings
    ) -> Analysis:
        header, plan = radiograph.header, survey.plan
        pairs = findings_with_heat(radiograph, survey, classified)
        findings = tuple(finding for finding, _ in pairs)
        if reason := why_not_analysed(survey, findings, self._engines):
            return Analysis(result=self._result(header, not_analysed=reason, timings=timings))
        result = self._result(
            header,
            findings=findings,
            not_read=tuple(not_read(plan)),
            not_assessed=tuple(not_assessed(plan)),
            incomplete=tuple(reasons_for_incompleteness(survey)),
            caveats=(
                *radiograph.stored.caveats,
                *caveats(header, self.rules, survey.flags, survey.turns, findings, plan),
            ),
            timings=timings,
        )
        return Analysis(result=result, heats=tuple(heat for _, heat in pairs))

    @property
    def _engines(self) -> set[Site]:
        """Sites whose engine may find a fracture."""
        return {site for site, classifier in self.classifiers.items() if classifier.spec.finds}

    def _result(
        self,
        header: Header,
        *,
        findings: tuple[Finding, ...] = (),
        not_read: tuple[UnreadRegion, ...] = (),
        not_assessed: tuple[UnreadRegion, ...] = (),
        incomplete: tuple[Sentence, ...] = (),
        not_analysed: NotAnalysed | None = None,
        caveats: tuple[Sentence, ...] = (),
        timings: Timings = (),
    ) -> Result:
        synthetic = (SYNTHETIC,) if self.provenance.pack_is_synthetic else ()
        return Result(
            sop_instance_uid=header.sop_instance_uid,
            study_instance_uid=header.study_instance_uid,
            created_at=self.now(),
            provenance=self.provenance,
            findings=findings,
            not_read=not_read,
            not_assessed=not_assessed,
            incomplete=incomplete,
            not_analysed=not_analysed,
            caveats=synthetic + caveats,
            timings_ms=timings,
        )


@contextmanager
def _timed(stage: str, spent_ms: dict[str, float]) -> Iterator[None]:
    start = perf_counter()
    yield
    spent_ms[stage] = (perf_counter() - start) * 1e3


def _heat(evidence: RegionEvidence, crop: Box, fitted: tuple[int, int]) -> Heat:
    """Place the evidence of a crop on the received image."""
    rows, columns = evidence.heat.shape
    dy = (crop.y1 - crop.y0) / fitted[0] * evidence.cell_px
    dx = (crop.x1 - crop.x0) / fitted[1] * evidence.cell_px
    extent = (crop.x0, crop.y0, crop.x0 + columns * dx, crop.y0 + rows * dy)
    return Heat(cells=evidence.heat, extent=extent, within=crop.as_tuple())
