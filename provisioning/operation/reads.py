"""Reads from elsewhere for the sample of a validation: a table of gold-standard reads, and final reports."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.dicom.reading.attributes import text
from appliance.domain.audit import Intervention
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import ConcludedBy, Conclusion, Read, ReadAnswer, ReadMark, ReadSource, SampleKind
from appliance.errors import Rejected
from appliance.service.instance_reader import HeaderReader
from appliance.storage.conclusions import conclusions_of_studies
from appliance.storage.database import readers
from appliance.storage.reads import Drawn, drawn_of, import_reads
from appliance.storage.spool import FileSpool
from appliance.storage.validations import require_open

COLUMNS: Final = ("study", "accession", "answer", "marks", "reader")

LARGEST_BYTES: Final = 10_000_000

LONGEST_READER: Final = 64
"""Characters of the name of a reader."""

OF_REPORTS: Final = "final report"
"""Reader of the reads that are taken from final reports."""

SEVERAL: Final = "names several studies of the sample: give the study's UID"

_ANSWERS: Final = {
    Conclusion.FRACTURE: ReadAnswer.FRACTURE,
    Conclusion.NONE: ReadAnswer.NONE,
    Conclusion.UNSURE: ReadAnswer.UNSURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table of reads.

    Attributes
    ----------
    line
        Its line in the file, from 2.
    refused
        Why it cannot be used; empty if it can.
    """

    line: int
    study: str = ""
    accession: str = ""
    read: Read | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The outcome of an import.

    Attributes
    ----------
    written
        Number of reads that were written.
    refusals
        Why the others were not, by line of the file.
    open_reports
        Studies of the sample whose report is left to a person.
    without_report
        Studies of the sample without a final report that was read.
    """

    written: int
    refusals: Mapping[int, str]
    open_reports: int = 0
    without_report: int = 0


def import_table(config: Configuration, engine: Engine, path: Path, kind: SampleKind, by: Intervention) -> Imported:
    """Write the reads of a CSV file to the sample of the open validation of a kind.

    Raises
    ------
    Rejected
        ``reads_file`` if the file is no such table; ``no_validation``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Rejected(ReasonCode.READS_FILE, f"the file cannot be read: {error.strerror}") from error
    rows = list(rows_of(content))
    draws = _draws(engine, kind)
    studies: dict[str, list[Drawn]] = {}
    accessions: dict[str, list[Drawn]] = {}
    for one in draws:
        studies.setdefault(one.study_instance_uid, []).append(one)
    if any(row.accession for row in rows):
        accessions = _by_accession(config, draws)
    refusals, found = {}, []
    for row in rows:
        named = studies.get(row.study, []) if row.study else accessions.get(row.accession, [])
        if row.refused or len(named) != 1 or row.read is None:
            refusals[row.line] = row.refused or (SEVERAL if named else "names no study of the sample")
        else:
            found.append((row.line, named[0].draw_id, row.read))
    digest = hashlib.sha256(content).hexdigest()
    said = import_reads(engine, kind, [(draw, read) for _, draw, read in found], by, f"a table, SHA-256 {digest}")
    refusals |= {line: why for (line, _, _), why in zip(found, said, strict=True) if why}
    return Imported(written=said.count(""), refusals=dict(sorted(refusals.items())))


def import_reports(engine: Engine, kind: SampleKind, by: Intervention) -> Imported:
    """Write the conclusions of final reports as reads of what nobody has read; raises ``no_validation``."""
    draws = [one for one in _draws(engine, kind) if not one.is_read]
    with readers(engine).connect() as c:
        reports = conclusions_of_studies(c)
    found, is_open = [], 0
    for one in draws:
        report = reports.get(one.study_instance_uid)
        if report is None or report.conclusion is None:
            continue
        if report.conclusion is Conclusion.UNSURE and report.concluded_by is ConcludedBy.PATTERNS:
            is_open += 1
            continue
        read = Read(reader=OF_REPORTS, source=ReadSource.HL7, answer=_ANSWERS[report.conclusion])
        found.append((one.draw_id, read))
    said = import_reads(engine, kind, found, by, "final reports")
    without = len(draws) - len(found) - is_open
    return Imported(written=said.count(""), refusals={}, open_reports=is_open, without_report=without)


