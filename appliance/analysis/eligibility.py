"""Eligibility of a radiograph for the analysis, from its header.

Each refusal has its own code, and a sentence that tells a PACS administrator how to act. If the image can decide, it
does: a radiograph with an absent or unknown body part goes to the localiser.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from appliance.config import Ages, Analyse, Origins
from appliance.domain.finding import NotAnalysed
from appliance.domain.identifiers import Site, is_valid_uid
from appliance.domain.radiograph import Header
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence

from .header_sites import NamedParts, named_parts

SMALLEST_SIDE_PX = 128
"""Half the side of a region: a smaller image has less detail than the networks were trained on."""

KNOWN_MODALITIES = frozenset(
    [
        "AR", "AU", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "DG", "DMS", "DX", "ECG", "EPS", "ES", "FID", "GM", "IO",
        "IOL", "IVOCT", "IVUS", "KER", "KO", "LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPV",
        "OSS", "OT", "PLAN", "PR", "PT", "PX", "REG", "RF", "RG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "RWV",
        "SEG", "SM", "SR", "SRF", "TG", "US", "VA", "XA", "XC",
    ]
)  # fmt: skip
"""Defined terms of Modality (DICOM PS3.3 C.7.3.1.1.1); only these are quoted in a reason."""

RADIOGRAPH_CLASSES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1"}
)
"""CR, DX for presentation, DX for processing (DICOM PS3.4 B.5)."""

NOT_PROJECTIONS = frozenset({"FLUOROSCOPY", "FLUORO", "TOMO", "TOMOSYNTHESIS", "STITCHED", "STITCHING", "COMPOSED"})
"""Values of Image Type (0008,0008), from the third on, that vendors write into images of more than one exposure."""

UNANSWERED = frozenset({ReasonCode.NOT_A_RADIOGRAPH, ReasonCode.FOR_PROCESSING, ReasonCode.IGNORED})
"""Reasons that are recorded without sending artefacts: the object is not an exposure, or the exposure has another."""


def why_not(header: Header, rules: Analyse) -> NotAnalysed | None:
    """Return the first reason why the radiograph is not eligible, or None if it is."""
    checks = (
        _check_kind(header, rules),
        _check_origin(header, rules),
        _check_age(header, rules.ages),
        _check_image(header),
        _check_anatomy(header),
    )
    return next((reason for reason in checks if reason), None)


def parts_of_header(header: Header) -> NamedParts:
    """Return the parts of the body that the header names."""
    return named_parts(
        header.body_part_examined, header.anatomic_regions, header.anatomic_region_codes, header.descriptions
    )


def shows_a_trunk(sites: Iterable[Site], header: Header) -> bool:
    """Return whether the located regions are those of a chest: both shoulders, and the spine between them.

    A header that names a site overrules this: both clavicles on one radiograph are a radiograph of shoulders.
    """
    found = list(sites)
    return not parts_of_header(header).sites and found.count(Site.SHOULDER) > 1 and Site.SPINE in found


def comes_from(header: Header, origins: Origins) -> bool:
    """Return whether one of the patterns matches the header."""
    pairs = (
        (origins.stations, [header.station_name]),
        (origins.ae_titles, [header.calling_ae_title]),
        (origins.descriptions, header.descriptions),
    )
    return any(
        fnmatchcase(text.upper(), pattern.upper())
        for patterns, texts in pairs
        for pattern in patterns
        for text in texts
    )


def _check_kind(header: Header, rules: Analyse) -> NotAnalysed | None:
    """Decline another storage class, or a modality that the site does not list."""
    is_listed = header.modality in {modality.strip().upper() for modality in rules.modalities}
    if header.sop_class_uid not in RADIOGRAPH_CLASSES or not is_listed:
        # only valid values are quoted: a broken header may hold anything there, even a name
        kind = Sentence.of("an object of an unknown modality")
        if header.modality in KNOWN_MODALITIES:
            kind = Sentence.of("modality {modality}", modality=header.modality)
        if is_listed and is_valid_uid(header.sop_class_uid):
            kind = Sentence.of("storage class {uid}", uid=header.sop_class_uid)
        reason = Sentence.of(
            "{kind} is not a plain radiograph: only CR and DX images are analysed, narrow the routing rule", kind=kind
        )
        return NotAnalysed(code=ReasonCode.NOT_A_RADIOGRAPH, reason=reason)
    return None


def _check_origin(header: Header, rules: Analyse) -> NotAnalysed | None:
    if comes_from(header, rules.ignore):
        return NotAnalysed(
            code=ReasonCode.IGNORED,
            reason=Sentence.of("it comes from where analyse.ignore says that nothing is for us"),
        )
    if header.is_animal:
        return NotAnalysed(
            code=ReasonCode.NOT_HUMAN,
            reason=Sentence.of("the patient is an animal: only human radiographs are analysed"),
        )
    if header.for_processing and not rules.for_processing:
        reason = Sentence.of(
            "the image is FOR PROCESSING: the same exposure is expected FOR PRESENTATION, see analyse.for_processing"
        )
        return NotAnalysed(code=ReasonCode.FOR_PROCESSING, reason=reason)
    return None


def _check_age(header: Header, ages: Ages) -> NotAnalysed | None:
    """Decline an age outside the bounds that the site has set; an unknown age is not declined."""
    if header.age_years is None or ages.include(header.age_years):
        return None
    youngest, oldest = ages.youngest_years, ages.oldest_years
    bounds = Sentence.of("from {youngest} up to {oldest}", youngest=youngest or 0, oldest=oldest or 0)
    if oldest is None:
        bounds = Sentence.of("from {youngest}", youngest=youngest or 0)
    elif youngest is None:
        bounds = Sentence.of("up to {oldest}", oldest=oldest)
    reason = Sentence.of(
        "patient of {years} years: only radiographs of patients {bounds} years are analysed here, see analyse.ages",
        years=int(header.age_years),
        bounds=bounds,
    )
    return NotAnalysed(code=ReasonCode.AGE_NOT_ANALYSED, reason=reason)


def _check_image(header: Header) -> NotAnalysed | None:
    if not header.has_pixels:
        reason = Sentence.of("the data set has no pixel data: send the image again")
        return NotAnalysed(code=ReasonCode.NO_PIXELS, reason=reason)
    if header.number_of_frames > 1:
        reason = Sentence.of("{count} frames: only single projections are analysed", count=header.number_of_frames)
        return NotAnalysed(code=ReasonCode.NOT_A_PROJECTION, reason=reason)
    if header.is_tomogram or NOT_PROJECTIONS.intersection(header.image_type[2:]):
        reason = Sentence.of(
            "fluoroscopy, tomography and stitched images are not analysed: send the single projections"
        )
        return NotAnalysed(code=ReasonCode.NOT_A_PROJECTION, reason=reason)
    if not header.rows * header.columns:
        reason = Sentence.of("the header does not say how many rows and columns there are: send the image again")
        return NotAnalysed(code=ReasonCode.BROKEN_PIXELS, reason=reason)
    if min(header.rows, header.columns) < SMALLEST_SIDE_PX:
        reason = Sentence.of(
            "{columns} x {rows} pixels: at least {least} a side are needed",
            columns=header.columns,
            rows=header.rows,
            least=SMALLEST_SIDE_PX,
        )
        return NotAnalysed(code=ReasonCode.TOO_SMALL, reason=reason)
    return None


def _check_anatomy(header: Header) -> NotAnalysed | None:
    """Decline a header that names only parts of the body that no engine reads."""
    parts = parts_of_header(header)
    if not parts.is_out_of_scope:
        return None
    reason = Sentence.of("body part {part} is not one that the appliance reads", part=parts.elsewhere)
    return NotAnalysed(code=ReasonCode.OUT_OF_SCOPE, reason=reason)
