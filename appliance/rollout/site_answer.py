"""The answer of one site's own engine about a radiograph: a sample of the site is scored by nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.domain.finding import Answer, Finding, Verdict
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.result import Result

from .told import Phases, told


def site_findings(result: Result, site: Site) -> tuple[Finding, ...]:
    """Return the findings of the site's engine; one of uncertain site is not the site's."""
    return tuple(f for f in result.findings if f.site is site and f.site_is_certain)


def site_answer(result: Result, site: Site, phases: Phases, validated: Iterable[Site]) -> Answer:
    """Return the gravest verdict of the site's findings; negative only where the whole radiograph is told as negative.

    Parameters
    ----------
    phases
        Those by which the radiograph was told.
    validated
        Sites that the sample is about: they count as live.
    """
    if result.not_analysed:
        return Answer.NOT_ANALYSED
    verdicts = {finding.verdict for finding in site_findings(result, site)}
    if suspicious := {verdict for verdict in verdicts if verdict.is_suspicious}:
        return Answer(max(suspicious, key=lambda verdict: verdict.severity))
    shown = told(result, {**phases, **dict.fromkeys(validated, Phase.LIVE)})
    is_negative = verdicts == {Verdict.NEGATIVE} and shown is not None and shown.answer is Answer.NEGATIVE
    return Answer.NEGATIVE if is_negative else Answer.INCOMPLETE
