"""`osteon setup`: answers become a configuration that every role takes, and that other users cannot read."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from appliance.config import read_configuration
from tests.support.waiting import PATIENCE_S

ANSWERS = """\
[receive]
host = "0.0.0.0"
ae_title = "BONES"
peers = [{address = "192.0.2.0/24", ae_title = "ROOM1"}]
[[destinations]]
kind = "dicom"
name = "pacs"
host = "192.0.2.10"
port = 104
called_ae_title = "PACS"
[[destinations]]
kind = "fhir"
name = "fhir"
base_url = "https://192.0.2.12/fhir"
bearer = "secret"
[retention]
days = 14
"""


def setup(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "provisioning.cli", "setup", "--config", str(path), *map(str, arguments)]
    return subprocess.run(command, umask=0o077, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    file = tmp_path / "answers.toml"
    file.write_text(ANSWERS)
    return file


def test_answers_stand_in_the_commented_example(tmp_path: Path, answers: Path) -> None:
    path = tmp_path / "osteon.toml"
    done = setup(path, "--answers", answers, "--certificate", "self-signed", "--host", "osteon.hospital.example")
    assert done.returncode == 0, done.stderr
    config = read_configuration(path)
    assert (config.receive.ae_title, config.receive.host, config.retention.days) == ("BONES", "0.0.0.0", 14)
    assert [str(peer.address) for peer in config.receive.peers] == ["192.0.2.0/24"]
    assert [d.name for d in config.destinations] == ["pacs", "fhir"]
    assert config.receive.tls is not None
    certificate = x509.load_pem_x509_certificate(config.receive.tls.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["osteon.hospital.example"]
    assert "# The days that the spool keeps" in path.read_text(), "the comments of the example stay"
    assert {file.stat().st_mode & 0o777 for file in (path, config.receive.tls.key)} == {0o640}
    assert "secret" not in done.stdout


def test_request_names_the_box_and_is_signed_by_its_key(tmp_path: Path, answers: Path) -> None:
    done = setup(tmp_path / "osteon.toml", "--answers", answers, "--certificate", "request", "--host", "192.0.2.7")
    assert done.returncode == 0, done.stderr
    request = x509.load_pem_x509_csr((tmp_path / "osteon.csr").read_bytes())
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert request.is_signature_valid
    assert f'[receive.tls]\ncertificate = "{tmp_path}/osteon.crt"' in done.stdout
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    assert read_configuration(tmp_path / "osteon.toml").receive.tls is None


def test_answers_that_cannot_be_used_write_nothing(tmp_path: Path, answers: Path) -> None:
    answers.write_text(ANSWERS.replace('ae_title = "BONES"', "ae_titel = 'BONES'\nport = 99999"))
    done = setup(tmp_path / "osteon.toml", "--answers", answers, "--certificate", "self-signed", "--host", "box")
    assert done.returncode == 1
    assert "receive.ae_titel: unknown key; did you mean 'ae_title'?" in done.stderr
    assert "receive.port" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["answers.toml"]


def test_configuration_that_is_there_is_replaced_only_on_request_and_kept(tmp_path: Path, answers: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text("# mine\n")
    refused = setup(path, "--answers", answers)
    assert refused.returncode == 1 and "--replace" in refused.stderr
    assert path.read_text() == "# mine\n"
    assert setup(path, "--answers", answers, "--replace").returncode == 0
    (kept,) = tmp_path.glob("osteon.toml.*")
    assert kept.read_text() == "# mine\n"


def test_questions_at_a_terminal_make_the_same_configuration(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "provisioning.cli", "setup", "--config", str(path)]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as setup:
        os.write(ours, b"BONES\n11112\n192.0.2.300\n192.0.2.5\nROOM1\n\n192.0.2.10\n104\nPACS\n\n\nshadow\n14\n")
        said, _ = setup.communicate(timeout=PATIENCE_S)
    assert setup.returncode == 0, said
    config = read_configuration(path)
    assert config.receive.ae_title == "BONES"
    assert [(str(p.address), p.ae_title) for p in config.receive.peers] == [("192.0.2.5/32", "ROOM1")]
    assert [d.name for d in config.destinations] == ["pacs"]
    assert (config.rollout.first_phase, config.retention.days) == ("shadow", 14)
