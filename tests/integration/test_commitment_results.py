"""Commitment results that a PACS sends to the receiver on an association of its own (DICOM PS3.4 J.3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from appliance.dicom.scu.commitment import CommitmentResult
from tests.support.receiving import Receiving
from tests.support.waiting import wait_until


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    receiving = Receiving(tmp_path)
    yield receiving
    receiving.close()


@contextmanager
def association_of_pacs(port: int, *, proposes_role: bool = True) -> Iterator[Association]:
    ae = AE("PACS")
    ae.add_requested_context(StorageCommitmentPushModel)
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if proposes_role else []
    association = ae.associate("127.0.0.1", port, ae_title="OSTEON", ext_neg=roles)
    assert association.is_established
    yield association
    association.release()


def send_result(association: Association, result: Dataset) -> int | None:
    event_type = 2 if "FailedSOPSequence" in result else 1
    arguments = (result, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    status, _ = association.send_n_event_report(*arguments)
    return status.get("Status")


def item(uid: str, failure_reason: int | None = None) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.ReferencedSOPInstanceUID = uid
    if failure_reason is not None:
        ds.FailureReason = failure_reason
    return ds


@pytest.mark.parametrize("proposes_role", [True, False])
def test_commitment_result_is_accepted_with_and_without_a_proposed_role(
    proposes_role: bool, receiving: Receiving
) -> None:
    result = Dataset()
    result.TransactionUID = "1.2.3.4"
    result.ReferencedSOPSequence = [item("1.2.3.5"), item("1.2.3.6")]
    result.FailedSOPSequence = [item("1.2.3.7", 0x0112)]
    with association_of_pacs(receiving.port, proposes_role=proposes_role) as association:
        assert send_result(association, result) == 0x0000
    committed = frozenset({"1.2.3.5", "1.2.3.6"})
    assert receiving.commitment_results == [
        CommitmentResult(transaction_uid="1.2.3.4", committed=committed, failed={"1.2.3.7": 0x0112})
    ]


def test_commitment_result_without_transaction_is_refused_and_the_next_accepted(receiving: Receiving) -> None:
    unidentified = Dataset()
    identified = Dataset()
    unidentified.ReferencedSOPSequence = [item("1.2.3.5")]
    identified.TransactionUID = "1.2.3.4"
    with association_of_pacs(receiving.port) as association:
        assert send_result(association, unidentified) == 0x0115
        assert send_result(association, identified) == 0x0000
    assert [result.transaction_uid for result in receiving.commitment_results] == ["1.2.3.4"]
    (notice,) = receiving.notices
    assert notice.code == "malformed_message" and "(0115)" in notice.reason


def test_commitment_result_that_cannot_be_recorded_is_refused_and_noted(
    receiving: Receiving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: CommitmentResult) -> int:
        raise OSError("disk")

    monkeypatch.setattr(receiving.receiver, "_record_commitment", fail)
    identified = Dataset()
    identified.TransactionUID = "1.2.3.4"
    identified.ReferencedSOPSequence = [item("1.2.3.5")]
    with association_of_pacs(receiving.port) as association:
        assert send_result(association, identified) == 0x0110
    (notice,) = receiving.notices
    assert notice.code == "not_kept" and "OSError" in notice.reason and "(0110)" in notice.reason
    assert notice.reason in caplog.text


def test_too_long_commitment_result_aborts_the_association(receiving: Receiving) -> None:
    too_long = Dataset()
    too_long.TransactionUID = "1.2.3.4"
    too_long.ReferencedSOPSequence = [item(f"1.2.3.{n}") for n in range(20_000)]
    with association_of_pacs(receiving.port) as association:
        assert send_result(association, too_long) is None
    wait_until(lambda: [n.code for n in receiving.notices] == ["malformed_message"], "the violation to be noted")
    assert receiving.commitment_results == []
