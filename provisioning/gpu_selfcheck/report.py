"""The report as text and as JSON, whole after each step."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

from .step import Place, Report

NO_GPU = "NO GPU: a stand-in for the driver computes on the CPU, and nothing here was seen on a card"


class Writer:
    """The files report.txt and report.json in the folder of a check."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._head = {
            "osteon": version("osteon"),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "stand_in": place.stand_in,
        }
        self.reports: list[Report] = []

    def add(self, report: Report) -> str:
        """Write the report with this step; return the step's lines."""
        self.reports.append(report)
        steps = [asdict(each) for each in self.reports]
        (self._place.folder / "report.json").write_text(json.dumps(self._head | {"steps": steps}, indent=1) + "\n")
        title = f"Self-check of the GPU, Osteon {self._head['osteon']}, {self._head['at']}"
        head = [title, *([NO_GPU] if self._place.stand_in else [])]
        lines = [*head, *map(_lines, self.reports)]
        (self._place.folder / "report.txt").write_text("\n".join(lines) + "\n")
        return "\n".join([*head, _lines(report)] if len(self.reports) == 1 else [_lines(report)])


def _lines(report: Report) -> str:
    first = f"{report.name:<10} {report.outcome:<14} {report.seconds:6.1f} s  {report.about}"
    rest = [f"    {report.fault}"] if report.fault else []
    return "\n".join([first, *rest, *(f"    {name}: {_value(value)}" for name, value in report.figures.items())])


def _value(value: object) -> str:
    return ", ".join(f"{n} {_value(v)}" for n, v in value.items()) if isinstance(value, dict) else str(value)
