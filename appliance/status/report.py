"""The report of a validation: one sealed HTML file that needs nothing else, and its entry in the audit log.

It names pack, fingerprints, settings and every radiograph by the id and digest of its result, and no patient. It shows
the radiographs about which appliance and radiologist disagree, so it is kept where such pictures may be kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

import jinja2
from sqlalchemy import Connection, Engine

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.audit import FIRST, AuditAction, Intervention
from appliance.domain.finding import Answer, percent
from appliance.domain.result import SECOND_READER
from appliance.errors import OsteonError
from appliance.rollout.gate import explanations
from appliance.rollout.scoring import DEFINITIONS, Case
from appliance.storage.audit import head, record
from appliance.storage.evidence import Evidence, evidence
from appliance.storage.scored import ScoredSample
from appliance.storage.spool import FileSpool

from .score_figures import FILTERS, READ_NAMES, ScoreFigures, score_figures
from .seal import UNSEALED, detail_of, seal

MOST_PICTURES: Final = 60
"""Disagreements that are shown as pictures, the gravest first; the case list has all."""

STATIC: Final = Path(__file__).parent / "static"

SHEETS: Final = ("page.css", "charts.css", "report.css")
"""Style sheets that the file holds a copy of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A radiograph about which the appliance and its reader disagree.

    Attributes
    ----------
    picture
        The radiograph with the marks of the appliance as data URI; empty if it is not kept any more, or left out.
    has_burned_in_text
        Whether its picture is left out, since text that identifies the patient is in the pixels.
    """

    case: Case
    findings: str
    picture: str
    has_burned_in_text: bool

    @property
    def is_missed(self) -> bool:
        """Whether the reader saw a fracture that the appliance did not find."""
        return bool(self.case.truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The content of a report.

    Attributes
    ----------
    sample
        The validation and its score.
    disagreements
        Missed fractures first, those of lowest probability before others; then false alarms, those of highest first.
    readers
        Reads by reader and source.
    models, computes, versions
        Packs, hardware and software that made the results of the sample.
    settings_digest
        SHA-256 of the table ``[analyse]`` of the configuration.
    is_synthetic
        Whether a pack was trained on phantoms.
    """

    sample: ScoredSample
    figures: ScoreFigures
    evidence: Mapping[int, Evidence]
    disagreements: tuple[Disagreement, ...]
    readers: Mapping[tuple[str, str], int]
    models: tuple[str, ...]
    computes: tuple[str, ...]
    versions: tuple[str, ...]
    settings_digest: str
    is_synthetic: bool


def collect_report(c: Connection, spool: FileSpool, config: Configuration, sample: ScoredSample) -> Report:
    """Read what a report holds; a picture that the spool has no more is left out."""
    found = evidence(c, sample.validation.validation_id)
    made_by = [one.result.provenance for one in found.values()]
    reads = Counter((one.reader, one.source.value) for one in found.values() if one.reader and one.source)
    return Report(
        sample=sample,
        figures=score_figures(sample.cases, sample.score),
        evidence=found,
        disagreements=tuple(_disagreement(case, found[case.result_id], spool) for case in _gravest(sample)),
        readers=dict(sorted(reads.items())),
        models=tuple(sorted({f"{p.model} SHA-256 {p.pack_digest}" for p in made_by})),
        computes=tuple(sorted({p.compute for p in made_by})),
        versions=tuple(sorted({p.software_version for p in made_by})),
        settings_digest=settings_digest(config),
        is_synthetic=any(p.pack_is_synthetic for p in made_by),
    )


def write_report(writer: Engine, report: Report, by: Intervention) -> bytes:
    """Return the sealed file of a report, after the audit log has recorded its digest."""
    with writer.begin() as c:
        newest = head(c)
        content, digest = seal(render(report, by.person, now(), newest.digest if newest else FIRST))
        subject = f"validation:{report.sample.validation.validation_id}"
        record(c, by, AuditAction.WRITE_REPORT, subject, detail_of(digest))
    return content


def render(report: Report, person: str, at: datetime, audit_head: str) -> str:
    """Return the page of a report, not sealed yet."""
    return _template().render(
        report=report,
        sample=report.sample,
        figures=report.figures,
        person=person,
        at=at,
        audit_head=audit_head,
        seal_place=UNSEALED,
        sheets=[(STATIC / name).read_text() for name in SHEETS],
        definitions=DEFINITIONS,
        explanations=explanations(),
        second_reader=SECOND_READER,
        answer_kinds=tuple(Answer),
        read_names=READ_NAMES,
    )


def settings_digest(config: Configuration) -> str:
    """Return the SHA-256 of the settings that the analysis depends on, as canonical JSON."""
    settings = config.analyse.model_dump(mode="json")
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _gravest(sample: ScoredSample) -> list[Case]:
    """Return the disagreements that are shown, the gravest first."""
    found = sample.disagreements
    missed = sorted((case for case in found if case.truth), key=_probability)
    alarms = sorted((case for case in found if not case.truth), key=_probability, reverse=True)
    return [*missed, *alarms][:MOST_PICTURES]


def _probability(case: Case) -> float:
    return case.probability or 0.0


def _disagreement(case: Case, found: Evidence, spool: FileSpool) -> Disagreement:
    findings = (
        f"{finding.place} {finding.verdict.label} {percent(finding.probability)}" for finding in found.result.findings
    )
    return Disagreement(
        case=case,
        findings="; ".join(findings),
        picture="" if found.has_burned_in_text else _picture(found.picture_digest, spool),
        has_burned_in_text=found.has_burned_in_text,
    )


def _picture(digest: str, spool: FileSpool) -> str:
    """Return a kept picture as data URI; empty if there is none or retention has removed it."""
    with suppress(OsteonError):
        return f"data:image/png;base64,{base64.b64encode(spool.get(digest)).decode()}" if digest else ""
    return ""


@cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("appliance.status")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= FILTERS
    return environment.get_template("report.html")
