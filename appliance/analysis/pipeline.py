"""The way of a radiograph through stages 1 to 3, one screen long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

import numpy as np

from appliance.compute import Compute, on_cpu
from appliance.config import Analyse
from appliance.domain.finding import Answer, Box, Finding, NotAnalysed, UnreadRegion
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import Header, Radiograph
from appliance.domain.result import Provenance, Result
from appliance.ports import Heat, Preprocessor
from appliance.preprocessing.recipe import REGION_PX, Prepared, fitted_size
from kernels.reference import focus

from .classifier import Classifier, Evidence
from .eligibility import comes_from, named_sites, shows_a_trunk
from .geometry import crop_box
from .heat import Draw, draw_heats
from .localiser import Localiser, Region

NON_SPECIFIC_FOCUS = 0.2
"""Below it a suspicious answer was right in 32 of 100 cases, above in 47 (docs/models.md)."""


A_TRUNK = NotAnalysed(
    code="out_of_scope", reason="the image shows both shoulders and the spine, as a chest does: body part not read"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A result and, beside it, one heat map per finding for the overlay."""

    result: Result
    heats: tuple[Heat, ...] = ()


@dataclass(slots=True)
class Pipeline:
    """Preprocess, localise, classify: the engines of one pack behind one call; and what draws their heat maps."""

    preprocessor: Preprocessor
    localiser: Localiser
    classifiers: Mapping[Site, Classifier]
    provenance: Provenance
    rules: Analyse
    now: Callable[[], datetime]
    compute: Compute = field(default_factory=lambda: on_cpu("nothing else was asked for"))
    draw: Draw = draw_heats
    _timings: dict[str, float] = field(default_factory=dict, init=False)

    def analyse(self, radiograph: Radiograph) -> Analysis:
        """The answer for one eligible radiograph.

        Raises
        ------
        Fault, engines.runner.RunnerError
            If an engine or a device fails: the role must be restarted.
        """
        height, width = radiograph.shape
        self._timings = {}
        with self._timed("preprocess"):
            prepared = self.preprocessor.prepare(radiograph.stored)
        with self._timed("localise"):
            located = self.localiser.locate(prepared, height, width)
            regions = located.regions
        if shows_a_trunk((r.site for r in regions), radiograph.header):
            return Analysis(result=self._result(radiograph.header, not_analysed=A_TRUNK))
        readable = [r for r in regions if r.site in self.classifiers]
        with self._timed("classify"):
            evidence = self._classify(radiograph, prepared, readable)
        order = sorted(range(len(readable)), key=lambda k: -evidence[k][0].probability)
        findings = [self._finding(radiograph.header, readable[k], *evidence[k]) for k in order]
        result = self._result(
            radiograph.header,
            findings=tuple(findings),
            unread_regions=tuple(
                UnreadRegion(site=r.site, box=r.box, region_score=r.score) for r in regions if r not in readable
            ),
            not_analysed=None if findings else _nothing_to_read(regions),
            flags=located.flags,
        )
        return Analysis(result=result, heats=tuple(evidence[k][1] for k in order))

    def not_analysed(self, header: Header, reason: NotAnalysed) -> Result:
        """The result for a radiograph that is not for us, or could not be analysed, for `reason`."""
        self._timings = {}
        return self._result(header, not_analysed=reason)

    def _classify(
        self, radiograph: Radiograph, prepared: Prepared, regions: list[Region]
    ) -> list[tuple[Evidence, Heat]]:
        crops = [crop_box(r.box, *radiograph.shape) for r in regions]
        if not crops:
            return []
        boxes = np.array([c.as_tuple() for c in crops], np.float32)
        images = self.preprocessor.regions(radiograph.stored, prepared.table, boxes)
        found: list[tuple[Evidence, Heat] | None] = [None] * len(regions)
        for site in {r.site for r in regions}:
            members = [k for k, r in enumerate(regions) if r.site == site]
            fitted = [fitted_size(c.y1 - c.y0, c.x1 - c.x0, REGION_PX) for c in (crops[k] for k in members)]
            for k, size, e in zip(
                members, fitted, self.classifiers[site].evidence(images[members], fitted), strict=True
            ):
                found[k] = (e, _heat(e, crops[k], size))
        return [f for f in found if f]

    def _finding(self, header: Header, region: Region, evidence: Evidence, heat: Heat) -> Finding:
        spec = self.classifiers[region.site].spec
        return Finding(
            site=region.site,
            laterality=header.laterality,
            box=region.box,
            region_score=region.score,
            peak=_peak(heat, region.box),
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
            timings_ms=tuple(self._timings.items()),
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
            yield f"{flag} seen: the engines learned from few such films"
        if comes_from(header, self.rules.mobile):
            yield "mobile film: not what the engines were measured on"
        if header.sides_disagree:
            yield "the header names both sides: check the side marker"
        named, shown = named_sites(header), {f.site for f in findings}
        if named and not named & (shown | {r.site for r in unread}):
            said, seen = (", ".join(sorted(s.label for s in sites)) for sites in (named, shown))
            yield f"the header says {said}, the image shows {seen}"
        if any(f.answer is not Answer.NEGATIVE and f.focus < NON_SPECIFIC_FOCUS for f in findings):
            yield "non-specific attention: the heat map is diffuse"

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self._timings[stage] = round((perf_counter() - start) * 1e3, 1)


def _heat(evidence: Evidence, crop: Box, fitted: tuple[int, int]) -> Heat:
    """The evidence where it lies on the received image."""
    rows, columns = evidence.heat.shape
    dy = (crop.y1 - crop.y0) / fitted[0] * evidence.cell_px
    dx = (crop.x1 - crop.x0) / fitted[1] * evidence.cell_px
    extent = (crop.x0, crop.y0, crop.x0 + columns * dx, crop.y0 + rows * dy)
    return Heat(cells=evidence.heat, extent=extent, within=crop.as_tuple())


def _peak(heat: Heat, box: Box) -> tuple[float, float]:
    """Centre of the hottest cell, kept inside the region."""
    j, i = np.unravel_index(int(heat.cells.argmax()), heat.cells.shape)
    x0, y0, x1, y1 = heat.extent
    x = x0 + (i + 0.5) / heat.cells.shape[1] * (x1 - x0)
    y = y0 + (j + 0.5) / heat.cells.shape[0] * (y1 - y0)
    return float(np.clip(x, box.x0, box.x1)), float(np.clip(y, box.y0, box.y1))


def _nothing_to_read(regions: Sequence[Region]) -> NotAnalysed:
    if not regions:
        return NotAnalysed(code="no_region", reason="no anatomical region was recognised in the image")
    sites = ", ".join(sorted({r.site.label for r in regions}))
    return NotAnalysed(code="no_engine", reason=f"the image shows {sites}, for which this pack has no engine")
