"""A TCP port that takes HL7 messages over MLLP: one thread for each connection, up to a limit.

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

from .frames import PIECE_BYTES, FrameBuffer, content_of, framed, receive_before
from .radiologist_report import acknowledgement

CLOSING_S = 2.0
"""Time that a refused peer has to read the reason: a reset would discard it on the peer's side."""

POLL_S = 0.05
"""Longest time until the listener notices that it has to stop."""

Acknowledge = Callable[[bytes, str], bytes]
"""Takes a message and the address of its sender, and returns the acknowledgement."""

NoteRefusal = Callable[[ReasonCode, str, str, bool], None]
"""Records a refused connection: code, reason, address, and whether ``receive.hl7.peers`` lists the address."""

log = logging.getLogger(__name__)


class MllpListener(socketserver.ThreadingTCPServer):
    """The port of ``[receive.hl7]``, open once made; connections call `acknowledge` and `note_refusal` in threads."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(
        self,
        config: Hl7Listener,
        acknowledge: Acknowledge,
        note_refusal: NoteRefusal,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._acknowledge = acknowledge
        self._note_refusal = note_refusal
        self._tls = tls
        self._slots = threading.BoundedSemaphore(config.connections)
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
        """Refuse an unlisted address, or a connection beyond the limit, before a thread starts for it."""
        address = plain_address(client_address[0])
        if not any(address in network for network in self._config.peers):
            reason = "it is not listed: add it to receive.hl7.peers"
            self._refuse(ReasonCode.HL7_ADDRESS_NOT_LISTED, reason, str(address), is_listed=False)
            return False
        if not self._slots.acquire(blocking=False):
            reason = "more at a time than receive.hl7.connections"
            self._refuse(ReasonCode.HL7_TOO_MANY_CONNECTIONS, reason, str(address))
            return False
        return True

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Start a thread for the connection; without one, close the connection and free its slot."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            log.error("no thread can be started for a connection: see TasksMax of the unit")
            self.shutdown_request(request)
            self._slots.release()

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Serve one connection to its end, then free its slot."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def finish_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        """Acknowledge message after message."""
        assert isinstance(request, socket.socket)
        address = str(plain_address(client_address[0]))
        connection = request
        try:
            connection = self._prepare(request)
            reader = _MessageReader(connection, self._config)
            while (message := reader.read()) is not None:
                _send(connection, self._acknowledge(message, address))
        except _TooLarge as error:
            self._refuse(ReasonCode.HL7_TOO_LARGE, error.reason, address)
            _send_last(connection, acknowledgement(error.beginning, error))
        except Rejected as error:
            self._refuse(error.code, error.reason, address)
            _send_last(connection, acknowledgement(b"", error))
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


class _TooLarge(Rejected):
    """A message beyond the limit; its beginning names it, for the acknowledgement."""

    def __init__(self, beginning: bytes, message_mb: int) -> None:
        super().__init__(ReasonCode.HL7_TOO_LARGE, f"it is larger than receive.hl7.message_mb ({message_mb})")
        self.beginning = beginning


class _MessageReader:
    """Messages over a socket, one after the other."""

    def __init__(self, connection: socket.socket, config: Hl7Listener) -> None:
        self._connection = connection
        self._config = config
        self._buffer = FrameBuffer()

    def read(self) -> bytes | None:
        """Return the next message without framing; None if the peer closed, or was silent, between messages.

        Raises
        ------
        TimeoutError, EOFError, OSError
            The message did not end: in time, before the peer closed, or at all.
        Rejected
            The message is too large (`_TooLarge`), or no MLLP.
        """
        longest_bytes = self._config.message_mb * MEGABYTE
        deadline = time.monotonic() + self._config.message_s
        while True:
            self._buffer.skip_line_ends()
            if self._buffer and not self._buffer.has_start():
                raise Rejected(
                    ReasonCode.HL7_NO_MLLP, "its bytes are not framed as MLLP: check that it is an HL7 system"
                )
            if (frame := self._buffer.take_frame()) is not None:
                content = content_of(frame)
                return frame if content is None else content  # an end without a start is answered as garbled
            if len(self._buffer) > longest_bytes:
                raise _TooLarge(self._buffer.beginning(), self._config.message_mb)
            if self._buffer:
                piece = receive_before(self._connection, deadline)
                if not piece:
                    raise EOFError
            else:
                try:
                    piece = receive_before(self._connection, time.monotonic() + self._config.idle_s)
                except (TimeoutError, ConnectionResetError):
                    return None
                if not piece:
                    return None
                deadline = time.monotonic() + self._config.message_s
            self._buffer.append(piece)


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
