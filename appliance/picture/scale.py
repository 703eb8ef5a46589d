"""The scale of five steps, which pictures show instead of a probability."""

from __future__ import annotations

from appliance.domain.finding import Finding, Verdict


def step_of(finding: Finding) -> int:
    """Return the step of a finding, 1 to 5, between the operating points of its site.

    1 and 2 lie below `doubt`, 3 is a possible fracture, 4 and 5 are a suspected one; so that a step means the same at
    every site, although the operating points differ.
    """
    p = finding.probability
    if finding.verdict is Verdict.POSITIVE:
        return 5 if p >= (1 + finding.positive) / 2 else 4
    if finding.verdict is Verdict.DOUBT:
        return 3
    return 2 if p >= finding.doubt / 2 else 1
