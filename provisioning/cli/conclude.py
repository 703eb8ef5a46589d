"""`osteon validate conclude`: final reports whose words leave open whether they tell of a fracture."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from appliance.domain.validation import Conclusion
from appliance.service.command import config_option

from .options import by_hand, configuration, out, own_configuration


@click.command()
@click.argument("report", type=int, required=False)
@click.argument("conclusion", type=click.Choice([one.value for one in Conclusion]), required=False)
@click.option("--reason", default="", help="Why; kept in the audit log. Name no patient.")
@config_option
def conclude(report: int | None, conclusion: str | None, reason: str, config_path: Path | None) -> None:
    """List the final reports that a person has to read, show the text of one, or write its conclusion.

    \b
    osteon validate conclude                  list them
    osteon validate conclude 7                show the text of report 7 on this terminal
    osteon validate conclude 7 fracture       write its conclusion: fracture, none or unsure
    """
    from appliance.reporting.hl7.report_text import DecisionCode, read_report_text
    from appliance.storage.conclusions import conclude as write_conclusion
    from appliance.storage.conclusions import left_to_a_person
    from appliance.storage.database import existing_database, open_database
    from appliance.storage.spool import FileSpool

    if report is not None and conclusion is not None:
        engine = open_database(own_configuration(config_path).database)
        write_conclusion(engine, report, Conclusion(conclusion), by_hand(reason))
        out.print(f"report {report} concludes: {conclusion}")
        return
    config = configuration(config_path)
    existing = existing_database(config.database)
    waiting = left_to_a_person(existing) if existing else []
    if report is None:
        table = Table("report", "received", "study")
        for one in waiting:
            table.add_row(str(one.report_id), f"{one.received_at.astimezone():%Y-%m-%d %H:%M}", f"study:{one.study_id}")
        out.print(table if waiting else "no report waits for a person")
        return
    found = next((one for one in waiting if one.report_id == report), None)
    if found is None or not found.digest:
        raise click.BadParameter(f"report {report} waits for nobody, or its message is removed", param_hint="REPORT")
    text = read_report_text(FileSpool(config.spool_dir).get(found.digest), DecisionCode()).text
    out.print(escape("".join(c if c.isprintable() or c == "\n" else " " for c in text)) or "the message holds no text")
