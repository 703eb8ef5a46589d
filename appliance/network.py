"""TLS contexts, addresses and deadlines, for every protocol.

TLS is 1.2 with forward secrecy or 1.3, and nothing older (DICOM PS3.15 B.12, RFC 8996, RFC 9325).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from appliance.config import ClientTls, Tls
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 suites with ephemeral keys and authenticated encryption (RFC 9325 section 4.2); every 1.3 suite has both."""


def server_context(config: Tls) -> ssl.SSLContext:
    """Return a server's TLS context; it demands a client's certificate if the site names certificate authorities.

    Raises
    ------
    Fault
        ``tls``, with the name of the file, if it cannot be used or the key does not match the certificate.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    # RFC 9325 sections 3.3, 3.4 and 3.5; associations are long and few: resumption would save nothing
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    with _fault_naming("receive.tls.certificate", config.certificate):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(
            config.certificate
        )  # the next failure is the key's
    with _fault_naming("receive.tls.key", config.key):
        context.load_cert_chain(config.certificate, config.key, password=lambda: b"")
    if config.client_ca:
        with _fault_naming("receive.tls.client_ca", config.client_ca):
            context.load_verify_locations(config.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(config: ClientTls, name: str) -> ssl.SSLContext:
    """Return a client's TLS context for the destination `name`; it checks the server's certificate and host name.

    Raises
    ------
    Fault
        ``tls``, with the name of the file, if it cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if config.ca:
        with _fault_naming(f"tls.ca of {name}", config.ca):
            context.load_verify_locations(config.ca)
    else:
        context.load_default_certs()
    if config.certificate and config.key:
        with _fault_naming(f"tls.certificate or tls.key of {name}", config.certificate):
            context.load_cert_chain(config.certificate, config.key, password=lambda: b"")
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    return context


@contextlib.contextmanager
def _fault_naming(key: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        why = tls_reason(error) if isinstance(error, ssl.SSLError) else error.strerror
        raise Fault(ReasonCode.TLS, f"{key} cannot be used: {path}: {why}") from error


def tls_reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason in lower-case words."""
    return (error.reason or type(error).__name__).replace("_", " ").lower()


def tls_failure(error: ssl.SSLError) -> str:
    """Return the reason of a failed TLS connection to a peer in words, with the next step."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: its certificate is refused: {_uncapitalised(error.verify_message)}; check tls.ca, or renew it"
    reason = tls_reason(error)
    return f"TLS: {reason}; {next((step for part, step in _TLS_STEPS.items() if part in reason), 'check both sides')}"


_TLS_STEPS = {
    "wrong version number": "the port is one without TLS: correct the port, or connect without TLS",
    "certificate required": "it asks for our certificate: set tls.certificate and tls.key",
    "unsupported protocol": "it speaks no TLS 1.2: update it",
    "protocol version": "it speaks no TLS 1.2: update it",
    "handshake failure": "it accepts none of our ciphers, or no client without a certificate",
    "alert": "it refuses our certificate: check tls.certificate and its authority there",
}
"""Next steps by a part of OpenSSL's reason."""

_CHECK_WAY = "check the port, TLS on both sides, and its list of peers"

_STEPS = {
    errno.ECONNREFUSED: "nothing listens there (connection refused); start it, or correct the port",
    errno.EHOSTUNREACH: "no route leads there (no route to host); check the address and the network",
    errno.ENETUNREACH: "no route leads there (network is unreachable); check the address and the network",
    errno.EHOSTDOWN: "the machine is down; start it, or correct the address",
    errno.ECONNRESET: f"it closes the connection (connection reset); {_CHECK_WAY}",
    errno.ECONNABORTED: f"it closes the connection; {_CHECK_WAY}",
    errno.EPIPE: f"it closes the connection; {_CHECK_WAY}",
}
"""Errors of the system in words, with the next step."""


def connection_failure(error: OSError, host: str) -> str:
    """Return the reason of a connection to `host` that failed in words, with the next step."""
    if isinstance(error, ssl.SSLError):
        return tls_failure(error)
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return f"the name server does not answer for {host}; check DNS on this machine, or write its IP address"
        return f"no name server knows {host}; correct the name, enter it into DNS, or write its IP address"
    if isinstance(error, TimeoutError):
        return "it does not answer in time (timed out); check the address, and the firewall on the way"
    default = f"{_uncapitalised(error.strerror or type(error).__name__)}; check address and network"
    return _STEPS.get(error.errno or 0, default)


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]


