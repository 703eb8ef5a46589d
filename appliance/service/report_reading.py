"""Reads final radiologist reports for their conclusion, and for a decision about our answer."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from appliance.config import Hl7Listener
from appliance.domain.validation import Conclusion, DecisionSource
from appliance.errors import Transient
from appliance.reporting.hl7.report_text import DecisionCode, ReportText, read_report_text
from appliance.rollout.conclusions import conclusion_of
from appliance.storage.conclusions import FinalReport, record_conclusion, unread_reports
from appliance.storage.decisions import record_decision
from appliance.storage.spool import FileSpool, SpoolDamaged

AT_A_TIME = 20
"""Reports read in a step."""

log = logging.getLogger(__name__)


def decision_code(config: Hl7Listener | None) -> DecisionCode:
    """Return the OBX by which reports carry decisions at this site."""
    if config is None:
        return DecisionCode()
    return DecisionCode(code=config.decision_code, accepted=config.accepted, rejected=config.rejected)


class ReportReading:
    """Reads the reports that wait, some a step; nothing of their text is kept or logged."""

    def __init__(self, engine: Engine, spool: FileSpool, decision_code: DecisionCode) -> None:
        self._engine = engine
        self._spool = spool
        self._decision_code = decision_code

    def step(self) -> bool:
        """Read some reports; return True if there may be more."""
        waiting = unread_reports(self._engine, AT_A_TIME)
        try:
            for report in waiting:
                self._read(report)
        except Transient as error:
            log.warning("radiologist reports cannot be read now: %s", error.reason)
            return False
        return len(waiting) == AT_A_TIME

    def _read(self, report: FinalReport) -> None:
        content = self._content(report)
        is_judged = content.text and content.is_of_one_order
        conclusion = conclusion_of(content.text, content.impression) if is_judged else Conclusion.UNSURE
        with self._engine.begin() as c:
            record_conclusion(c, report.report_id, conclusion)
            if content.decision:
                record_decision(c, report.study_instance_uid, content.decision, DecisionSource.HL7, report.digest)
        log.info("report %d concludes: %s", report.report_id, conclusion)

    def _content(self, report: FinalReport) -> ReportText:
        """Return the text of a report; none if its message is lost, so that a person looks.

        Raises
        ------
        Transient
            If the spool cannot be read now.
        """
        try:
            return read_report_text(self._spool.get(report.digest), self._decision_code)
        except SpoolDamaged as error:
            log.warning("the message of report %d is lost: %s", report.report_id, error.reason)
            return ReportText()
