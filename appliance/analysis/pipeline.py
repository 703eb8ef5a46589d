"""Stages 1 to 3 of a radiograph: preprocess, localise, classify."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from appliance.config import Analyse
from appliance.domain.finding import Box, Finding, NotAnalysed, UnreadRegion, Withheld
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import Header, Radiograph
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Provenance, Result
from appliance.domain.sentence import Sentence
from appliance.ports import Heat, Preprocessor
from appliance.preprocessing.recipe import REGION_PX, Cut, Prepared, fitted_size
from kernels.device import OutOfMemory
from kernels.reference import focus

from .appearance import Appearance, look
from .caveats import SYNTHETIC, caveats, site_names
from .classifier import Classifier, RegionEvidence
from .eligibility import parts_of_header, shows_a_trunk
from .geometry import crop_box
from .hip_side import side_of_mark
from .localiser import Localisation, Localiser
from .mark import outline
from .orientation import limb_direction_deg, quarter_turns
from .reading_plan import PlannedRegion, ReadingPlan, Standing, plan_reading

A_TRUNK = NotAnalysed(
    code=ReasonCode.OUT_OF_SCOPE,
    reason=Sentence.of("the image shows both shoulders and the spine, as a chest does: body part not read"),
)


Timings = tuple[tuple[str, float], ...]
"""Milliseconds by stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedRegion:
    """A located region with the evidence of its classifier, and the heat map on the received image."""

    region: PlannedRegion
    evidence: RegionEvidence
    heat: Heat


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The state of knowledge about one radiograph before anything is classified.

    Attributes
    ----------
    turns
        Quarter turns, counter-clockwise, that bring the limb upright.
    """

    plan: ReadingPlan
    appearance: Appearance
    flags: tuple[str, ...]
    turns: int
    is_of_a_trunk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A result with one heat map for each finding, in their order."""

    result: Result
    heats: tuple[Heat, ...] = ()


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
        appearance = look(radiograph.stored)
        regions = [r for r in located.regions if not appearance.is_flat(r.box)]
        is_of_a_trunk = shows_a_trunk(
            (r.site for r in regions if r.score >= self.localiser.threshold), radiograph.header
        )
        plan = plan_reading(
            [] if is_of_a_trunk else regions,
            radiograph.shape,
            parts_of_header(radiograph.header).sites,
            {site for site, classifier in self.classifiers.items() if classifier.spec.finds},
            self.localiser.threshold,
        )
        return Survey(
            plan=plan,
            appearance=appearance,
            flags=located.flags,
            turns=quarter_turns(limb_direction_deg(regions)),
            is_of_a_trunk=is_of_a_trunk,
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
            classified[k].append(ClassifiedRegion(region=planned, evidence=evidence[m], heat=heat))
        return classified

    def _analysis(
        self, radiograph: Radiograph, survey: Survey, classified: list[ClassifiedRegion], timings: Timings
    ) -> Analysis:
        header, plan = radiograph.header, survey.plan
        sides = _sides(header, plan, classified)
        replaced = bool(radiograph.stored.caveats)
        pairs = [(self._finding(survey, c, side, replaced), c.heat) for c, side in zip(classified, sides, strict=True)]
        if sum(finding.site is Site.PELVIS for finding, _ in pairs) == 1 and not survey.turns:
            pairs = [(_on_its_side_of_the_pelvis(finding, radiograph), heat) for finding, heat in pairs]
        pairs.sort(key=lambda pair: (-pair[0].verdict.severity, -pair[0].probability))
        findings = tuple(finding for finding, _ in pairs)
        if reason := self._why_not_analysed(header, survey, findings):
            return Analysis(result=self._result(header, not_analysed=reason, timings=timings))
        result = self._result(
            header,
            findings=findings,
            not_read=tuple(_not_read(plan)),
            not_assessed=tuple(_unread(r) for r in plan.regions if r.standing is Standing.MARGIN),
            incomplete=tuple(self._incomplete(header, survey)),
            caveats=(
                *radiograph.stored.caveats,
                *caveats(header, self.rules, survey.flags, survey.turns, findings, plan),
            ),
            timings=timings,
        )
        return Analysis(result=result, heats=tuple(heat for _, heat in pairs))

    def _finding(
        self, survey: Survey, classified: ClassifiedRegion, side: Laterality, window_is_replaced: bool
    ) -> Finding:
        region, evidence = classified.region.region, classified.evidence
        spec = self.classifiers[region.site].spec
        is_certain = classified.region.site_is_certain and not survey.plan.contradicts
        withheld = [*classified.region.withheld]
        withheld += [Withheld.NOT_MEASURED] if not spec.clears else []
        withheld += [Withheld.POLARITY] if self._looks_inverted(survey) else []
        withheld += [Withheld.WINDOW] if window_is_replaced else []
        withheld += [Withheld.UNFAMILIAR] if not evidence.is_familiar else []
        return Finding(
            site=region.site,
            laterality=side if is_certain else Laterality.UNKNOWN,
            box=region.box,
            region_score=region.score,
            peak=_peak(classified.heat, region.box),
            mark=outline(classified.heat, region.box),
            probability=evidence.probability,
            doubt=spec.doubt,
            positive=spec.positive,
            focus=focus(evidence.heat),
            withheld=tuple(withheld),
            site_is_certain=is_certain,
            fracture_share=spec.fracture_share,
        )

    def _looks_inverted(self, survey: Survey) -> bool:
        return self.localiser.spec.polarity_is_measured and survey.appearance.polarity_is_doubtful

    def _incomplete(self, header: Header, survey: Survey) -> Iterator[Sentence]:
        """Yield the reasons beside unread subjects why the radiograph is incomplete."""
        boxes = [r.region.box for r in survey.plan.regions]
        if survey.appearance.bone_outside(boxes) > self.localiser.spec.bone_outside:
            yield Sentence.of("bone is visible outside the regions that were recognised")
        if part := parts_of_header(header).elsewhere:
            yield Sentence.of("the header also names {part}, which no engine reads", part=part)

    def _why_not_analysed(self, header: Header, survey: Survey, findings: Sequence[Finding]) -> NotAnalysed | None:
        """Return the reason why nothing is said of the radiograph; a suspicion is always told."""
        if survey.is_of_a_trunk:
            return A_TRUNK
        if any(finding.verdict.is_suspicious for finding in findings):
            return None
        named = parts_of_header(header).sites
        if survey.plan.contradicts:
            reason = Sentence.of(
                "the header says {in_header}, the image looks like {in_image}: correct the header, or read it yourself",
                in_header=site_names(named),
                in_image=site_names(survey.plan.recognised),
            )
            return NotAnalysed(code=ReasonCode.SITE_UNCERTAIN, reason=reason)
        engines = {site for site, classifier in self.classifiers.items() if classifier.spec.finds}
        if named and not named & engines:
            reason = Sentence.of("the header says {sites}, for which this pack has no engine", sites=site_names(named))
            return NotAnalysed(code=ReasonCode.NO_ENGINE, reason=reason)
        return None if findings else _nothing_to_read(survey.plan.recognised - engines)

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


def read_upright(
    classifier: Classifier, images: NDArray[np.uint8], fitted: Sequence[tuple[int, int]], turns: Sequence[int]
) -> list[RegionEvidence]:
    """Classify regions as they are and, where `turns` is not 0, upright too; return the more suspicious evidence.

    A region that is familiar in one of the two positions is familiar.

    Parameters
    ----------
    images : (R, 256, 256) uint8
        Regions, fitted to the upper left corner.
    fitted
        (h, w) of each region in px of its image; the rest is padding.
    turns
        Quarter turns, counter-clockwise, that bring each region upright.
    """
    as_is = classifier.evidence(images, fitted)
    tilted = [m for m, turn in enumerate(turns) if turn]
    if not tilted:
        return as_is
    upright = np.zeros((len(tilted), REGION_PX, REGION_PX), np.uint8)
    sizes = []
    for place, m in enumerate(tilted):
        height, width = fitted[m]
        region = np.rot90(images[m][:height, :width], turns[m])
        upright[place, : region.shape[0], : region.shape[1]] = region
        sizes.append((region.shape[0], region.shape[1]))
    for m, turned in zip(tilted, classifier.evidence(upright, sizes), strict=True):
        is_familiar = turned.is_familiar or as_is[m].is_familiar
        if turned.probability > as_is[m].probability:
            as_is[m] = replace(turned, heat=np.ascontiguousarray(np.rot90(turned.heat, -turns[m])))
        as_is[m] = replace(as_is[m], is_familiar=is_familiar)
    return as_is


def _sides(header: Header, plan: ReadingPlan, classified: Sequence[ClassifiedRegion]) -> list[Laterality]:
    """Return the side of each region: the header's, unless two regions of one paired site are on the radiograph.

    A pelvis has no side: it shows both hips, whatever side the header names.
    """
    sites = [c.region.region.site for c in classified]
    return [Laterality.UNKNOWN if plan.shown[s] > 1 or s is Site.PELVIS else header.laterality for s in sites]


def _on_its_side_of_the_pelvis(finding: Finding, radiograph: Radiograph) -> Finding:
    """Return a suspicion about a pelvis with the side of its mark, where picture and header tell it."""
    if finding.site is not Site.PELVIS or not (finding.site_is_certain and finding.verdict.is_suspicious):
        return finding
    side = side_of_mark(finding.mark, finding.box, radiograph.header, radiograph.shape)
    return replace(finding, laterality=side)


def _not_read(plan: ReadingPlan) -> Iterator[UnreadRegion]:
    """Yield the subjects that no engine read: located ones, then those that only the header names."""
    located = [r for r in plan.regions if r.standing is Standing.NOT_READ]
    yield from (_unread(r) for r in located)
    shown = {r.region.site for r in located}
    yield from (UnreadRegion(site=site) for site in sorted(plan.missing - shown))


def _unread(planned: PlannedRegion) -> UnreadRegion:
    region = planned.region
    return UnreadRegion(site=region.site, box=region.box, region_score=region.score)


def _heat(evidence: RegionEvidence, crop: Box, fitted: tuple[int, int]) -> Heat:
    """Place the evidence of a crop on the received image."""
    rows, columns = evidence.heat.shape
    dy = (crop.y1 - crop.y0) / fitted[0] * evidence.cell_px
    dx = (crop.x1 - crop.x0) / fitted[1] * evidence.cell_px
    extent = (crop.x0, crop.y0, crop.x0 + columns * dx, crop.y0 + rows * dy)
    return Heat(cells=evidence.heat, extent=extent, within=crop.as_tuple())


def _peak(heat: Heat, box: Box) -> tuple[float, float]:
    """Return the centre of the hottest cell in px received, clipped to the region."""
    j, i = np.unravel_index(int(heat.cells.argmax()), heat.cells.shape)
    x0, y0, x1, y1 = heat.extent
    x = x0 + (i + 0.5) / heat.cells.shape[1] * (x1 - x0)
    y = y0 + (j + 0.5) / heat.cells.shape[0] * (y1 - y0)
    return float(np.clip(x, box.x0, box.x1)), float(np.clip(y, box.y0, box.y1))


def _nothing_to_read(recognised: Iterable[Site]) -> NotAnalysed:
    """Return the reason for a radiograph on which these sites are recognised, and none can be read."""
    sites = site_names(recognised)
    if not sites:
        reason = Sentence.of("no anatomical region was recognised in the image")
        return NotAnalysed(code=ReasonCode.NO_REGION, reason=reason)
    reason = Sentence.of("the image shows {sites}, for which this pack has no engine", sites=sites)
    return NotAnalysed(code=ReasonCode.NO_ENGINE, reason=reason)
