"""The measurement groups of the structured report: the area that was read, and the mark of each suspicion.

A viewer labels an outline with the finding of its group. Only a mark is called a fracture, therefore; the area that was
read is a group whose finding is the body structure, whatever the verdict. Both have the probability: OHIF takes a group
without a measurement for an annotation of its own, and then draws no other.

References
----------
DICOM PS3.16 TID 1410 (Planar ROI Measurements and Qualitative Evaluations), TID 1419, TID 4019; PS3.3 C.18.6.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForRegion,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from appliance.domain import codes
from appliance.domain.finding import Finding
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.words import ENGLISH, Language

from .codes import coded_concept
from .document import reference
from .mark import box_outline, mark_outline
from .series import MANUFACTURER
from .tracking import tracked


def groups(
    source: Dataset, result: Result, language: Language = ENGLISH
) -> Iterator[PlanarROIMeasurementsAndQualitativeEvaluations]:
    """Yield the groups of a radiograph: for each finding its mark if it is suspicious, then the area that was read."""
    for region in tracked(result, language):
        finding = region.finding
        probability = Measurement(
            name=coded_concept(codes.PROBABILITY),
            value=finding.stated_probability,
            unit=coded_concept(codes.NO_UNITS),
        )
        if finding.verdict.is_suspicious:
            presence = QualitativeEvaluation(
                name=coded_concept(codes.PRESENCE), value=coded_concept(codes.PRESENCES[finding.verdict])
            )
            yield PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=TrackingIdentifier(uid=UID(region.mark_uid), identifier=region.identifier),
                referenced_region=_image_region(mark_outline(finding, source), source),
                finding_type=coded_concept(codes.FRACTURE),
                algorithm_id=_algorithm(result, finding, language),
                finding_sites=finding_sites(finding) or None,
                measurements=[probability],
                qualitative_evaluations=[presence],
            )
        examined = codes.SITES[finding.site] if finding.site_is_certain else codes.BODY_STRUCTURE
        yield PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=UID(region.uid), identifier=region.area),
            referenced_region=_image_region(box_outline(finding.box, source), source),
            finding_type=coded_concept(examined),
            algorithm_id=_algorithm(result, finding, language),
            finding_sites=finding_sites(finding) or None,
            measurements=[probability],
        )


def finding_sites(finding: Finding) -> list[FindingSite]:
    """Return the coded sites of `finding` with its side; none where the site is uncertain."""
    if not finding.site_is_certain:
        return []
    side = coded_concept(codes.SIDES[finding.laterality]) if finding.laterality in codes.SIDES else None
    return [FindingSite(coded_concept(site), laterality=side) for site in codes.site_concepts(finding.site)]


def _image_region(outline: NDArray[np.float64], source: Dataset) -> ImageRegion:
    image = reference(source)
    return ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=outline,
        source_image=SourceImageForRegion(image.sop_class_uid, image.sop_instance_uid),
    )


def _algorithm(result: Result, finding: Finding, language: Language) -> AlgorithmIdentification:
    p = result.provenance
    parameters = (
        Sentence.of("pack sha256 {digest}", digest=p.pack_digest),
        Sentence.of("software {version}", version=p.software_version),
        Sentence.of("computed on {compute}", compute=p.compute),
        Sentence.of(
            "possible >= {doubt}, suspected >= {positive}",
            doubt=f"{finding.doubt:g}",
            positive=f"{finding.positive:g}",
        ),
        Sentence.of("focus {focus}", focus=f"{finding.focus:.2f}"),
    )
    return AlgorithmIdentification(
        name=p.pack_name + (" (SYNTHETIC)" if p.pack_is_synthetic else ""),
        version=p.pack_version,
        manufacturer=MANUFACTURER,
        parameters=list(map(language.say, parameters)),
    )
