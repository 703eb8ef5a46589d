"""The outcome of a demonstration: the closing table, and the artefacts as pictures and texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import Dataset, dcmread
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Connection, Engine

from appliance.domain.finding import Answer
from appliance.domain.job import State
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.study import StudyResult
from appliance.storage.overview import all_instances, deliveries_by_study
from appliance.storage.studies import latest_study_result
from provisioning.contact_sheet import write_contact_sheet

from .artefacts import png_from_secondary_capture, text_from_structured_report


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRadiograph:
    """A radiograph that the demonstration sent.

    Attributes
    ----------
    name
        For people.
    sent_at
        Beginning of its C-STORE, UTC.
    """

    name: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """One radiograph in the closing table.

    Attributes
    ----------
    result, study
        Newest result of the radiograph and of its study; None if it was not analysed.
    code, reason
        Reason why it was not analysed; empty if it was.
    in_pacs_s
        Seconds from its C-STORE until the PACS had the first artefact about it; None if none has arrived.
    """

    name: str
    result: Result | None
    study: StudyResult | None
    code: str
    reason: str
    in_pacs_s: float | None


def progress_bars(console: Console) -> Progress:
    """Return progress bars that show counts and the time elapsed."""
    return Progress(
        TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def outcome_rows(engine: Engine, sent: dict[str, SentRadiograph]) -> Iterator[OutcomeRow]:
    """Yield the outcome of each sent radiograph in the order of receipt.

    Parameters
    ----------
    sent
        SOP Instance UID -> radiograph.
    """
    with engine.connect() as c:
        for instance in all_instances(c):
            radiograph = sent.get(instance.sop_instance_uid)
            if radiograph is None:
                continue
            result, study, in_pacs_s = None, None, None
            if instance.newest:
                result = instance.newest.result
                _, study = latest_study_result(c, result.study_instance_uid) or (0, None)
                arrived_at = _first_arrival(c, result.study_instance_uid, instance.newest.result_id)
                in_pacs_s = (arrived_at - radiograph.sent_at).total_seconds() if arrived_at else None
            yield OutcomeRow(
                name=radiograph.name,
                result=result,
                study=study,
                code=instance.code,
                reason=instance.reason,
                in_pacs_s=in_pacs_s,
            )


def _first_arrival(c: Connection, study_instance_uid: str, result_id: int) -> datetime | None:
    """Return the time at which the PACS had the first artefact about a radiograph or its study."""
    of_study = deliveries_by_study(c, [study_instance_uid]).get(study_instance_uid, [])
    arrivals = [
        delivery.finished_at
        for delivery in of_study
        if (delivery.result_id == result_id or delivery.study_result_id is not None)
        and delivery.destination == "pacs"
        and delivery.state is State.DONE
        and delivery.finished_at
    ]
    return min(arrivals, default=None)


def write_pictures(folder: Path, rows: list[OutcomeRow], console: Console) -> None:
    """Write the artefacts that the PACS received as pictures and texts, and a contact sheet of the overlays.

    File names are the numbers of the rows in the closing table.
    """
    (folder / "pictures").mkdir()
    (folder / "summaries").mkdir()
    (folder / "reports").mkdir()
    named: list[tuple[str, Path]] = []
    reports = _reports(folder / "pacs")
    with progress_bars(console) as progress:
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
            if row.study and (report := reports.get(row.study.study_instance_uid)):
                (folder / "reports" / f"{number:02}.txt").write_text(text_from_structured_report(report))
    write_contact_sheet(named, folder / "contact_sheet.png")


def _reports(pacs: Path) -> dict[str, Dataset]:
    """Return the last structured report on each study that the archive holds, by Study Instance UID."""
    reports = [ds for ds in map(dcmread, pacs.glob("*.dcm")) if ds.Modality == "SR"]
    reports.sort(key=lambda ds: (ds.ContentDate, ds.ContentTime))
    return {str(ds.StudyInstanceUID): ds for ds in reports}


COLOURS = {
    Answer.POSITIVE: "red",
    Answer.DOUBT: "yellow",
    Answer.INCOMPLETE: "yellow",
    Answer.NEGATIVE: "default",
    Answer.NOT_ANALYSED: "dim",
}
"""Colours of the answers in the terminal, as rich names them."""


def closing_table(rows: list[OutcomeRow], synthetic: bool) -> Table:
    """Return the closing table: one line per finding, or one line for a radiograph without findings.

    The first line of a radiograph has its answer and the names of what was not read or not cleared.
    """
    title = "SYNTHETIC: phantoms, read by networks trained on phantoms" if synthetic else None
    table = Table(title=title, caption=str(SECOND_READER))
    columns = "no.,radiograph,answer,not read or cleared,region,verdict,probability,focus,in PACS"
    for name in columns.split(","):
        numeric = name in ("no.", "probability", "focus", "in PACS")
        table.add_column(name, justify="right" if numeric else "left")
    for number, row in enumerate(rows, 1):
        first = (str(number), escape(row.name))
        seconds = f"{row.in_pacs_s:.2f} s" if row.in_pacs_s is not None else "-"
        if row.result is None or not row.result.findings:
            table.add_row(*first, f"[dim]not analysed: {escape(row.reason)}[/]", *("-",) * 5, seconds)
            continue
        answer = row.result.answer
        unread = ", ".join(map(str, (*row.result.unread_sites, *row.result.incomplete))) or "-"
        described = (*first, f"[{COLOURS[answer]}]{answer.label}[/]", unread)
        for k, f in enumerate(row.result.findings):
            numbers = (f.percent, f"{f.focus:.2f}", seconds if k == 0 else "")
            table.add_row(*(described if k == 0 else ("",) * 4), str(f.place), str(f.verdict.label), *numbers)
    return table
