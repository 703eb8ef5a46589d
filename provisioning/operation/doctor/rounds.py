"""Runs checks side by side: a deadline ends the wait for each, and no error ends the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from appliance.errors import OsteonError
from appliance.service.unexpected_error import without_patients_data

from .finding import Check, Finding

DEADLINE_S = 30.0
"""Time for each check; clients of peers have shorter limits of their own."""


def run_checks(checks: Sequence[Check], deadline_s: float = DEADLINE_S) -> Iterator[Finding]:
    """Run the checks on threads; yield the findings in the order of the checks."""
    rounds = [_Round(check) for check in checks]
    end = time.monotonic() + deadline_s
    for one in rounds:
        one.thread.join(max(0.0, end - time.monotonic()))
        yield from one.findings(deadline_s)


class _Round:
    """One check on its thread, which does not keep the process from ending."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._found: list[Finding] | None = None
        self.thread = threading.Thread(target=self._look, name=check.name, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        try:
            self._found = list(self._check.look())
        except OsteonError as error:
            effect = "the role that needs it cannot start or work"
            self._found = [Finding.error(self._check.name, error.reason, effect, error.code.remedy)]
        except Exception as error:  # noqa: BLE001  # a check that fails is a finding
            words = f"the check itself failed: {without_patients_data(error)}"
            self._found = [Finding.warning(self._check.name, words, "this part is not known", "report it as a bug")]

    def findings(self, deadline_s: float) -> list[Finding]:
        if self._found is not None:
            return self._found
        words = f"no result within {deadline_s:g} s"
        return [Finding.warning(self._check.name, words, "this part is not known", "run the doctor again")]
