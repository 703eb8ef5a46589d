"""TLS with DCMTK and OpenSSL as peers: who comes in, who is turned away, and that a silent one holds up nobody."""

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from appliance.storage.tables import notices
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.certificates import Authority, Pair
from tests.support.peers import Peer
from tests.support.ports import free_ports
from tests.support.site import Site
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("server")


@pytest.fixture(scope="module")
def client(authority: Authority) -> Pair:
    return authority.issue("client")


@pytest.fixture(scope="module")
def film(folder: Path) -> Path:
    path = folder / "film.dcm"
    instance_from_phantom(phantom("knee", 1, True)).save_as(path, enforce_file_format=True)
    return path


class TlsSite(Site):
    """A site that listens with TLS alone."""

    def __init__(self, folder: Path, server: Pair, **more: str | int) -> None:
        super().__init__(folder)
        (self.tls_port,) = free_ports(1)
        keys = {"port": self.tls_port, "certificate": str(server.certificate), "key": str(server.key)} | more
        tls = [f"receive.tls.{key} = {json.dumps(value)}" for key, value in keys.items()]
        self.config.write_text("\n".join([self.config.read_text(), "receive.plain = false", *tls]) + "\n")

    def noted(self) -> list[tuple[str, str]]:
        with self.engine.connect() as c:
            return list(c.execute(select(notices.c.code, notices.c.reason)).tuples())


@pytest.fixture
def site(tmp_path: Path, server: Pair, authority: Authority) -> Iterator[TlsSite]:
    """Mutual: a client shows a certificate."""
    with TlsSite(tmp_path, server, client_ca=str(authority.certificate)) as site:
        site.start("receive")
        yield site


def run(*command: object, say: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], input=say, capture_output=True, text=True, check=False, timeout=60)


def storescu(peer: Peer, site: TlsSite, film: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return run(peer("storescu"), *options, "-aec", "OSTEON", "127.0.0.1", site.tls_port, film)


def test_a_client_with_a_certificate_stores(site: TlsSite, peer: Peer, film: Path, client: Pair) -> None:
    authority = client.certificate.parent / "ca.crt"
    done = storescu(peer, site, film, "+tls", client.key, client.certificate, "+cf", authority)
    assert done.returncode == 0, done.stderr
    assert site.counts("analyses") == {"queued": 1}


def test_a_client_without_a_certificate_is_turned_away_and_noted(site: TlsSite, peer: Peer, film: Path) -> None:
    assert storescu(peer, site, film, "+tla", "-ic").returncode != 0
    wait_until(site.noted, "the failed handshake to be noted")
    assert site.noted() == [("tls_failed", "no TLS connection: peer did not return a certificate")]
    assert site.counts("analyses") == {}


def test_a_strangers_certificate_and_one_that_ran_out_are_turned_away(
    site: TlsSite, peer: Peer, film: Path, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "otherca").issue("stranger")
    late = authority.issue("late", timedelta(days=-1))
    for pair in (stranger, late):
        options = ("+tls", pair.key, pair.certificate, "+cf", authority.certificate)
        assert storescu(peer, site, film, *options).returncode != 0
    wait_until(lambda: len(site.noted()) == 1, "both to be noted")
    assert site.noted()[0][1] == "no TLS connection: certificate verify failed"
    assert site.counts("analyses") == {}


def test_plain_dicom_on_the_tls_port_is_noted(site: TlsSite, peer: Peer, film: Path) -> None:
    assert storescu(peer, site, film).returncode != 0
    wait_until(site.noted, "it to be noted")
    assert site.noted()[0][0] == "tls_failed"


@pytest.mark.parametrize(
    ("offer", "comes_in"),
    [
        (("-tls1_3",), True),
        (("-tls1_2",), True),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"), True),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"), False),  # CBC
        (("-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"), False),  # no forward secrecy
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), False),
        (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), False),
    ],
)
def test_only_what_rfc_9325_recommends(
    site: TlsSite, peer: Peer, client: Pair, offer: tuple[str, ...], comes_in: bool
) -> None:
    address, pair = f"127.0.0.1:{site.tls_port}", ("-cert", client.certificate, "-key", client.key)
    said = run(peer("openssl"), "s_client", "-connect", address, *pair, *offer).stdout
    assert ("Cipher is (NONE)" not in said) is comes_in, said


def test_silent_connections_hold_up_nobody(site: TlsSite, peer: Peer, film: Path, client: Pair) -> None:
    """The library alone shakes hands where it accepts: one silent connection, and nobody comes in."""
    silent = [socket.create_connection(("127.0.0.1", site.tls_port)) for _ in range(3)]
    authority = client.certificate.parent / "ca.crt"
    assert storescu(peer, site, film, "+tls", client.key, client.certificate, "+cf", authority).returncode == 0
    for connection in silent:
        connection.close()


def test_without_client_ca_anybody_on_the_list_comes_in(
    tmp_path: Path, server: Pair, peer: Peer, film: Path, authority: Authority
) -> None:
    with TlsSite(tmp_path, server) as site:
        site.start("receive")
        assert storescu(peer, site, film, "+tla", "+cf", authority.certificate).returncode == 0
        assert site.counts("analyses") == {"queued": 1}


def test_a_certificate_that_runs_out_soon_is_on_the_page(tmp_path: Path, authority: Authority) -> None:
    with TlsSite(tmp_path, authority.issue("soon", timedelta(days=10))) as site:
        site.start("receive", "status")
        page = urllib.request.urlopen(f"http://127.0.0.1:{site.page_port}/", timeout=10).read().decode()
        assert "receive.tls.certificate runs out on" in page
        assert "in 9 days; renew it" in page


def test_a_key_that_is_not_the_certificates_is_a_fault(tmp_path: Path, server: Pair, client: Pair) -> None:
    with TlsSite(tmp_path, Pair(certificate=server.certificate, key=client.key)) as site:
        with pytest.raises(AssertionError, match="receive ended"):
            site.start("receive")
        assert f"receive.tls.key cannot be used: {client.key}: key values mismatch" in site.log("receive")
