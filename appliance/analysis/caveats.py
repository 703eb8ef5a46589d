"""The caveats of a radiograph: sentences that stand on every output beside its findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from appliance.config import Analyse
from appliance.domain.finding import DIFFUSE, IN_CAVEATS, Finding
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import Header
from appliance.domain.sentence import Sentence

from .eligibility import comes_from, parts_of_header
from .reading_plan import ReadingPlan

ADULT_YEARS = 18
"""Age below which growth plates may be open."""

SYNTHETIC = Sentence.of("SYNTHETIC model, trained on phantoms: no meaning for patients")

FLAGS = {"cast": Sentence.of("cast"), "hardware": Sentence.of("hardware")}
"""Names of the flags that the localiser was trained to see."""


def caveats(
    header: Header,
    rules: Analyse,
    flags: Iterable[str],
    turns: int,
    findings: Sequence[Finding],
    plan: ReadingPlan,
) -> Iterator[Sentence]:
    """Yield the caveats of a radiograph that was read.

    Parameters
    ----------
    flags
        Flags of the localiser, such as ``cast``.
    turns
        Quarter turns by which the limb does not point down.
    """
    for flag in flags:
        seen = FLAGS.get(flag, Sentence(template=flag))
        yield Sentence.of("{flag} seen: the engines learned from few such radiographs", flag=seen)
    if comes_from(header, rules.mobile):
        yield Sentence.of("mobile radiograph: the engines were not measured on these")
    if header.age_years is not None and header.age_years < ADULT_YEARS:
        yield Sentence.of(
            "child of {years} years: growth plates may be open, the engines were not measured by age",
            years=int(header.age_years),
        )
    if turns:
        yield Sentence.of("unusual orientation: the regions were read as they are and upright")
    if header.sides_disagree:
        yield Sentence.of("the header names both sides: check the side marker")
    yield from _paired(header, plan)
    for reason in dict.fromkeys(w for f in findings for w in f.withheld if w in IN_CAVEATS):
        yield reason.sentence
    if plan.contradicts:
        yield Sentence.of(
            "the header says {in_header}, the image looks like {in_image}: site uncertain",
            in_header=site_names(parts_of_header(header).sites),
            in_image=site_names(plan.recognised),
        )
    if any(f.is_diffuse for f in findings):
        yield DIFFUSE


def site_names(sites: Iterable[Site]) -> tuple[Sentence, ...]:
    """Return the names of sites in alphabetical order, each once."""
    return tuple(sorted({site.label for site in sites}, key=str))


def _paired(header: Header, plan: ReadingPlan) -> Iterator[Sentence]:
    """Yield a caveat for each site of which two regions are shown while the header names one side."""
    if header.laterality is Laterality.UNKNOWN:
        return
    for site, count in plan.shown.items():
        if count > 1:
            yield Sentence.of(
                "{count} regions of the {site} in the image, the header names one side: side unknown",
                count=count,
                site=site.label,
            )
