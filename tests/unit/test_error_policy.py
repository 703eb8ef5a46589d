"""Error policy: the kind of an exception decides the next step of a job."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from appliance.domain.reason import ReasonCode
from appliance.errors import Away, Fault, OsteonError, Rejected, Transient
from appliance.service.error_policy import Action, decide
from appliance.service.unexpected_error import without_patients_data
from appliance.storage.spool import SpoolDamaged
from engines.runner import RunnerError
from kernels.operations import KernelError


def raised(error: Exception) -> Exception:
    """Return `error` with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (SpoolDamaged(ReasonCode.SPOOL_MISSING, "lost"), Action.PARK),
        (Rejected(ReasonCode.UNREADABLE, "no DICOM"), Action.DECLINE),
        (Transient(ReasonCode.DISK_FULL, "full"), Action.BACK_OFF),
        (Away(ReasonCode.UNREACHABLE, "off"), Action.BACK_OFF),
        (OsteonError(ReasonCode.BUG, "in the child process"), Action.RETRY),
    ],
)
def test_error_of_osteon_is_recorded_with_its_action(error: OsteonError, action: Action) -> None:
    decision = decide(error, "analysis 7", rejected=Action.DECLINE)
    assert (decision.action, decision.error) == (action, error)


def test_rejected_job_is_parked_unless_the_role_declines() -> None:
    assert decide(Rejected(ReasonCode.NO_RADIOGRAPHS, "none"), "study 7").action is Action.PARK


@pytest.mark.parametrize("error", [Fault(ReasonCode.TLS, "no key"), OperationalError("INSERT", {}, Exception("full"))])
def test_error_at_which_the_role_stops_is_raised(error: Exception) -> None:
    with pytest.raises((Fault, SQLAlchemyError)) as caught:
        decide(error, "analysis 7")
    assert caught.value is error


@pytest.mark.parametrize("error", [RunnerError("logit is not finite"), KernelError("no memory")])
def test_engine_failure_stops_the_role_with_a_fault(error: Exception) -> None:
    with pytest.raises(Fault, match=str(error)) as caught:
        decide(error, "analysis 7")
    assert caught.value.code is ReasonCode.ENGINE_FAILED


def test_outcome_that_the_database_refuses_is_no_trouble_of_the_disk() -> None:
    """It concerns one job: that is parked after its last attempt, and the others go on."""
    decision = decide(raised(IntegrityError("INSERT", {}, Exception("UNIQUE"))), "analysis 7")
    assert (decision.action, decision.error.code) == (Action.RETRY, ReasonCode.BUG)


def test_unexpected_error_is_recorded_and_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    decision = decide(raised(KeyError("Doe^Jane")), "analysis 7")
    assert (decision.action, decision.error.code) == (Action.RETRY, ReasonCode.BUG)
    assert "KeyError at test_error_policy.py" in decision.error.reason
    assert "analysis 7 failed: KeyError at test_error_policy.py" in caplog.text
    assert "Doe" not in caplog.text + decision.error.reason


def test_text_of_an_unexpected_error_is_left_out() -> None:
    assert without_patients_data(RunnerError("logit is not finite")) == "logit is not finite"
    assert without_patients_data(raised(ValueError("Doe^Jane"))).startswith("ValueError at test_error_policy.py:")
