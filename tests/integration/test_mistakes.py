"""Mistakes of an installation: the doctor, the check, or the message of a role names each with its remedy."""

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from sqlalchemy import text

from appliance import gpu
from appliance.clock import now
from appliance.config import Configuration, read_configuration
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode
from appliance.errors import ConfigurationError, Fault
from appliance.service.role_lock import role_lock
from appliance.service.roles.start import start_role
from appliance.status.facts import observe
from appliance.status.health import conditions, is_ready, problems
from appliance.storage.database import open_database, readers, unopened_database
from appliance.storage.heartbeats import record_heartbeat
from appliance.storage.notices import Notebook
from provisioning.cli.main import main
from provisioning.demonstration.run import _inputs
from provisioning.operation.doctor import clock
from provisioning.operation.doctor.engines import check_compute
from provisioning.operation.doctor.examination import examine, report_of
from provisioning.operation.doctor.finding import Check, Finding, Level, gravest
from provisioning.operation.doctor.listening import check_ports, check_roles
from provisioning.operation.doctor.rounds import run_checks
from tests.support.certificates import Authority
from tests.support.orthanc import orthanc
from tests.support.pacs import storescp
from tests.support.peers import NodePeer, Peer, running, wait_for_port
from tests.support.ports import free_ports


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Configuration]:
    """A function that makes a configuration, whose state folder exists."""
    (tmp_path / "state").mkdir()

    def make(*destinations: dict[str, Any], **tables: Any) -> Configuration:
        page, port = free_ports(2)
        values: dict[str, Any] = {
            "state_dir": str(tmp_path / "state"),
            "analyse": {"pack": "phantom"},
            "status": {"port": page},
            "destinations": destinations,
        }
        return Configuration.model_validate(values | {"receive": {"port": port, "reserve_mb": 0}} | tables)

    return make


def examined(config: Configuration, check: str, file: Path | None = None) -> Finding:
    """Return the gravest finding of the checks that begin with a name."""
    found = [f for f in examine(config, file) if f.check.startswith(check)]
    assert found, check
    return next(f for f in found if f.level is gravest(found))


def assert_error(finding: Finding, *words: str, level: Level = Level.ERROR) -> None:
    """Hold a finding to its level, its words, and that it has an effect and a remedy."""
    whole = f"{finding.seen} | {finding.remedy}"
    assert finding.level is level, whole
    for word in words:
        assert word in whole
    assert finding.effect and finding.remedy
    assert "Traceback" not in whole and "Error:" not in whole


