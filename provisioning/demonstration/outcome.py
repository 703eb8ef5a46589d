"""What came of a demonstration: the closing table, pictures and texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import dcmread
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Engine, Select, func, or_, select

from appliance.domain.finding import Answer
from appliance.domain.job import State
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.study import StudyResult
from appliance.storage.studies import latest_study_result
from appliance.storage.tables import analyses, deliveries, instances, results
from provisioning.contact_sheet import write_contact_sheet

from .artefacts import png_from_secondary_capture, text_from_structured_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A radiograph of the demonstration: what it is called, and when its C-STORE began."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the closing table; `in_pacs_s` is of the first object about the radiograph."""

    name: str
    result: Result | None
    study: StudyResult | None
    code: str
    reason: str
    in_pacs_s: float | None


def bars(console: Console) -> Progress:
    """Progress with counts."""
    return Progress(
        TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def rows_of(engine: Engine, sent: dict[str, Sent]) -> Iterator[Row]:
    """What became of each radiograph that was sent, in the order of receipt."""
    joined = instances.join(analyses, analyses.c.instance_id == instances.c.id)
    with engine.connect() as c:
        for job in c.execute(
            select(instances.c.sop_instance_uid, analyses.c.id, analyses.c.code, analyses.c.reason)
            .select_from(joined)
            .order_by(analyses.c.id)
        ).all():
            of = sent.get(job.sop_instance_uid)
            if of is None:
                continue
            found = c.execute(_newest_result(job.id)).first()
            result = Result.from_json(found.record) if found else None
            study, arrived = None, None
            if found and result:
                _, study = latest_study_result(c, result.study_instance_uid) or (0, None)
                about = or_(deliveries.c.result_id == found.id, deliveries.c.study_result_id.is_not(None))
                arrived = c.execute(
                    select(func.min(deliveries.c.finished_at)).where(
                        deliveries.c.study_instance_uid == result.study_instance_uid,
                        about,
                        deliveries.c.destination == "pacs",
                        deliveries.c.state == State.DONE,
                    )
                ).scalar_one()
            yield Row(
                name=of.name,
                result=result,
                study=study,
                code=job.code,
                reason=job.reason,
                in_pacs_s=(arrived - of.at).total_seconds() if arrived else None,
            )


def _newest_result(analysis_id: int) -> Select[tuple[int, str]]:
    query = select(results.c.id, results.c.record).where(results.c.analysis_id == analysis_id)
    return query.order_by(results.c.id.desc())


def render(folder: Path, rows: list[Row], console: Console) -> None:
    """Pictures and texts of what the PACS got, under the numbers of the table, and one picture of all pictures."""
    (folder / "pictures").mkdir()
    (folder / "summaries").mkdir()
    (folder / "reports").mkdir()
    named: list[tuple[str, Path]] = []
    with bars(console) as progress:
        for number, row in enumerate(progress.track(rows, description="pictures"), 1):
            if row.result is None:
                continue
            overlay = folder / "pacs" / f"{row.result.uid('sc')}.dcm"
            if overlay.exists():
                picture = folder / "pictures" / f"{number:02}.png"
                png_from_secondary_capture(dcmread(overlay), picture)
                named.append((f"{number:02} {row.name}", picture))
            summary = folder / "pacs" / f"{row.study.uid('summary')}.dcm" if row.study else None
            if summary and summary.exists():
                png_from_secondary_capture(dcmread(summary), folder / "summaries" / f"{number:02}.png")
            report = folder / "pacs" / f"{row.study.uid('sr')}.dcm" if row.study else None
            if report and report.exists():
                (folder / "reports" / f"{number:02}.txt").write_text(text_from_structured_report(dcmread(report)))
    write_contact_sheet(named, folder / "contact_sheet.png")


COLOURS = {Answer.POSITIVE: "red", Answer.DOUBT: "yellow", Answer.NEGATIVE: "green", Answer.NOT_ANALYSED: "dim"}


def table_of(rows: list[Row], synthetic: bool) -> Table:
    """The closing table."""
    title = "SYNTHETIC: phantoms, read by networks trained on phantoms" if synthetic else None
    table = Table(title=title, caption=SECOND_READER)
    for name in ("no.", "radiograph", "site", "answer", "probability", "focus", "in PACS"):
        table.add_column(name, justify="left" if name in ("radiograph", "site", "answer") else "right")
    for number, row in enumerate(rows, 1):
        first = (str(number), escape(row.name))
        seconds = f"{row.in_pacs_s:.2f} s" if row.in_pacs_s is not None else "-"
        if row.result is None or not row.result.findings:
            table.add_row(*first, "-", f"[dim]not analysed: {escape(row.reason)}[/]", "-", "-", seconds)
            continue
        for k, f in enumerate(row.result.findings):
            answer = f"[{COLOURS[f.answer]}]{f.answer.label}[/]"
            numbers = (f.percent, f"{f.focus:.2f}", seconds if k == 0 else "")
            table.add_row(*(first if k == 0 else ("", "")), f.site.label, answer, *numbers)
    return table
