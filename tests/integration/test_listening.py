"""Configurations that keep Osteon from listening: `osteon check` finds them, and a start names their key."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from appliance.config import MEGABYTE, Configuration
from appliance.errors import Fault
from appliance.service.roles.status import StatusRole
from appliance.storage.database import open_database
from provisioning.operation.check import find_doubts, find_problems
from tests.support.certificates import Authority
from tests.support.receiving import Receiving

ABSENT = "203.0.113.7"
"""An address of no machine (RFC 5737)."""


def problems_of(**receive: Any) -> list[str]:
    return find_problems(Configuration.model_validate({"receive": receive}))


def test_defaults_and_listed_peers_have_no_problem() -> None:
    assert problems_of() == []
    assert problems_of(host="0.0.0.0", peers=[{"address": "192.0.2.0/24"}]) == []


@pytest.mark.parametrize(
    ("receive", "expected"),
    [
        ({"host": "no.such.host.invalid"}, "receive.host: cannot listen on 'no.such.host.invalid'"),
        ({"host": ABSENT, "peers": [{"address": "192.0.2.7"}]}, f"receive.host: cannot listen on '{ABSENT}'"),
        ({"peers": []}, "receive.peers: no peer may associate"),
        ({"host": "0.0.0.0"}, "receive.peers: only this machine may associate, although Osteon listens on 0.0.0.0"),
    ],
)
@pytest.mark.proves("SEC-1")
def test_unusable_host_and_missing_peers_are_found(receive: dict[str, Any], expected: str) -> None:
    (problem,) = problems_of(**receive)
    assert problem.startswith(expected)


def doubts_of(receive: dict[str, Any], **destination: Any) -> list[str]:
    pacs = {"kind": "dicom", "name": "pacs", "host": "192.0.2.10", "port": 104, "called_ae_title": "PACS"}
    values = {"receive": receive, "destinations": [pacs | {"proof": "commitment"} | destination]}
    return find_doubts(Configuration.model_validate(values))


def test_archive_that_may_not_associate_to_report_commitment_is_doubted() -> None:
    right = {"host": "0.0.0.0", "peers": [{"address": "192.0.2.0/24"}], "also_called": ["OTHER"]}
    assert doubts_of(right) == doubts_of(right, calling_ae_title="OTHER") == doubts_of({}, proof="find") == []
    (stranger,) = doubts_of({})
    assert "192.0.2.10" in stranger and "receive.peers" in stranger
    (misnamed,) = doubts_of(right, calling_ae_title="NOBODY")
    assert "NOBODY" in misnamed and "receive.also_called" in misnamed


def test_listed_senders_that_cannot_reach_a_loopback_host_are_doubted() -> None:
    def doubts(**receive: Any) -> list[str]:
        return find_doubts(Configuration.model_validate({"receive": receive}))

    remote = {"peers": [{"address": "192.0.2.10"}]}
    sentence = "{}.host is 127.0.0.1, so no listed sender on another machine reaches it: set 0.0.0.0"
    assert doubts(**remote) == [sentence.format("receive")]
    assert doubts(hl7={"port": 2575, "peers": ["192.0.2.0/24"]}) == [sentence.format("receive.hl7")]
    assert doubts() == doubts(**remote, host="0.0.0.0") == doubts(peers=[]) == []
    assert doubts(peers=[*remote["peers"], {"address": "127.0.0.1"}]) == [sentence.format("receive")]


def test_disk_smaller_than_the_room_that_has_to_stay_free_is_found(tmp_path: Path) -> None:
    total_mb = shutil.disk_usage(tmp_path).total // MEGABYTE
    values = {"state_dir": tmp_path / "later", "receive": {"reserve_mb": total_mb + 1}}
    (problem,) = find_problems(Configuration.model_validate(values))
    assert problem.startswith(f"receive.reserve_mb: the whole disk of state_dir has {total_mb} MB")
    values = {"state_dir": tmp_path, "retention": {"prune_below_mb": total_mb}}
    (problem,) = find_problems(Configuration.model_validate(values))
    assert problem.startswith("retention.prune_below_mb")


def test_unusable_host_of_the_page_is_found() -> None:
    (problem,) = find_problems(Configuration.model_validate({"status": {"host": ABSENT, "open": True}}))
    assert problem.startswith("status.host")


def test_unusable_tls_file_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours, other, junk = authority.issue("ours"), authority.issue("other"), tmp_path / "junk"
    junk.write_text("no certificate")
    right = {"certificate": ours.certificate, "key": ours.key, "client_ca": authority.certificate}
    assert problems_of(tls=right) == []
    wrong = {
        "certificate": (tmp_path / "absent", junk, tmp_path),
        "key": (tmp_path / "absent", junk, other.key),
        "client_ca": (tmp_path / "absent", junk),
    }
    for key, files in wrong.items():
        for file in files:
            (problem,) = problems_of(tls=right | {key: file})
            assert problem.startswith(f"receive.tls.{key} cannot be used: {file}: ")
    assert problems_of(tls=right | {"key": other.key})[0].endswith("key values mismatch")


@pytest.mark.parametrize("host", ["no.such.host.invalid", ABSENT])
def test_start_with_unusable_host_names_its_key(tmp_path: Path, host: str) -> None:
    with pytest.raises(Fault, match=r"see receive\.host"):
        Receiving(tmp_path, host=host)


def test_start_with_port_in_use_names_its_key(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path)
    with pytest.raises(Fault, match=r"in use; see receive\.port"):
        Receiving(tmp_path, port=receiving.port)
    receiving.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", ABSENT])
def test_start_with_unusable_host_of_the_page_names_its_key(tmp_path: Path, host: str) -> None:
    config = Configuration.model_validate({"state_dir": tmp_path, "status": {"host": host, "open": True}})
    engine = open_database(config.database)
    with pytest.raises(Fault, match=r"see status\.host"):
        StatusRole(config, engine)
    engine.dispose()
