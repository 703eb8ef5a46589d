"""A TCP port that takes HL7 messages over MLLP: one thread for each connection, up to a limit.

A peer that is silent, sends half a message, one that is too large, or no HL7 at all loses its own connection. A message
is handed on piece by piece, so that a connection needs the memory of a piece, whatever the length of its message.

References
----------
HL7 v2 Transport Specification: MLLP, Release 1.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from appliance.config import MEGABYTE, Hl7Listener
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.network import plain_address, tls_reason

from .frames import PIECE_BYTES, Frames, Part, framed, receive_before
from .radiologist_report import acknowledgement

CLOSING_S = 2.0
"""Time that a refused peer has to read the reason: a reset would discard it on the peer's side."""

POLL_S = 60.0
"""Interval at which the listener checks whether to stop; `MllpListener.close` does not wait for it."""


class IncomingMessage(Protocol):
    """A message that arrives piece by piece."""

    def write(self, content: bytes) -> None:
        """Take the next bytes; a failure is answered at the end."""
        ...

    def finish(self, refusal: Rejected | None = None) -> bytes:
        """Keep the message, unless there is a `refusal`; return its acknowledgement."""
        ...

    def discard(self) -> None:
        """Forget the message, unless it is kept."""
        ...


BeginMessage = Callable[[str], IncomingMessage]
"""Begins a message from the given address."""

NoteRefusal = Callable[[ReasonCode, str, str, bool], None]
"""Records a refused connection: code, reason, address, and whether ``receive.hl7.peers`` lists the address."""

log = logging.getLogger(__name__)


class MllpListener(socketserver.ThreadingTCPServer):
    """The port of ``[receive.hl7]``, open once made; connections call `begin` and `note_refusal` in threads."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(
        self,
        config: Hl7Listener,
        begin: BeginMessage,
        note_refusal: NoteRefusal,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._begin = begin
        self._note_refusal = note_refusal
        self._tls = tls
        self._places = Counter[str]()
        self._lock = threading.Lock()
        if ":" in config.host:
            self.address_family = socket.AF_INET6
        super().__init__((config.host, config.port), socketserver.BaseRequestHandler)
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(POLL_S,), name="hl7 listener", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self.socket.shutdown(socket.SHUT_RDWR)  # ends the wait for a connection
        self.shutdown()
        self.server_close()

    def verify_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> bool:
        """Refuse an unlisted address, or a connection beyond the limit, before a thread starts for it."""
        address = plain_address(client_address[0])
        if not any(address in network for network in self._config.peers):
            reason = "it is not listed: add it to receive.hl7.peers"
            self._refuse(ReasonCode.HL7_ADDRESS_NOT_LISTED, reason, str(address), is_listed=False)
            return False
        if full := self._take_place(str(address)):
            self._refuse(ReasonCode.HL7_TOO_MANY_CONNECTIONS, f"more at a time than {full}", str(address))
            return False
        return True

    def _take_place(self, address: str) -> str:
        """Take a place for a connection; return the setting that forbids it, or nothing."""
        with self._lock:
            if self._places.total() >= self._config.connections:
                return "receive.hl7.connections"
            if self._places[address] >= self._config.connections_per_peer:
                return "receive.hl7.connections_per_peer, from one address"
            self._places[address] += 1
            return ""

    def _leave_place(self, client_address: tuple[str, int]) -> None:
        with self._lock:
            self._places -= Counter({str(plain_address(client_address[0])): 1})

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Start a thread for the connection; without one, close the connection and free its slot."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            log.error("no thread can be started for a connection: see TasksMax of the unit")
            self.shutdown_request(request)
            self._leave_place(client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Serve one connection to its end, then free its slot."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave_place(client_address)

    def finish_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Acknowledge message after message."""
        assert isinstance(request, socket.socket)
        address = str(plain_address(client_address[0]))
        connection = request
        try:
            connection = self._prepare(request)
            _Conversation(connection, self._config, lambda: self._begin(address)).run()
        except Rejected as error:
            self._refuse(error.code, error.reason, address)
            _send_last(
                connection, error.acknowledgement if isinstance(error, _Refused) else acknowledgement(b"", error)
            )
        except ssl.SSLError as error:
            self._refuse(ReasonCode.HL7_TLS_FAILED, f"no secure connection: {tls_reason(error)}", address)
        except TimeoutError:
            reason = "half a message or handshake, or an acknowledgement that is not read"
            self._refuse(ReasonCode.HL7_TOO_SLOW, reason, address)
        except (EOFError, OSError):
            self._refuse(ReasonCode.HL7_CUT, "the connection ended within a message", address)
        finally:
            connection.close()

    def _prepare(self, connection: socket.socket) -> socket.socket:
        """Return the connection with its time-out, inside TLS where the site asks for it."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._config.message_s)
        if self._tls is None:
            return connection
        return self._tls.wrap_socket(connection, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a bug by its type alone; its sender has no acknowledgement and sends the message again."""
        log.error("a message could not be answered (%s): its sender comes again", type(sys.exception()).__name__)

    def _refuse(self, code: ReasonCode, reason: str, address: str, *, is_listed: bool = True) -> None:
        log.warning("HL7 from %s: %s (%s)", address, reason, code)
        self._note_refusal(code, reason, address, is_listed)