def pacs(port: int, **more: Any) -> dict[str, Any]:
    return {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": port, "called_ae_title": "PACS"} | more


def ris(port: int, **more: Any) -> dict[str, Any]:
    return {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": port} | more


def fhir(url: str, **more: Any) -> dict[str, Any]:
    return {"kind": "fhir", "name": "fhir", "base_url": url} | more


@contextmanager
def web_server(status: int, body: bytes, **fields: str) -> Iterator[int]:
    """Run a web server that has one answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, 0.02), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


QRSCP = """
HostTable BEGIN
all = (ANY, localhost, 104)
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
PACS {folder} RW (9, 1024mb) ANY
AETable END
"""


@contextmanager
def archive(path: str, port: int, folder: Path) -> Iterator[None]:
    """Run DCMTK's archive, which knows its own AE title alone."""
    (folder / "db").mkdir()
    config = folder / "dcmqrscp.cfg"
    config.write_text(f"NetworkTCPPort = {port}\n" + QRSCP.format(folder=folder / "db"))
    with running(path, "-c", str(config)) as process:
        wait_for_port(port, process)
        yield


@pytest.mark.proves("MIS-10")
def test_1_wrong_ae_title_at_the_pacs_is_named(
    site: Callable[..., Configuration], peer: Peer, free_port: int, tmp_path: Path
) -> None:
    with archive(peer("dcmqrscp"), free_port, tmp_path):
        right, wrong = pacs(free_port), pacs(free_port, name="wrong", called_ae_title="PACSX")
        config = site(right, wrong)
        assert examined(config, "destination.pacs.echo").level is Level.GOOD
        assert_error(examined(config, "destination.wrong"), "PACSX", "rejects the association", "AE titles")


def test_2_wrong_port_that_speaks_http_is_told_from_a_closed_one(site: Callable[..., Configuration]) -> None:
    with web_server(200, b"hello") as port:
        finding = examined(site(pacs(port, timeout_s=1)), "destination.pacs")
    assert_error(finding, "takes the connection, but does not answer as DICOM does", "check the port")


def test_3_pacs_that_does_not_listen_is_named_with_the_reason(
    site: Callable[..., Configuration], free_port: int
) -> None:
    assert_error(examined(site(pacs(free_port)), "destination.pacs"), "connection refused", "start it")


def test_4_sender_that_is_not_listed_is_named_with_the_key(site: Callable[..., Configuration]) -> None:
    config = site()
    engine = open_database(config.database)
    notebook = Notebook()
    reason = "the calling AE title 'ROOM9' is not listed for 192.0.2.9: add it to receive.peers"
    notebook.note(
        Notice(
            subject=Subject.ASSOCIATION,
            code=ReasonCode.CALLING_AE_TITLE,
            reason=reason,
            calling_ae_title="ROOM9",
            called_ae_title="OSTEON",
            address="192.0.2.9",
        )
    )
    notebook.write(engine)
    engine.dispose()
    assert_error(examined(config, "refused."), "ROOM9 at 192.0.2.9", "receive.peers", level=Level.WARNING)


@pytest.mark.parametrize("kind", ["pacs", "ris", "fhir"])
def test_5_name_that_dns_does_not_know_is_named(site: Callable[..., Configuration], kind: str) -> None:
    host = "pacs.no-such-name.invalid"
    destination = {"pacs": pacs(104, host=host), "ris": ris(2575, host=host), "fhir": fhir(f"http://{host}/R4")}[kind]
    finding = examined(site(destination), f"destination.{kind}")
    assert_error(finding, host, "name server")


def test_6_tls_towards_a_port_without_it_is_named_by_openssls_reason(
    site: Callable[..., Configuration], peer: Peer, free_port: int, tmp_path: Path
) -> None:
    ca = str(Authority(tmp_path).certificate)
    with storescp(peer("storescp"), free_port, tmp_path), web_server(200, b"") as web_port:
        config = site(pacs(free_port, tls={"ca": ca}), fhir(f"https://127.0.0.1:{web_port}/R4", tls={"ca": ca}))
        assert_error(examined(config, "destination.pacs"), "TLS on both sides")
        assert_error(examined(config, "destination.fhir"), "TLS: wrong version number", "without TLS")


def test_6_certificate_of_an_unknown_authority_or_another_host_is_named(
    site: Callable[..., Configuration], node_peer: Callable[..., NodePeer], tmp_path: Path
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    server = authority.issue("server")
    port = node_peer("mllp_receiver.js", "", "--tls", f"{server.key},{server.certificate}").port
    trusting = {"ca": str(authority.certificate)}
    config = site(
        ris(port, tls=trusting),
        ris(port, name="ris2", tls={"ca": str(other.certificate)}),
        ris(port, name="ris3", tls=trusting | {"server_name": "ris.example"}),
    )
    assert examined(config, "destination.ris.").level is Level.GOOD
    assert_error(examined(config, "destination.ris2"), "unable to get local issuer certificate", "tls.ca")
    assert_error(examined(config, "destination.ris3"), "not valid for 'ris.example'")


def test_6_peer_that_asks_for_our_certificate_is_named(
    site: Callable[..., Configuration], node_peer: Callable[..., NodePeer], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server, ca = authority.issue("server"), str(authority.certificate)
    port = node_peer("mllp_receiver.js", "", "--tls", f"{server.key},{server.certificate},{ca}").port
    assert_error(examined(site(ris(port, tls={"ca": ca})), "destination.ris"), "tls.certificate and tls.key")


def test_7_expired_certificates_of_both_sides_are_named(
    site: Callable[..., Configuration], node_peer: Callable[..., NodePeer], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    old, ca = authority.issue("old", timedelta(days=-3)), str(authority.certificate)
    port = node_peer("mllp_receiver.js", "", "--tls", f"{old.key},{old.certificate}").port
    (tls_port,) = free_ports(1)
    ours = {"certificate": str(old.certificate), "key": str(old.key)}
    config = site(
        ris(port, tls={"ca": ca} | ours), receive={"reserve_mb": 0, "port": 0, "tls": ours | {"port": tls_port}}
    )
    assert_error(examined(config, "certificate.receive"), "receive.tls.certificate ran out on", "renew it")
    assert_error(examined(config, "certificate.tls"), "tls.certificate of ris ran out on", "renew it")
    assert_error(examined(config, "destination.ris"), "certificate has expired", "renew it")
    facts = observe(readers(open_database(config.database)), config, now())
    found = [c for c in conditions(facts) if c.name.startswith("certificate") and not c.ok]
    assert [c.severity for c in found] == ["warning", "warning"]  # the port without TLS works


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("receive.prot = 1", ("receive.prot: unknown key", "did you mean 'port'")),
        ('receive.port = "x"', ("receive.port: must be a whole number",)),
    ],
)
def test_8_and_9_typing_mistakes_are_findings_with_their_key(line: str, words: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "osteon.toml"
    file.write_text(line)
    done = osteon("doctor", "--config", file)
    assert done.exit_code == 2
    for word in words:
        assert word in done.stdout
    with pytest.raises(ConfigurationError):
        read_configuration(file)


def test_10_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = Configuration.model_validate({"state_dir": tmp_path / "file" / "state", "analyse": {"pack": "phantom"}})
    assert_error(examined(config, "state_dir"), "does not exist", "install -d -o osteon")


def test_10_files_of_another_user_are_named(site: Callable[..., Configuration]) -> None:
    if os.geteuid():
        pytest.skip("only root can make files of another user")
    config = site()
    open_database(config.database).dispose()
    os.chown(config.state_dir, 12345, 12345)
    assert_error(examined(config, "state_dir.owner"), "osteon.db", "chown -R 12345:", "runuser")


def test_port_that_only_the_role_may_open_is_good_if_the_role_listens(
    site: Callable[..., Configuration], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port below 1024, as the user osteon sees it."""
    config = site()

    def bind(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with socket.create_server(("127.0.0.1", config.receive.port)) as listener:
        monkeypatch.setattr(socket.socket, "bind", bind)
        assert_error(_receive_port(config), "may not be opened without privileges")
        with role_lock(config, "receive"):
            assert _receive_port(config).level is Level.GOOD
            listener.close()
            assert_error(_receive_port(config), "runs, but not on", level=Level.WARNING)


def _receive_port(config: Configuration) -> Finding:
    (found,) = (f for f in check_ports(config) if f.check == "port.receive.port")
    return found


@pytest.mark.parametrize(("is_unused", "level"), [(True, Level.WARNING), (False, Level.GOOD)])
def test_gpu_that_is_not_used_is_a_warning(
    site: Callable[..., Configuration], is_unused: bool, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_KERNEL_MODULE", Path("/proc" if is_unused else "/absent"))
    if find_library("nvidia-ml"):
        pytest.skip("not run: this machine has a driver")
    (finding,) = check_compute(site())
    assert finding.level is level
    assert not is_unused or "restart osteon-analyse" in finding.remedy


def test_11_disk_that_is_nearly_full_is_named(site: Callable[..., Configuration], tmp_path: Path) -> None:
    free_mb = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize // 1_000_000
    config = site(receive={"reserve_mb": free_mb + 1000, "port": 0})
    assert_error(examined(config, "disk"), "MB free", "retention.days")


def test_12_gpu_that_is_not_there_is_named(site: Callable[..., Configuration]) -> None:
    config = site(analyse={"pack": "phantom", "compute": "gpu"})
    finding = examined(config, "compute")
    if finding.level is Level.GOOD:  # this machine has one
        pytest.skip("this machine has a GPU")
    assert_error(finding, "analyse.compute is gpu, and it cannot be used")


def test_13_pack_that_is_missing_points_to_the_list(site: Callable[..., Configuration]) -> None:
    assert_error(examined(site(analyse={"pack": "nowhere"}), "packs"), "no pack 'nowhere'", "osteon pack list")


def test_14_pacs_without_a_service_is_named(
    site: Callable[..., Configuration], peer: Peer, free_port: int, tmp_path: Path
) -> None:
    with storescp(peer("storescp"), free_port, tmp_path):
        config = site(pacs(free_port, proof="commitment"), pacs(free_port, name="find", proof="find"))
        assert_error(examined(config, "destination.pacs"), "accepts no storage commitment from OSTEON", "proof")
        assert_error(examined(config, "destination.find"), "accepts no C-FIND", "proof")
        assert examined(config, "destination.pacs.objects").level is Level.GOOD


def test_archive_in_order_has_no_finding_that_needs_attention(
    site: Callable[..., Configuration], peer: Peer, tmp_path: Path
) -> None:
    with orthanc(peer("Orthanc"), tmp_path / "orthanc") as archive:
        objects = ["sc", "pr", "summary", "sr", "ko"]
        proven = pacs(archive.port, proof="commitment", recheck_identity=True, objects=objects)
        found = [f for f in examine(site(proven), None) if f.check.startswith("destination.")]
        assert archive.get("/instances") == []
    assert {f.level for f in found} == {Level.GOOD}
    names = {f.check.removeprefix("destination.pacs.") for f in found}
    assert names == {"echo", "commitment", "find", *(f"objects.{kind}" for kind in objects)}


def test_14_pacs_without_a_sop_class_is_named(
    site: Callable[..., Configuration], peer: Peer, free_port: int, tmp_path: Path
) -> None:
    profile = tmp_path / "storescp.cfg"
    profile.write_text(
        "[[TransferSyntaxes]]\n[plain]\nTransferSyntax1 = LittleEndianImplicit\n"
        "[[PresentationContexts]]\n[some]\nPresentationContext1 = SecondaryCaptureImageStorage\\plain\n"
        "PresentationContext2 = VerificationSOPClass\\plain\n"
        "[[Profiles]]\n[default]\nPresentationContexts = some\n"
    )
    with storescp(peer("storescp"), free_port, tmp_path, "-xf", str(profile), "default"):
        config = site(pacs(free_port))
        assert_error(examined(config, "destination.pacs.objects.sr"), "accepts no Comprehensive 3D SR", "`objects`")
        finding = examined(config, "destination.pacs.objects.sc")
    assert finding.level is Level.GOOD
    assert "Implicit VR Little Endian; it accepts no Secondary Capture" in finding.seen


def test_15_closed_port_of_the_ris_is_named_with_a_step(site: Callable[..., Configuration], free_port: int) -> None:
    assert_error(examined(site(ris(free_port)), "destination.ris"), "connection refused", "correct the port")


def test_16_token_that_a_fhir_server_refuses_is_named(site: Callable[..., Configuration]) -> None:
    with web_server(401, b"") as port:
        finding = examined(site(fhir(f"http://127.0.0.1:{port}/R4")), "destination.fhir")
    assert_error(finding, "answers 401", "renew it")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"<p>good morning</p>", "no CapabilityStatement"),
        (b'{"resourceType": "CapabilityStatement", "fhirVersion": "3.0.2"}', "FHIR 3.0.2"),
        (
            b'{"resourceType": "CapabilityStatement", "rest": [{"interaction": [{"code": "batch"}]}]}',
            "no transactions",
        ),
    ],
)
def test_16_address_that_is_no_fhir_server_for_us_is_named(
    site: Callable[..., Configuration], body: bytes, word: str
) -> None:
    with web_server(200, body) as port:
        assert_error(examined(site(fhir(f"http://127.0.0.1:{port}/R4")), "destination.fhir"), word, "base_url")


def test_17_clock_that_is_off_by_an_hour_is_named_by_a_peer(site: Callable[..., Configuration]) -> None:
    body = b'{"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}'
    early = f"{now() - timedelta(hours=1):%a, %d %b %Y %H:%M:%S} GMT"
    with web_server(200, body, Date=early) as port:
        finding = examined(site(fhir(f"http://127.0.0.1:{port}/R4")), "clock.fhir")
    assert_error(finding, "60 min ahead of that of fhir", "timedatectl", level=Level.WARNING)


def test_17_time_service_is_asked_for_by_the_kernels_record() -> None:
    (finding,) = clock.check_clock()
    assert finding.check == "clock"
    assert "time service" in finding.seen


def test_18_first_start_is_one_finding_and_a_stopped_role_has_its_effect(site: Callable[..., Configuration]) -> None:
    config = site()
    (finding,) = check_roles(config, None)
    assert_error(finding, "no role has run", "systemctl enable --now osteon.target", level=Level.WARNING)
    with role_lock(config, "receive"):
        pass
    assert [f.effect for f in check_roles(config, None)] == [
        "no radiograph is received",
        "radiographs wait",
        "answers wait",
        "the page is not served",
    ]


def test_18_second_set_of_roles_is_refused_by_name(site: Callable[..., Configuration]) -> None:
    config = site()
    with role_lock(config, "deliver"):
        assert f"(process {os.getpid()})" in examined(config, "role.deliver").seen
        with pytest.raises(Fault, match=r"deliver runs already on .*: stop it first"), role_lock(config, "deliver"):
            pass
    assert_error(examined(config, "role.deliver"), "systemctl start osteon-deliver", level=Level.WARNING)


def test_19_port_in_use_is_named_by_its_setting(site: Callable[..., Configuration], free_port: int) -> None:
    config = site(status={"port": free_port})
    with socket.create_server(("127.0.0.1", free_port)):
        assert_error(examined(config, "port.status.port"), f"status.port {free_port}", "another program", "ss -ltnp")
        with role_lock(config, "status"):
            assert examined(config, "port.status.port").level is Level.GOOD
    with role_lock(config, "status"):
        assert_error(examined(config, "port.status.port"), "restart osteon-status", level=Level.WARNING)


@pytest.mark.proves("MIS-10")
def test_20_database_of_a_newer_version_is_refused_in_a_sentence_by_roles_doctor_and_page(
    site: Callable[..., Configuration], tmp_path: Path
) -> None:
    config = site()
    engine = open_database(config.database)
    with engine.begin() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert_error(examined(config, "database"), "newer", "install that version again")
    file = tmp_path / "osteon.toml"
    file.write_text(f'state_dir = "{config.state_dir}"\n')
    for role in ("receive", "analyse", "deliver"):
        with pytest.raises(Fault, match="newer"):
            start_role(role, config)
    done = osteon("queue", "list", "--config", file)
    assert done.exit_code == 1
    assert "newer" in done.output and "Traceback" not in done.output
    facts = observe(readers(unopened_database(config.database)), config, now())
    (problem,) = problems(conditions(facts))
    assert "newer" in problem.sentence and not is_ready(conditions(facts))


def osteon(*arguments: object) -> Result:
    """Run ``osteon`` with these arguments in this process."""
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_training_without_its_extra_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith(("engines.training", "provisioning.training"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = osteon("train", "phantom", "--out", tmp_path / "pack")
    assert done.exit_code == 1
    assert "the package torch is not installed: it comes with the extra train" in done.output


def test_demonstration_limits_phantoms_too(tmp_path: Path) -> None:
    (only,) = _inputs(tmp_path / "in", None, 1, Console())
    assert only[0] == "ankle, fracture" and only[1].stat().st_size > 100_000


def test_configuration_changed_after_a_role_started_asks_for_a_restart(
    site: Callable[..., Configuration], tmp_path: Path
) -> None:
    config = site()
    file = tmp_path / "osteon.toml"
    file.write_text("")
    engine = open_database(config.database)
    with role_lock(config, "analyse"):
        record_heartbeat(engine, "analyse", now() + timedelta(minutes=1), "works")
        assert examined(config, "role.analyse", file).level is Level.GOOD
        record_heartbeat(engine, "analyse", now() - timedelta(hours=1), "works")
        finding = examined(config, "role.analyse", file)
    engine.dispose()
    assert_error(finding, "was changed after", "systemctl restart osteon-analyse", level=Level.WARNING)


def test_check_that_fails_or_hangs_is_a_finding_and_ends_no_other() -> None:
    never = threading.Event()

    def hangs() -> Iterator[Finding]:
        never.wait()
        yield Finding.good("hangs", "")

    checks = [
        Check(name="hangs", look=hangs),
        Check(name="fails", look=lambda: [Finding.good("fails", str(1 / 0))]),
        Check(name="works", look=lambda: [Finding.good("works", "fine")]),
    ]
    try:
        found = list(run_checks(checks, deadline_s=0.2))
    finally:
        never.set()
    assert [(f.check, f.level) for f in found] == [("hangs", "warning"), ("fails", "warning"), ("works", "good")]
    assert "no result within 0.2 s" in found[0].seen
    assert "ZeroDivisionError at test_mistakes.py" in found[1].seen and "Traceback" not in found[1].seen


def test_report_for_support_holds_neither_tokens_nor_identity(site: Callable[..., Configuration]) -> None:
    config = site(
        fhir("http://127.0.0.1:1/R4", bearer="s3cret"), database_url="postgresql://osteon:s3cret@127.0.0.1:1/osteon"
    )
    told = Finding.warning("flow", "it refuses Doe^Jane of 1.2.3.4.5.6", "Doe^Jane waits", "see its log")
    text = repr(report_of(config, [told]))
    assert "s3cret" not in text and "Doe" not in text and "1.2.3.4.5.6" not in text
    assert "[name]" in text and "osteon" in text


def test_report_for_support_counts_people(site: Callable[..., Configuration]) -> None:
    jane = "jane.doe@hospital.example"
    email = {"host": "127.0.0.1", "sender": jane, "recipients": [jane, "it@hospital.example"]}
    hook = {"url": "http://127.0.0.1:1/s3cret"}
    proxy = {"addresses": ["127.0.0.1"], "header": "X-Remote-User", "operators": [jane]}
    config = site(alarms={"email": email, "webhook": hook}, status={"proxy": proxy})
    report = report_of(config, [])
    assert "jane" not in repr(report) and "s3cret" not in repr(report)
    shown = report["configuration"]
    assert (shown["alarms"]["email"]["recipients"], shown["status"]["proxy"]["operators"]) == (2, 1)
