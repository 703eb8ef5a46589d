"""A TCP port that takes HL7 messages over MLLP: one thread for each connection, and never more than there is room for.

A peer that is silent, sends half a message, one that is too large, or no HL7 at all loses its own connection.

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
from collections.abc import Callable

from appliance.config import MEGABYTE, Hl7Listener
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.network import plain_address, tls_reason

from .mllp import END, START
from .radiologist_report import acknowledgement

PIECE_BYTES = 65536

CLOSING_S = 2.0
"""How long a peer has to read why it was turned away: a reset would take the words away from it."""

POLL_S = 0.05
"""How soon the listener sees that it is to stop."""

Answer = Callable[[bytes, str], bytes]
"""Takes a message and the address that it came from; the acknowledgement."""

Turned = Callable[[ReasonCode, str, str, bool], None]
"""Is told of a connection that is turned away: code, reason, address, and whether that is listed."""

log = logging.getLogger(__name__)


class MllpListener(socketserver.ThreadingTCPServer):
    """The port of ``[receive.hl7]``, open at once; `answer` and `turned` are called in the connections' threads."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, config: Hl7Listener, answer: Answer, turned: Turned, tls: ssl.SSLContext | None = None) -> None:
        self._config, self._answer, self._turned, self._tls = config, answer, turned, tls
        self._places = threading.BoundedSemaphore(config.connections)
        if ":" in config.host:
            self.address_family = socket.AF_INET6
        super().__init__((config.host, config.port), socketserver.BaseRequestHandler)
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(POLL_S,), name="hl7 listener", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self.shutdown()
        self.server_close()

    def verify_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> bool:
        """Close at once what is not listed or beyond the number of connections, before there is a thread for it."""
        at = plain_address(client_address[0])
        if not any(at in network for network in self._config.peers):
            self._turn(
                ReasonCode.HL7_ADDRESS_NOT_LISTED, "it is not listed: add it to receive.hl7.peers", str(at), known=False
            )
            return False
        if not self._places.acquire(blocking=False):
            self._turn(ReasonCode.HL7_TOO_MANY_CONNECTIONS, "more at a time than receive.hl7.connections", str(at))
            return False
        return True

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Begin a thread; where there can be none, the place is given back."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            log.error("no thread can be started for a connection: see TasksMax of the unit")
            self.shutdown_request(request)
            self._places.release()

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Hear one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def finish_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Answer message after message."""
        assert isinstance(request, socket.socket)
        address = str(plain_address(client_address[0]))
        connection = request
        try:
            connection = self._secured(request)
            frames = _Frames(connection, self._config)
            while (message := frames.read()) is not None:
                _send(connection, self._answer(message, address))
        except _TooLarge as error:
            self._turn(ReasonCode.HL7_TOO_LARGE, error.reason, address)
            _part(connection, acknowledgement(error.beginning, error))
        except Rejected as error:
            self._turn(error.code, error.reason, address)
            _part(connection, acknowledgement(b"", error))
        except ssl.SSLError as error:
            self._turn(ReasonCode.HL7_TLS_FAILED, f"no secure connection: {tls_reason(error)}", address)
        except TimeoutError:
            self._turn(
                ReasonCode.HL7_TOO_SLOW, "half a message or handshake, or an acknowledgement that is not read", address
            )
        except (EOFError, OSError):
            self._turn(ReasonCode.HL7_CUT, "the connection ended within a message", address)
        finally:
            connection.close()

    def _secured(self, connection: socket.socket) -> socket.socket:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._config.message_s)
        if self._tls is None:
            return connection
        return self._tls.wrap_socket(connection, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A bug costs its own connection, whose peer was not answered and comes again; nothing of it is printed."""
        log.error("a message could not be answered (%s): its sender comes again", type(sys.exception()).__name__)

    def _turn(self, code: ReasonCode, reason: str, address: str, *, known: bool = True) -> None:
        log.warning("HL7 from %s: %s (%s)", address, reason, code)
        self._turned(code, reason, address, known)


class _TooLarge(Rejected):
    """Carries the beginning, which names the message."""

    def __init__(self, beginning: bytes, message_mb: int) -> None:
        super().__init__(ReasonCode.HL7_TOO_LARGE, f"it is larger than receive.hl7.message_mb ({message_mb})")
        self.beginning = beginning


class _Frames:
    """Messages over a socket; what follows one is the beginning of the next."""

    def __init__(self, connection: socket.socket, config: Hl7Listener) -> None:
        self._socket, self._config = connection, config
        self._received = bytearray()

    def read(self) -> bytes | None:
        """The next message without its framing; None if the peer closed, or is silent, between messages.

        Raises
        ------
        TimeoutError, EOFError, OSError
            It did not come to its end: in time, before the peer closed, or at all.
        Rejected
            It is too large (`_TooLarge`), or no MLLP.
        """
        most_bytes = self._config.message_mb * MEGABYTE
        deadline, seen = time.monotonic() + self._config.message_s, 0
        while True:
            self._received = self._received.lstrip(b"\r\n") if seen == 0 else self._received
            if self._received and START not in self._received[:PIECE_BYTES]:
                raise Rejected(ReasonCode.HL7_NO_MLLP, "what it sends is not framed as MLLP: is it an HL7 system?")
            if (end := self._received.find(END, max(0, seen - 1))) >= 0:
                frame = bytes(self._received[:end])
                del self._received[: end + len(END)]
                return frame.rpartition(START)[2]  # what stands before the last start was given up by its sender
            seen = len(self._received)
            if seen > most_bytes:
                raise _TooLarge(bytes(self._received[:PIECE_BYTES]).partition(START)[2], self._config.message_mb)
            if seen:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                piece = self._socket.recv(PIECE_BYTES)
                if not piece:
                    raise EOFError
            else:
                self._socket.settimeout(self._config.idle_s)
                try:
                    piece = self._socket.recv(PIECE_BYTES)
                except (TimeoutError, ConnectionResetError):
                    return None
                if not piece:
                    return None
                deadline = time.monotonic() + self._config.message_s
            self._received += piece


def _send(connection: socket.socket, content: bytes) -> None:
    connection.settimeout(CLOSING_S)
    connection.sendall(START + content + END)


def _part(connection: socket.socket, content: bytes) -> None:
    """Say it, and read on for a moment until the peer has hung up."""
    deadline = time.monotonic() + CLOSING_S
    with contextlib.suppress(OSError):
        _send(connection, content)
        connection.shutdown(socket.SHUT_WR)
        while time.monotonic() < deadline and connection.recv(PIECE_BYTES):
            pass
