"""Reports of storage commitment at our listener, which a PACS opens an association of its own for."""

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
    made = Receiving(tmp_path)
    yield made
    made.close()


@contextmanager
def archive(port: int, *, proposes_its_role: bool = True) -> Iterator[Association]:
    ae = AE("PACS")
    ae.add_requested_context(StorageCommitmentPushModel)
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if proposes_its_role else []
    association = ae.associate("127.0.0.1", port, ae_title="OSTEON", ext_neg=roles)
    assert association.is_established
    yield association
    association.release()


def reported(association: Association, report: Dataset) -> int | None:
    event_type = 2 if "FailedSOPSequence" in report else 1
    arguments = (report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    status, _ = association.send_n_event_report(*arguments)
    return status.get("Status")


def item(uid: str, failure_reason: int | None = None) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", uid
    if failure_reason is not None:
        ds.FailureReason = failure_reason
    return ds


@pytest.mark.parametrize("proposes_its_role", [True, False])
def test_a_report_is_taken_from_who_proposes_the_role_and_from_who_forgets_to(
    proposes_its_role: bool, receiving: Receiving
) -> None:
    report = Dataset()
    report.TransactionUID = "1.2.3.4"
    report.ReferencedSOPSequence = [item("1.2.3.5"), item("1.2.3.6")]
    report.FailedSOPSequence = [item("1.2.3.7", 0x0112)]
    with archive(receiving.port, proposes_its_role=proposes_its_role) as association:
        assert reported(association, report) == 0x0000
    committed = frozenset({"1.2.3.5", "1.2.3.6"})
    assert receiving.reports == [
        CommitmentResult(transaction_uid="1.2.3.4", committed=committed, failed={"1.2.3.7": 0x0112})
    ]


def test_a_report_without_its_transaction_is_refused_and_the_association_goes_on(receiving: Receiving) -> None:
    nameless, good = Dataset(), Dataset()
    nameless.ReferencedSOPSequence = [item("1.2.3.5")]
    good.TransactionUID = "1.2.3.4"
    with archive(receiving.port) as association:
        assert reported(association, nameless) == 0x0115
        assert reported(association, good) == 0x0000
    assert [r.transaction_uid for r in receiving.reports] == ["1.2.3.4"]


def test_a_report_that_is_longer_than_any_can_be_ends_the_association(receiving: Receiving) -> None:
    endless = Dataset()
    endless.TransactionUID = "1.2.3.4"
    endless.ReferencedSOPSequence = [item(f"1.2.3.{n}") for n in range(20_000)]
    with archive(receiving.port) as association:
        assert reported(association, endless) is None
    wait_until(lambda: [n.code for n in receiving.notices] == ["malformed_message"], "the violation to be noted")
    assert receiving.reports == []