ALERT_WAIT_S = 0.5
"""Wait for the alert of a peer that refuses our certificate: with TLS 1.3 it comes after our side of the handshake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A connection that was opened for a look, and closed.

    Attributes
    ----------
    failure
        The reason of the failure with the next step; empty if the connection stood.
    certificate_ends
        End of validity of the peer's certificate; None without TLS or a connection.
    """

    failure: str = ""
    certificate_ends: datetime | None = None


def connect(
    host: str, port: int, timeout_s: float, tls: ssl.SSLContext | None = None, server_name: str = ""
) -> socket.socket:
    """Open a connection, with TLS if there is a context for it.

    Raises
    ------
    OSError
        `connection_failure` has the words.
    """
    connection = socket.create_connection((host, port), timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is None:
        return connection
    try:
        return tls.wrap_socket(connection, server_hostname=server_name or host)
    except OSError:
        connection.close()
        raise


def probe(host: str, port: int, timeout_s: float, tls: ssl.SSLContext | None = None, server_name: str = "") -> Probe:
    """Open a connection and close it; nothing is sent but the handshake of TLS."""
    try:
        with contextlib.closing(connect(host, port, timeout_s, tls, server_name)) as connection:
            if not isinstance(connection, ssl.SSLSocket):
                return Probe()
            presented = connection.getpeercert() or {}
            connection.settimeout(ALERT_WAIT_S)
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    raise ConnectionResetError(errno.ECONNRESET, "it closes the connection")
    except OSError as error:
        return Probe(failure=connection_failure(error, host))
    ends = presented.get("notAfter")
    return Probe(certificate_ends=datetime.fromtimestamp(ssl.cert_time_to_seconds(str(ends)), UTC) if ends else None)


def not_after(path: Path) -> datetime:
    """Return the earliest end of validity of the certificates in a PEM file.

    Raises
    ------
    OSError, ValueError
        If the file holds no readable certificate.
    """
    from cryptography import x509  # most commands look at no certificate

    return min(certificate.not_valid_after_utc for certificate in x509.load_pem_x509_certificates(path.read_bytes()))


def plain_address(address: str) -> IPv4Address | IPv6Address:
    """Return `address` without its zone; an IPv4-mapped IPv6 address becomes IPv4 (RFC 4291 section 2.5.5.2)."""
    at = ip_address(address.partition("%")[0])
    return at.ipv4_mapped or at if isinstance(at, IPv6Address) else at


class Deadline:
    """Cuts a connection at a time, even if its peer sends, or reads, a byte now and then; any thread may move it.

    A time-out of a socket begins anew with each byte. The cut ends every call that waits for the connection.

    Attributes
    ----------
    has_passed
        Whether a connection was cut.
    """

    def __init__(self) -> None:
        self._connection: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self.has_passed = False

    def watch(self, connection: socket.socket, seconds: float) -> None:
        """Cut that connection after so many seconds, unless another call moves the deadline."""
        self._connection = connection
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now."""
        self.lift()
        with self._lock:
            self._timer = threading.Timer(seconds, self._cut)
            self._timer.daemon = True
            self._timer.start()

    def lift(self) -> None:
        """Cut nothing, until `allow` sets another deadline."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None

    def close(self) -> None:
        """Lift the deadline, and close the connection."""
        self.lift()
        if self._connection is not None:
            self._connection.close()

    def _cut(self) -> None:
        self.has_passed = True
        if self._connection is not None:
            with contextlib.suppress(OSError):  # SSLSocket.shutdown would end TLS under the thread that reads
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