class _Refused(Rejected):
    """A message at which the connection ends, with its acknowledgement."""

    def __init__(self, refusal: Rejected, acknowledgement: bytes) -> None:
        super().__init__(refusal.code, refusal.reason)
        self.acknowledgement = acknowledgement


class _Conversation:
    """Messages over a connection, one after the other, each with its acknowledgement."""

    def __init__(self, connection: socket.socket, config: Hl7Listener, begin: Callable[[], IncomingMessage]) -> None:
        self._connection = connection
        self._config = config
        self._begin = begin
        self._frames = Frames()
        self._message: IncomingMessage | None = None
        self._message_bytes = 0

    def run(self) -> None:
        """Answer messages until the peer closes, or is silent, between two of them.

        Raises
        ------
        TimeoutError, EOFError, OSError
            A message did not end: in time, before the peer closed, or at all.
        Rejected
            A message is too large, or no MLLP.
        """
        deadline = time.monotonic() + self._config.idle_s
        try:
            while piece := self._receive(deadline):
                was_inside = self._message is not None
                has_ended = self._take(piece)
                is_inside = self._message is not None
                if has_ended or is_inside is not was_inside:
                    deadline = time.monotonic() + (self._config.message_s if is_inside else self._config.idle_s)
        finally:
            self._discard()

    def _receive(self, deadline: float) -> bytes:
        """Return the next bytes; none if the peer closed, or sent no message in time, between messages."""
        try:
            if time.monotonic() > deadline:  # the peer drips
                raise TimeoutError
            piece = receive_before(self._connection, deadline)
        except (TimeoutError, ConnectionResetError):
            if self._message is not None:
                raise
            return b""
        if not piece and self._message is not None:
            raise EOFError
        return piece

    def _take(self, piece: bytes) -> bool:
        """Take the next bytes; return whether a message has ended in them."""
        has_stray = has_ended = False
        for part, content in self._frames.parts(piece):
            match part:
                case Part.START:
                    self._discard()
                    self._message, self._message_bytes = self._begin(), 0
                    has_stray = False  # bytes before a start are noise
                case Part.CONTENT if self._message:
                    self._write(self._message, content)
                case Part.END if self._message:
                    _send(self._connection, self._message.finish())
                    self._message = None
                    has_ended = True
                case Part.STRAY:
                    has_stray = True
        if has_stray:
            raise Rejected(ReasonCode.HL7_NO_MLLP, "its bytes are not framed as MLLP: check that it is an HL7 system")
        return has_ended

    def _write(self, message: IncomingMessage, content: bytes) -> None:
        self._message_bytes += len(content)
        if self._message_bytes > self._config.message_mb * MEGABYTE:
            reason = f"it is larger than receive.hl7.message_mb ({self._config.message_mb})"
            refusal = Rejected(ReasonCode.HL7_TOO_LARGE, reason)
            raise _Refused(refusal, message.finish(refusal))
        message.write(content)

    def _discard(self) -> None:
        message, self._message = self._message, None
        if message:
            message.discard()


def _send(connection: socket.socket, content: bytes) -> None:
    connection.settimeout(CLOSING_S)
    connection.sendall(framed(content))


def _send_last(connection: socket.socket, content: bytes) -> None:
    """Send a last acknowledgement and read on until the peer has hung up, for at most `CLOSING_S`."""
    deadline = time.monotonic() + CLOSING_S
    with contextlib.suppress(OSError):
        _send(connection, content)
        connection.shutdown(socket.SHUT_WR)
        while time.monotonic() < deadline and connection.recv(PIECE_BYTES):
            pass
