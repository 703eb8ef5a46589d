"""`osteon read`: analyse files without any network."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from appliance.config import Analyse, Configuration
from appliance.domain.result import SECOND_READER, Result
from appliance.errors import Rejected
from appliance.picture.overlay import overlay
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pipeline_of
from appliance.service.reading import Reading
from provisioning.contact_sheet import write_contact_sheet
from provisioning.radiograph_files import find_radiograph_files, pick_evenly, read_instance


def read_files(paths: list[Path], pack: str, folder: Path | None, limit: int | None, console: Console) -> None:
    """Analyse files and print a table with one answer, or the reason why there is none, per file.

    Parameters
    ----------
    pack
        Name or folder of a pack.
    folder
        Folder for the overlays, a contact sheet of them and ``results.json``; None: write nothing.
    limit
        Largest number of files, evenly spread; None: all.
    """
    reader = Reader(pipeline_of(Configuration(analyse=Analyse(pack=pack))))
    files = pick_evenly(find_radiograph_files(paths), limit)
    table = Table(caption=str(SECOND_READER))
    for name in ("file", "answer", "not read", "region", "verdict", "probability", "focus", "ms"):
        table.add_column(name, justify="right" if name in ("probability", "focus", "ms") else "left")
    records: list[dict[str, object]] = []
    pictures: list[tuple[str, Path]] = []
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    with closing(reader):  # at Ctrl-C, too: the reader's thread would wait for a file
        for number, file in enumerate(track(files, description="reading", console=console)):
            try:
                reading = reader.read(reader.examine(partial(read_instance, file)))
            except Rejected as error:
                table.add_row(escape(file.name), f"[dim]{escape(error.reason)}[/]", *("-",) * 6)
                records.append({"file": file.name, "rejected": {"code": error.code, "reason": error.reason}})
                continue
            _add_rows(table, file, reading)
            picture = None
            if folder and reading.grey is not None:
                picture = f"{number:04}_{file.stem}.png"
                result, heats = reading.analysis.result, reading.analysis.heats
                Image.fromarray(overlay(reading.grey, result, heats)).save(folder / picture)
                pictures.append((file.stem, folder / picture))
            records.append({"file": file.name, "picture": picture, **_record(reading.analysis.result)})
    if folder:
        write_contact_sheet(pictures, folder / "contact_sheet.png")
        (folder / "results.json").write_text(json.dumps(records, indent=1))
    console.print(table)


def _record(result: Result) -> dict[str, object]:
    """Return the answer of a file in words that need no rules to derive, beside the whole result.

    ``verdicts`` are in the order of the result's findings, which hold the mark of each.
    """
    return {
        "answer": result.answer.value,
        "verdicts": [f.verdict.value for f in result.findings],
        "not_analysed": str(result.not_analysed.reason) if result.not_analysed else None,
        "not_read": [str(each) for each in (*result.unread_sites, *result.incomplete)],
        "result": json.loads(result.to_json()),
    }


def _add_rows(table: Table, file: Path, reading: Reading) -> None:
    result = reading.analysis.result
    milliseconds = f"{sum(ms for _, ms in result.timings_ms):.0f}"
    if result.not_analysed:
        table.add_row(
            escape(file.name), f"[dim]not analysed: {escape(str(result.not_analysed.reason))}[/]", *("-",) * 6
        )
    unread = ", ".join(map(str, (*result.unread_sites, *result.incomplete))) or "-"
    for k, f in enumerate(result.findings):
        first = (escape(file.name), str(result.answer.label), unread) if k == 0 else ("", "", "")
        table.add_row(
            *first, str(f.place), str(f.verdict.label), f.percent, f"{f.focus:.2f}", milliseconds if k == 0 else ""
        )
