"""What keeps a box from listening is found by `osteon check`, and said with its key at start."""

from pathlib import Path
from typing import Any

import pytest

from appliance.config import Configuration
from appliance.errors import Fault
from appliance.service.roles.status import StatusRole
from appliance.storage.database import open_database
from provisioning.operation.check import doubts, problems
from tests.support.certificates import Authority
from tests.support.receiving import Receiving

ABSENT = "203.0.113.7"
"""An address of no machine (RFC 5737)."""


def found(**receive: Any) -> list[str]:
    return problems(Configuration.model_validate({"receive": receive}))


def test_nothing_is_wrong_with_the_defaults_nor_with_a_box_that_knows_its_peers() -> None:
    assert found() == []
    assert found(host="0.0.0.0", peers=[{"address": "192.0.2.0/24"}]) == []


@pytest.mark.parametrize(
    ("receive", "expected"),
    [
        ({"host": "no.such.host.invalid"}, "receive.host: cannot listen on 'no.such.host.invalid'"),
        ({"host": ABSENT, "peers": [{"address": "192.0.2.7"}]}, f"receive.host: cannot listen on '{ABSENT}'"),
        ({"peers": []}, "receive.peers: nobody may associate"),
        ({"host": "0.0.0.0"}, "receive.peers: only this machine may associate, although we listen on 0.0.0.0"),
    ],
)
def test_what_is_wrong_is_found(receive: dict[str, Any], expected: str) -> None:
    (problem,) = found(**receive)
    assert problem.startswith(expected)


def doubted(receive: dict[str, Any], **destination: Any) -> list[str]:
    pacs = {"kind": "dicom", "name": "pacs", "host": "192.0.2.10", "port": 104, "called_ae_title": "PACS"}
    values = {"receive": receive, "destinations": [pacs | {"proof": "commitment"} | destination]}
    return doubts(Configuration.model_validate(values))


def test_an_archive_must_be_let_in_to_report_on_commitment() -> None:
    right = {"peers": [{"address": "192.0.2.0/24"}], "also_called": ["OTHER"]}
    assert doubted(right) == doubted(right, calling_ae_title="OTHER") == doubted({}, proof="find") == []
    (stranger,) = doubted({})
    assert "192.0.2.10" in stranger and "receive.peers" in stranger
    (misnamed,) = doubted(right, calling_ae_title="NOBODY")
    assert "NOBODY" in misnamed and "receive.also_called" in misnamed


def test_the_page_s_host_is_looked_at_too() -> None:
    (problem,) = problems(Configuration.model_validate({"status": {"host": ABSENT}}))
    assert problem.startswith("status.host")


def test_each_file_of_tls_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours, other, junk = authority.issue("ours"), authority.issue("other"), tmp_path / "junk"
    junk.write_text("no certificate")
    right = {"certificate": ours.certificate, "key": ours.key, "client_ca": authority.certificate}
    assert found(tls=right) == []
    wrong = {
        "certificate": (tmp_path / "absent", junk, tmp_path),
        "key": (tmp_path / "absent", junk, other.key),
        "client_ca": (tmp_path / "absent", junk),
    }
    for key, files in wrong.items():
        for file in files:
            (problem,) = found(tls=right | {key: file})
            assert problem.startswith(f"receive.tls.{key} cannot be used: {file}: ")
    assert found(tls=right | {"key": other.key})[0].endswith("key values mismatch")


@pytest.mark.parametrize("host", ["no.such.host.invalid", ABSENT])
def test_a_wrong_host_is_named_at_start(tmp_path: Path, host: str) -> None:
    with pytest.raises(Fault, match=r"see receive\.host"):
        Receiving(tmp_path, host=host)


def test_a_port_in_use_is_named_at_start(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path)
    with pytest.raises(Fault, match=r"in use; see receive\.port"):
        Receiving(tmp_path, port=receiving.port)
    receiving.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", ABSENT])
def test_a_wrong_host_of_the_page_is_named_at_start(tmp_path: Path, host: str) -> None:
    config = Configuration.model_validate({"state_dir": tmp_path, "status": {"host": host}})
    engine = open_database(config.database)
    with pytest.raises(Fault, match=r"see status\.host"):
        StatusRole(config, engine)
    engine.dispose()
