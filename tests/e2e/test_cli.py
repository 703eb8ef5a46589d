"""The commands of `osteon`: their help, and errors that say what to do and show no traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import engines.packs
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.peers import Peer, running, wait_for_port
from tests.support.ports import free_ports
from tests.support.waiting import PATIENCE_S


def osteon(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``osteon`` with these arguments, to its end."""
    command = [sys.executable, "-m", "provisioning.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@pytest.mark.parametrize("verb", [(), ("run",), ("demo",), ("send",), ("read",), ("queue",), ("check",), ("train",)])
def test_help_of_every_command_is_printed(verb: tuple[str, ...]) -> None:
    done = osteon(*verb, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 150
    assert "\\b" not in done.stdout


@pytest.mark.parametrize(("verb", "first"), [((), "osteon demo "), (("run",), "receive ")])
def test_help_lists_stand_on_lines_of_their_own(verb: tuple[str, ...], first: str) -> None:
    lines = [line.strip() for line in osteon(*verb, "--help").stdout.splitlines()]
    assert any(line.startswith(first) for line in lines)


def test_check_prints_the_configuration_and_the_pack(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text('state_dir = "/tmp/x"\nanalyse.pack = "phantom"\n')
    done = osteon("check", "--config", path)
    assert done.returncode == 0, done.stderr
    assert '"ae_title": "OSTEON"' in done.stdout
    assert "phantom" in done.stdout and "synthetic" in done.stdout


def test_check_names_the_processor_and_options_without_effect(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text('analyse = {pack = "phantom", compute = "cpu", precision = "float16"}\n')
    done = osteon("check", "--config", path)
    assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())
    assert "analyse.compute is cpu; analyse.precision is float16, which has no effect on a CPU" in printed


def test_check_of_a_wrong_configuration_names_every_error(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text('receive.prot = 1\nstatus.port = "x"\n')
    done = osteon("check", "--config", path)
    assert done.returncode == 1
    assert "did you mean 'port'" in done.stderr
    assert "status.port" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_of_values_that_would_end_a_role_names_every_one(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text(
        'database_url = "nonsense"\nretention.days = 999999\nanalyse.windows = [{center = nan, width = inf}]\n'
        '[[destinations]]\nkind = "fhir"\nname = "*"\nbase_url = "http://a..b/"\nbearer = "a\\r\\nX: y"\n'
    )
    done = osteon("check", "--config", path)
    assert done.returncode == 1
    for key in ("database_url", "retention.days", "center", "width", "0.name", "0.base_url", "0.bearer"):
        assert f"{key}: " in done.stderr
    path.write_text("a = " + "[" * 2000 + "]" * 2000)
    deep = osteon("check", "--config", path)
    assert deep.returncode == 1
    assert "nested too deep" in deep.stderr
    assert "Traceback" not in done.stderr + deep.stderr


def test_check_shows_no_password(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text(
        'analyse.pack = "phantom"\ndatabase_url = "postgresql://osteon:s3cret@db/osteon"\n'
        '[[destinations]]\nkind = "fhir"\nname = "f"\nbase_url = "http://127.0.0.1/"\nbearer = "s3cret"\n'
    )
    done = osteon("check", "--config", path)
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--to", "a..b:104"), "is no host"),
        (("--to", "127.0.0.1:99999"), "is too large"),
        (("--to", "127.0.0.1:104", "--called", "SEVENTEEN_LETTERS"), "is too long"),
        (("--to", "127.0.0.1:104", "--calling", " "), "is blank"),
    ],
)
def test_send_to_an_impossible_peer_is_refused_with_a_sentence(options: tuple[str, ...], says: str) -> None:
    done = osteon("send", __file__, *options)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_check_of_a_receiver_that_cannot_listen_names_every_reason(tmp_path: Path) -> None:
    """`tests/integration/test_listening.py` has each reason alone."""
    path = tmp_path / "osteon.toml"
    path.write_text(
        'analyse.pack = "phantom"\nreceive.host = "no.such.host.invalid"\nreceive.peers = []\n'
        'receive.tls = {certificate = "/absent.crt", key = "/absent.key"}\n'
    )
    done = osteon("check", "--config", path)
    assert done.returncode == 1
    for expected in (
        "receive.host",
        "receive.tls.certificate cannot be used: /absent.crt",
        "receive.peers: no peer may associate",
    ):
        assert expected in done.stderr
    assert "can be used" not in done.stdout
    assert "Traceback" not in done.stderr


def test_check_of_an_altered_pack_refuses_it(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(Path(engines.packs.__file__).parent / "phantom", pack)
    with (pack / "localiser.onnx").open("ab") as file:
        file.write(b"x")
    (tmp_path / "osteon.toml").write_text(f'analyse.pack = "{pack}"\n')
    done = osteon("check", "--config", tmp_path / "osteon.toml")
    assert done.returncode == 1
    assert "is not the file that was packed" in done.stderr


def test_read_of_a_folder_records_an_answer_or_a_reason_for_each_file(tmp_path: Path) -> None:
    radiographs = tmp_path / "radiographs"
    radiographs.mkdir()
    instance_from_phantom(phantom("knee", 1, True)).save_as(radiographs / "knee.dcm", enforce_file_format=True)
    (radiographs / "letter.dcm").write_bytes(b"Dear colleague, " * 40)
    done = osteon("read", radiographs, "--pack", "phantom", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    records = {r["file"]: r for r in json.loads((tmp_path / "out" / "results.json").read_text())}
    assert records["letter.dcm"]["rejected"]["code"] == "not_dicom"
    assert records["knee.dcm"]["result"]["findings"][0]["site"] == "knee"
    assert len(records["knee.dcm"]["result"]["findings"][0]["mark"]) > 2
    assert (records["knee.dcm"]["answer"], records["knee.dcm"]["verdicts"]) == ("positive", ["positive"])
    assert records["knee.dcm"]["not_read"] == []
    assert (tmp_path / "out" / records["knee.dcm"]["picture"]).exists()


def test_read_at_ctrl_c_ends(tmp_path: Path) -> None:
    """SIGINT gets its default handler first: a test run in the background ignores it, and so do its children."""
    endless = tmp_path / "endless.dcm"
    os.mkfifo(endless)
    command = ["env", "--default-signal=INT", sys.executable, "-m", "provisioning.cli", "read", str(endless)]
    reading = subprocess.Popen(
        [*command, "--pack", "phantom"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with reading as process, endless.open("wb"):  # opens as soon as the process opens it to read
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "SIGPROF" not in errors and "SIGALRM" not in errors, "it waited until the file had taken too long"


def test_read_of_real_dicom_files_shows_no_traceback(data: Path, tmp_path: Path) -> None:
    done = osteon("read", data / "dicom", "--out", tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    records = json.loads((tmp_path / "results.json").read_text())
    assert len(records) == len(list((data / "dicom").glob("*.dcm")))
    for record in records:
        why = record["rejected"]["reason"] if "rejected" in record else record["not_analysed"]
        assert why is None or len(why) > 20, record["file"]
    happy = {r["file"]: r for r in records if r["file"].startswith("happy_")}
    assert len(happy) == 5
    hand = happy["happy_NM_Kakadu44_SOTmarkerincons.dcm"]["result"]
    assert [f["site"] for f in hand["findings"]] == ["wrist"], "a hand and wrist, JPEG 2000, must be analysed"


@pytest.mark.parametrize("job", ["analysis:1", "nonsense", "delivery:x"])
def test_queue_retry_of_an_unknown_job_names_it(tmp_path: Path, job: str) -> None:
    (tmp_path / "osteon.toml").write_text(f'state_dir = "{tmp_path}"\n')
    done = osteon("queue", "retry", job, "--config", tmp_path / "osteon.toml")
    assert done.returncode == 1
    assert job in done.stderr
    assert "Traceback" not in done.stderr


def test_send_to_a_storage_scp_stores_every_dicom_file(tmp_path: Path, peer: Peer) -> None:
    radiographs, pacs = tmp_path / "radiographs", tmp_path / "pacs"
    radiographs.mkdir()
    pacs.mkdir()
    for seed in range(2):
        instance_from_phantom(phantom("knee", seed, True)).save_as(
            radiographs / f"{seed}.dcm", enforce_file_format=True
        )
    (radiographs / "letter.dcm").write_bytes(b"Dear colleague, " * 40)
    (port,) = free_ports(1)
    with running(peer("storescp"), "-aet", "PACS", "-od", str(pacs), str(port)) as storescp:
        wait_for_port(port, storescp)
        done = osteon("send", radiographs, "--to", f"127.0.0.1:{port}", "--called", "PACS")
    assert "2 of 3 stored" in done.stdout
    assert "letter.dcm" in done.stdout
    assert done.returncode == 1
    assert len(list(pacs.iterdir())) == 2


def test_send_to_a_closed_port_names_the_address(tmp_path: Path) -> None:
    instance_from_phantom(phantom("knee", 1, True)).save_as(tmp_path / "knee.dcm", enforce_file_format=True)
    done = osteon("send", tmp_path / "knee.dcm", "--to", "127.0.0.1:1")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
