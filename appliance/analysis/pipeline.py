"""Stages 1 to 3 of a radiograph: preprocess, localise, classify."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter

import numpy as np

from appliance.config import Analyse
from appliance.domain.finding import Answer, Box, Finding, NotAnalysed, UnreadRegion
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import Header, Radiograph
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Provenance, Result
from appliance.ports import Heat, Preprocessor
from appliance.preprocessing.recipe import REGION_PX, Cut, Prepared, fitted_size
from kernels.device import OutOfMemory
from kernels.reference import focus

from .classifier import Classifier, RegionEvidence
from .eligibility import comes_from, named_sites, shows_a_trunk
from .geometry import crop_box
from .localiser import Localisation, Localiser, LocatedRegion

NON_SPECIFIC_FOCUS = 0.4
"""Focus of a heat map below which a suspicious answer was right in 32 of 100 cases; above, in 51 (docs/models.md)."""


A_TRUNK = NotAnalysed(
    code=ReasonCode.OUT_OF_SCOPE,
    reason="the image shows both shoulders and the spine, as a chest does: body part not read",
)


Timings = tuple[tuple[str, float], ...]
"""Milliseconds by stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedRegion:
    """A located region with the evidence of its classifier, and the heat map on the received image."""

    region: LocatedRegion
    evidence: RegionEvidence
    heat: Heat


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
        readable = [self._readable(*both) for both in zip(radiographs, located, strict=True)]
        with _timed("classify", spent_ms):
            classified = self._classify(radiographs, prepared, readable)
        # each radiograph has an equal share of the time of its batch
        timings = tuple((stage, round(ms / len(radiographs), 1)) for stage, ms in spent_ms.items())
        return [self._analysis(*of_one, timings) for of_one in zip(radiographs, located, classified, strict=True)]

    def _readable(self, radiograph: Radiograph, located: Localisation) -> list[LocatedRegion]:
        """Select the regions that have a classifier; none on a chest."""
        if _is_of_a_trunk(radiograph, located):
            return []
        return [r for r in located.regions if r.site in self.classifiers]

    def _classify(
        self, radiographs: Sequence[Radiograph], prepared: Sequence[Prepared], readable: Sequence[list[LocatedRegion]]
    ) -> list[list[ClassifiedRegion]]:
        """Classify the regions of each radiograph, all regions of one site in one batch."""
        regions = [(k, region) for k, some in enumerate(readable) for region in some]
        classified: list[list[ClassifiedRegion]] = [[] for _ in radiographs]
        if not regions:
            return classified
        crops = [crop_box(region.box, *radiographs[k].shape) for k, region in regions]
        fitted = [fitted_size(c.y1 - c.y0, c.x1 - c.x0, REGION_PX) for c in crops]
        images = self.preprocessor.regions(
            [
                Cut(stored=radiographs[k].stored, table=prepared[k].table, box=np.array(crop.as_tuple(), np.float32))
                for (k, _), crop in zip(regions, crops, strict=True)
            ]
        )
        evidence: dict[int, RegionEvidence] = {}
        for site in {region.site for _, region in regions}:
            members = [m for m, (_, region) in enumerate(regions) if region.site == site]
            of_members = self.classifiers[site].evidence(images[members], [fitted[m] for m in members])
            evidence |= zip(members, of_members, strict=True)
        for m, (k, region) in enumerate(regions):
            heat = _heat(evidence[m], crops[m], fitted[m])
            classified[k].append(ClassifiedRegion(region=region, evidence=evidence[m], heat=heat))
        return classified

    def _analysis(
        self, radiograph: Radiograph, located: Localisation, classified: list[ClassifiedRegion], timings: Timings
    ) -> Analysis:
        header, regions = radiograph.header, located.regions
        if _is_of_a_trunk(radiograph, located):
            return Analysis(result=self._result(header, not_analysed=A_TRUNK, timings=timings))
        most_suspicious_first = sorted(classified, key=lambda c: -c.evidence.probability)
        findings = tuple(self._finding(header, c) for c in most_suspicious_first)
        result = self._result(
            header,
            findings=findings,
            unread_regions=tuple(
                UnreadRegion(site=r.site, box=r.box, region_score=r.score)
                for r in regions
                if r.site not in self.classifiers
            ),
            not_analysed=None if findings else _nothing_to_read(regions),
            flags=located.flags,
            timings=timings,
        )
        return Analysis(result=result, heats=tuple(c.heat for c in most_suspicious_first))

    def _finding(self, header: Header, classified: ClassifiedRegion) -> Finding:
        region, evidence = classified.region, classified.evidence
        spec = self.classifiers[region.site].spec
        return Finding(
            site=region.site,
            laterality=header.laterality,
            box=region.box,
            region_score=region.score,
            peak=_peak(classified.heat, region.box),
            probability=evidence.probability,
            doubt=spec.doubt,
            positive=spec.positive,
            focus=focus(evidence.heat),
        )

    def _result(
        self,
        header: Header,
        *,
        findings: tuple[Finding, ...] = (),
        unread_regions: tuple[UnreadRegion, ...] = (),
        not_analysed: NotAnalysed | None = None,
        flags: tuple[str, ...] = (),
        timings: Timings = (),
    ) -> Result:
        return Result(
            sop_instance_uid=header.sop_instance_uid,
            study_instance_uid=header.study_instance_uid,
            created_at=self.now(),
            provenance=self.provenance,
            findings=findings,
            unread_regions=unread_regions,
            not_analysed=not_analysed,
            caveats=tuple(self._caveats(header, findings, unread_regions, flags)),
            timings_ms=timings,
        )

    def _caveats(
        self,
        header: Header,
        findings: tuple[Finding, ...],
        unread: tuple[UnreadRegion, ...],
        flags: tuple[str, ...],
    ) -> Iterator[str]:
        if self.provenance.pack_is_synthetic:
            yield "SYNTHETIC model, trained on phantoms: no meaning for patients"
        if not findings:
            return
        for flag in flags:
            yield f"{flag} seen: the engines learned from few such radiographs"
        if comes_from(header, self.rules.mobile):
            yield "mobile radiograph: the engines were not measured on these"
        if header.sides_disagree:
            yield "the header names both sides: check the side marker"
        named, shown = named_sites(header), {f.site for f in findings}
        if named and not named & (shown | {r.site for r in unread}):
            in_header, in_image = (", ".join(sorted(s.label for s in sites)) for sites in (named, shown))
            yield f"the header says {in_header}, the image shows {in_image}"
        if any(f.answer is not Answer.NEGATIVE and f.focus < NON_SPECIFIC_FOCUS for f in findings):
            yield "non-specific attention: the heat map is diffuse"


@contextmanager
def _timed(stage: str, spent_ms: dict[str, float]) -> Iterator[None]:
    start = perf_counter()
    yield
    spent_ms[stage] = (perf_counter() - start) * 1e3


def _is_of_a_trunk(radiograph: Radiograph, located: Localisation) -> bool:
    return shows_a_trunk((r.site for r in located.regions), radiograph.header)


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


def _nothing_to_read(regions: Sequence[LocatedRegion]) -> NotAnalysed:
    if not regions:
        return NotAnalysed(code=ReasonCode.NO_REGION, reason="no anatomical region was recognised in the image")
    sites = ", ".join(sorted({r.site.label for r in regions}))
    return NotAnalysed(code=ReasonCode.NO_ENGINE, reason=f"the image shows {sites}, for which this pack has no engine")
