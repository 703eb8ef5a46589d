"""`osteon validate score`: the answers of the appliance against the reads of a sample."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from appliance.domain.validation import SampleKind
from appliance.service.command import config_option

from .options import as_text, configuration, out

if TYPE_CHECKING:
    from appliance.rollout.gate import Criterion
    from appliance.rollout.scoring import GroupScore, Score
    from appliance.rollout.statistics import Estimate, Rate
    from appliance.storage.scored import ScoredSample


@click.command()
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in SampleKind]),
    default=SampleKind.RANDOM.value,
    show_default=True,
    help="Kind of the sample, whose newest validation is scored.",
)
@click.option("--validation", "number", type=click.IntRange(1), help="Number of another validation.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_option
def score(kind: str, number: int | None, as_json: bool, config_path: Path | None) -> None:
    """Score a validation: rates with their intervals, and the gate criterion by criterion.

    An open validation shows its progress alone until its sample is full and read.
    """
    from appliance.domain.reason import ReasonCode
    from appliance.errors import Rejected
    from appliance.rollout.scoring import DEFINITIONS
    from appliance.service.pipeline_assembly import pack_of
    from appliance.storage.scored import find_validation, scored_sample
    from provisioning.operation.queues import reading

    config = configuration(config_path)
    classifiers = pack_of(config).classifiers
    with reading(config) as c:
        if c is None:
            raise Rejected(ReasonCode.NO_VALIDATION, "there is no database yet: osteon validate start")
        validation = find_validation(c, SampleKind(kind), number)
        clears = {site: site in classifiers and classifiers[site].clears for site in validation.sites}
        found = scored_sample(c, validation, clears)
    if as_json and not found.is_shown:
        click.echo(json.dumps(_progress_as_json(found), default=as_text))
        return
    if as_json:
        click.echo(json.dumps(_as_json(found) | {"definitions": DEFINITIONS}, default=as_text))
        return
    done = found.progress
    out.print(
        f"validation {validation.validation_id}, {validation.kind} sample of {', '.join(validation.sites)}: "
        f"{done.drawn} of {validation.size} drawn, {done.blinded} read blinded"
    )
    if not found.is_shown:
        out.print(_gate(found))
        return
    out.print(_rates(found.score))
    out.print(_coverage(found.score))
    if found.score.subgroups:
        out.print(_subgroups(found.score))
    for line in _further(found.score):
        out.print(line)
    out.print(_gate(found))
    for definition in DEFINITIONS:
        out.print(f"[dim]{definition}[/]")


def _progress_as_json(found: ScoredSample) -> dict[str, object]:
    record = {name: dataclasses.asdict(getattr(found, name)) for name in ("validation", "progress")}
    del record["validation"]["secret"]
    return record | {"gate": dataclasses.asdict(found.gate) | {"passes": []}}


def _as_json(found: ScoredSample) -> dict[str, object]:
    record = dataclasses.asdict(found)
    del record["validation"]["secret"], record["cases"]
    record["disagreements"] = [case.result_id for case in found.disagreements]
    record["gate"]["passes"] = [site for site in found.validation.sites if found.gate.passes(site)]
    return record


def _groups(of: Score) -> Iterable[tuple[str, GroupScore]]:
    yield "all", of.overall
    yield from of.sites.items()
    if of.unblinded:
        yield "unblinded", of.unblinded


def _rates(of: Score) -> Table:
    table = Table("", "accuracy", "sensitivity", "specificity", "PPV", "NPV", "AUROC", title="95% intervals")
    for name, group in _groups(of):
        for suffix, measures in (("", group.measures), (", possible as negative", group.doubt_as_negative)):
            shares = (measures.accuracy, measures.sensitivity, measures.specificity, measures.ppv, measures.npv)
            table.add_row(name + suffix, *map(_rate, shares), "" if suffix else _estimate(group.auroc))
    return table


def _coverage(of: Score) -> Table:
    table = Table("", "sampled", "answered", "incomplete", "not analysed", "read", "unsure", "unusable", "scored")
    table.add_column("fractures found of all")
    for name, group in _groups(of):
        cover = group.coverage
        counts = (cover.incomplete, cover.not_analysed, cover.read.k, cover.unsure, cover.unusable, cover.scored)
        table.add_row(name, str(cover.sampled), _rate(cover.answered), *map(str, counts), _rate(cover.fractures_found))
    return table


def _subgroups(of: Score) -> Table:
    table = Table("subgroup", "", "scored", "fractures", "accuracy", "sensitivity", "specificity")
    for one in of.subgroups:
        measures = one.score.measures
        counts = (one.score.coverage.scored, measures.sensitivity.n)
        shares = (measures.accuracy, measures.sensitivity, measures.specificity)
        table.add_row(one.kind, escape(one.name) or "unknown", *map(str, counts), *map(_rate, shares))
    return table


def _further(of: Score) -> Iterable[str]:
    if found := of.calibration:
        slope = _estimate(found.slope) if found.slope else "none: a limit separates the fractures from the others"
        yield (
            f"calibration: intercept {_estimate(found.intercept)} (ideal 0), slope {slope} (ideal 1), "
            f"expected error {found.expected_error:.3f}"
        )
    if same := of.consistency:
        yield (
            f"accuracy between sites: p = {same.p_value:.3f} (Fisher, Freeman, Halton); largest difference "
            f"{same.highest} to {same.lowest}: {_estimate(same.difference)}"
        )
        yield from (f"[yellow]{site} is less accurate than the other sites[/]" for site in same.apart)


def _gate(found: ScoredSample) -> Table:
    table = Table("gate", "criterion", "", title="needed before a site goes live")
    _add_criteria(table, "all", found.gate.overall)
    for site, criteria in found.gate.sites.items():
        _add_criteria(table, site, criteria)
        passes = found.gate.passes(site)
        table.add_row(site, "[bold]may go live[/]" if passes else "[bold]may not go live[/]", _mark(passes))
    return table


def _add_criteria(table: Table, name: str, criteria: Iterable[Criterion]) -> None:
    for criterion in criteria:
        table.add_row(name, criterion.sentence, _mark(criterion.passed))


def _mark(passed: bool) -> str:
    return "[green]yes[/]" if passed else "[red]no[/]"


def _rate(found: Rate) -> str:
    if found.point is None:
        return "-"
    return f"{found.k}/{found.n} {found.point:.1%} ({found.low:.1%} to {found.high:.1%})"


def _estimate(found: Estimate | None) -> str:
    return "-" if found is None else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
