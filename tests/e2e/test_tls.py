"""TLS with DCMTK and OpenSSL as peers: accepted and rejected connections, and silent ones that delay no other."""

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
from tests.support.waiting import PATIENCE_S, wait_until


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
def radiograph(folder: Path) -> Path:
    path = folder / "radiograph.dcm"
    instance_from_phantom(phantom("knee", 1, True)).save_as(path, enforce_file_format=True)
    return path


class TlsSite(Site):
    """A site that listens with TLS only."""

    def __init__(self, folder: Path, server: Pair, **more: str | int) -> None:
        super().__init__(folder)
        (self.tls_port,) = free_ports(1)
        keys = {"port": self.tls_port, "certificate": str(server.certificate), "key": str(server.key)} | more
        tls = [f"receive.tls.{key} = {json.dumps(value)}" for key, value in keys.items()]
        self.config.write_text("\n".join([self.config.read_text(), "receive.plain = false", *tls]) + "\n")

    def noted(self) -> list[tuple[str, str]]:
        """Return code and reason of each notice."""
        with self.engine.connect() as c:
            return list(c.execute(select(notices.c.code, notices.c.reason)).tuples())


@pytest.fixture
def site(tmp_path: Path, server: Pair, authority: Authority) -> Iterator[TlsSite]:
    """Receiver that requires a client's certificate; its list of notices is empty."""
    site = TlsSite(tmp_path, server, client_ca=str(authority.certificate))
    with site:
        site.start("receive")
        yield site


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory, server: Pair, authority: Authority) -> Iterator[TlsSite]:
    """Receiver that requires a client's certificate, for all tests that read no notices."""
    site = TlsSite(tmp_path_factory.mktemp("site"), server, client_ca=str(authority.certificate))
    with site:
        site.start("receive")
        yield site


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(c) for c in command], input="", capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )


def storescu(peer: Peer, site: TlsSite, radiograph: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return run(peer("storescu"), *options, "-aec", "OSTEON", "127.0.0.1", site.tls_port, radiograph)


def test_client_with_a_certificate_stores(shared_site: TlsSite, peer: Peer, radiograph: Path, client: Pair) -> None:
    authority = client.certificate.parent / "ca.crt"
    done = storescu(peer, shared_site, radiograph, "+tls", client.key, client.certificate, "+cf", authority)
    assert done.returncode == 0, done.stderr
    assert shared_site.counts("analyses") == {"queued": 1}


@pytest.mark.proves("SEC-2")
def test_client_without_a_certificate_is_rejected_and_noted(site: TlsSite, peer: Peer, radiograph: Path) -> None:
    assert storescu(peer, site, radiograph, "+tla", "-ic").returncode != 0
    wait_until(site.noted, "the failed handshake to be noted")
    assert site.noted() == [("tls_failed", "no TLS connection: peer did not return a certificate")]
    assert site.counts("analyses") == {}


@pytest.mark.proves("SEC-2")
def test_client_with_a_foreign_or_expired_certificate_is_rejected_and_noted(
    site: TlsSite, peer: Peer, radiograph: Path, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path, "otherca").issue("foreign")
    expired = authority.issue("expired", timedelta(days=-1))
    for pair in (foreign, expired):
        options = ("+tls", pair.key, pair.certificate, "+cf", authority.certificate)
        assert storescu(peer, site, radiograph, *options).returncode != 0
    wait_until(lambda: len(site.noted()) == 1, "one notice for both")
    assert site.noted()[0][1] == "no TLS connection: certificate verify failed"
    assert site.counts("analyses") == {}


def test_dicom_without_tls_on_the_tls_port_is_rejected_and_noted(site: TlsSite, peer: Peer, radiograph: Path) -> None:
    assert storescu(peer, site, radiograph).returncode != 0
    wait_until(site.noted, "the notice")
    assert site.noted()[0][0] == "tls_failed"


@pytest.mark.parametrize(
    ("offer", "is_accepted"),
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
@pytest.mark.proves("SEC-2")
def test_offer_of_a_client_is_accepted_only_if_rfc_9325_recommends_it(
    shared_site: TlsSite, peer: Peer, client: Pair, offer: tuple[str, ...], is_accepted: bool
) -> None:
    address, pair = f"127.0.0.1:{shared_site.tls_port}", ("-cert", client.certificate, "-key", client.key)
    output = run(peer("openssl"), "s_client", "-connect", address, *pair, *offer).stdout
    assert ("Cipher is (NONE)" not in output) is is_accepted, output


def test_silent_connections_delay_no_other(shared_site: TlsSite, peer: Peer, radiograph: Path, client: Pair) -> None:
    """pynetdicom alone shakes hands in the thread that accepts, where one silent connection blocks all others."""
    silent = [socket.create_connection(("127.0.0.1", shared_site.tls_port)) for _ in range(3)]
    options = ("+tls", client.key, client.certificate, "+cf", client.certificate.parent / "ca.crt")
    assert storescu(peer, shared_site, radiograph, *options).returncode == 0
    for connection in silent:
        connection.close()


def test_client_without_a_certificate_stores_where_no_client_ca_is_set(
    tmp_path: Path, server: Pair, peer: Peer, radiograph: Path, authority: Authority
) -> None:
    with TlsSite(tmp_path, server) as site:
        site.start("receive")
        assert storescu(peer, site, radiograph, "+tla", "+cf", authority.certificate).returncode == 0
        assert site.counts("analyses") == {"queued": 1}


def test_certificate_that_expires_soon_is_shown_on_the_page(tmp_path: Path, authority: Authority) -> None:
    with TlsSite(tmp_path, authority.issue("soon", timedelta(days=10))) as site:
        site.start("receive", "status")
        page = urllib.request.urlopen(f"http://127.0.0.1:{site.page_port}/", timeout=PATIENCE_S).read().decode()
        assert "receive.tls.certificate runs out on" in page
        assert "in 9 days; renew it" in page


def test_key_of_another_certificate_ends_the_receiver(tmp_path: Path, server: Pair, client: Pair) -> None:
    with TlsSite(tmp_path, Pair(certificate=server.certificate, key=client.key)) as site:
        with pytest.raises(AssertionError, match="receive ended"):
            site.start("receive")
        assert f"receive.tls.key cannot be used: {client.key}: key values mismatch" in site.log("receive")