def rows_of(content: bytes) -> Iterator[Row]:
    """Yield the rows of a CSV file in UTF-8 whose first line names its columns, with commas or semicolons.

    Raises
    ------
    Rejected
        ``reads_file`` if it is no such table.
    """
    if len(content) > LARGEST_BYTES:
        raise Rejected(ReasonCode.READS_FILE, f"the file is larger than {LARGEST_BYTES // 1_000_000} MB")
    try:
        lines = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Rejected(ReasonCode.READS_FILE, "the file is not in UTF-8: export it as CSV UTF-8") from None
    first = lines.partition("\n")[0]
    table = csv.reader(io.StringIO(lines, newline=""), delimiter=";" if ";" in first else ",", strict=True)
    try:
        names = [name.strip().lower() for name in next(table, [])]
        _check_columns(names)
        for cells in table:
            if any(cell.strip() for cell in cells):
                yield _row(names, [cell.strip() for cell in cells], table.line_num)
    except csv.Error as error:
        raise Rejected(ReasonCode.READS_FILE, f"line {table.line_num} of the file is no CSV: {error}") from error


def _check_columns(names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in COLUMNS]:
        shown = ", ".join(repr(name) for name in unknown)
        reason = f"the columns {shown} are unknown: write a first line of {', '.join(COLUMNS)}"
        raise Rejected(ReasonCode.READS_FILE, reason)
    if len(set(names)) < len(names) or "answer" not in names or not {"study", "accession"} & set(names):
        reason = (
            "the first line has to name each column once: study or accession, answer, and if you like marks, reader"
        )
        raise Rejected(ReasonCode.READS_FILE, reason)


def _row(names: Sequence[str], cells: Sequence[str], line: int) -> Row:
    if len(cells) != len(names):
        return Row(line=line, refused=f"has {len(cells)} fields instead of {len(names)}")
    given = dict(zip(names, cells, strict=True))
    study, accession = given.get("study", ""), given.get("accession", "")
    marks = [mark for mark in re.split(r"[\s,;+]+", given.get("marks", "").lower()) if mark]
    reader = given.get("reader", "") or "table"
    if not (study or accession):
        return Row(line=line, refused="names neither study nor accession")
    if given["answer"].lower() not in list(ReadAnswer):
        return Row(line=line, refused=f"has no answer: write {', '.join(ReadAnswer)}")
    if unknown := [mark for mark in marks if mark not in list(ReadMark)]:
        return Row(line=line, refused=f"has {len(unknown)} unknown marks: write some of {', '.join(ReadMark)}")
    if not reader.isprintable() or len(reader) > LONGEST_READER:
        return Row(line=line, refused=f"has a reader of more than {LONGEST_READER} printable characters")
    answer = ReadAnswer(given["answer"].lower())
    read = Read(reader=reader, source=ReadSource.CSV, answer=answer, marks=tuple(map(ReadMark, dict.fromkeys(marks))))
    return Row(line=line, study=study, accession=accession, read=read)


def _draws(engine: Engine, kind: SampleKind) -> list[Drawn]:
    with readers(engine).connect() as c:
        return drawn_of(c, require_open(c, kind).validation_id)


def _by_accession(config: Configuration, draws: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """Return the radiographs of the sample by accession number, which the database does not have: by their headers."""
    found: dict[str, list[Drawn]] = {}
    spool = FileSpool(config.spool_dir)
    with closing(HeaderReader(config.analyse)) as headers:
        for one in draws:
            if not one.digest:
                continue
            try:
                source = headers.source(partial(spool.get, one.digest), one.calling_ae_title)
            except Rejected:  # its read can be given by the study's UID
                continue
            if number := text(source, "AccessionNumber").strip():
                found.setdefault(number, []).append(one)
    return found
