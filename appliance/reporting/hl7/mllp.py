"""HL7 over MLLP: send one message, wait for its acknowledgement, and count only on that.

The message itself asks for its acknowledgements (MSH-15 and MSH-16): in the original mode for one; in the enhanced mode
for the accept acknowledgement, and where the site configures it for the application's after that.

References
----------
HL7 v2.5.1 ch. 2.9.2 and 2.9.3 (acknowledgements), tables 0008, 0155 and 0357; Transport Specification: MLLP, Release 1.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, Self

from appliance.domain.reason import ReasonCode
from appliance.errors import Away, Refused, Transient
from appliance.network import Probe, connect, connection_failure, probe, tls_failure
from appliance.ports import Artefact

from .frames import BLANK, SHORTEST_WAIT_S, Frames, Part, framed, receive_before

LONGEST_ACK_BYTES = 4 * 1024 * 1024
"""Bytes without an end of frame that show a peer which speaks no MLLP; acknowledgements have a few hundred."""

ACCEPTED = frozenset({"AA", "CA"})
"""MSA-1, table 0008: application accept and commit accept."""

RETRIED = frozenset({"AE", "CE"})
"""MSA-1, table 0008: error. Interface engines use it for temporary faults: a locked record, a patient before the ADT,
a rule under repair. Another try loses nothing, and the status page shows it."""

REFUSED = frozenset({"AR", "CR"})
"""MSA-1, table 0008: reject."""

TEMPORARY_ERRORS = frozenset({"206", "207"})
"""ERR-3 of table 0357, record locked and internal error: temporary, even in a reject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """MSA-1, MSA-2 and, as digits, ERR-3.1 of the first error of an acknowledgement."""

    code: str
    control_id: str
    error: str = ""


class MllpDestination:
    """A RIS or interface engine that takes our messages; `tls` is the context for an encrypted connection."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self.name = name
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._tls = tls
        self._server_name = server_name or host

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Send the messages one after the other over one connection; return a note on each, for people.

        Raises
        ------
        Transient
            No connection (`Away`), a connection that breaks, no whole acknowledgement in time, one for another message,
            or MSA-1 is AE or CE.
        Refused
            MSA-1 is AR or CR.
        """
        is_connected = False
        try:
            with self._connect() as connection:
                is_connected = True
                return [self._exchange(connection, artefact.content) for artefact in artefacts]
        except ssl.SSLError as error:
            raise Away(ReasonCode.MLLP_TLS, f"{self._where}: {tls_failure(error)}") from None
        except OSError as error:
            if is_connected:  # the message itself may be what ends the connection
                why = "timed out" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
                self._transient(ReasonCode.MLLP_CLOSED, f"the connection broke ({why})")
            why = connection_failure(error, self._host)
            raise Away(ReasonCode.MLLP_UNREACHABLE, f"{self._where}: {why}") from None

    def probe(self) -> Probe:
        """Connect, with TLS where the site has it, and close: nothing is sent."""
        return probe(self._host, self._port, self._timeout_s, self._tls, self._server_name)

    def _connect(self) -> _Connection:
        return _Connection(connect(self._host, self._port, self._timeout_s, self._tls, self._server_name))

    def _exchange(self, connection: _Connection, message: bytes) -> str:
        deadline = time.monotonic() + self._timeout_s
        try:
            connection.send(message, deadline)
        except TimeoutError:
            self._transient(ReasonCode.MLLP_TIMEOUT, f"it did not read the message within {self._timeout_s:g} s")
        fields = message.split(b"\r", 1)[0].split(b"|")
        control_id = fields[9].decode()  # MSH-10: MSH-1 is the separator itself
        wants_application = len(fields) > 15 and fields[14] != b"" and fields[15] == b"AL"  # MSH-15, MSH-16
        while True:
            received = self._receive(connection, deadline)
            if received.control_id != control_id:
                if received.control_id in connection.acknowledged:  # sent twice; ours comes next
                    continue
                self._transient(ReasonCode.MLLP_MISMATCH, "the acknowledgement is for another message (MSA-2)")
            self._check_accepted(received)
            if received.code == "CA" and wants_application:
                continue
            connection.acknowledged.add(control_id)
            return f"acknowledged ({received.code})"

    def _receive(self, connection: _Connection, deadline: float) -> Acknowledgement:
        try:
            content = connection.message(deadline)
        except TimeoutError:
            self._check_unframed(connection)
            if connection.has_open_acknowledgement:
                self._no_frame(f"without MLLP's end bytes within {self._timeout_s:g} s")
            self._transient(ReasonCode.MLLP_TIMEOUT, f"no acknowledgement within {self._timeout_s:g} s")
        except EOFError:
            self._check_unframed(connection)
            self._transient(ReasonCode.MLLP_CLOSED, "the peer closed before its acknowledgement ended")
        except OverflowError:
            self._transient(ReasonCode.MLLP_GARBAGE, "the acknowledgement does not end")
        if content is None:
            self._check_unframed(connection)
        received = acknowledgement_of(content or b"")
        if received is None:
            self._transient(ReasonCode.MLLP_GARBAGE, "the peer's reply is no acknowledgement")
        return received

    def _check_unframed(self, connection: _Connection) -> None:
        """Raise the error that bytes outside of any frame stand for, if there are any."""
        if connection.unframed.startswith(b"MSH|"):
            self._no_frame("without MLLP's start byte")
        if connection.unframed:
            self._transient(ReasonCode.MLLP_GARBAGE, "the peer's reply is no MLLP; check host and port")

    def _no_frame(self, how: str) -> NoReturn:
        self._transient(ReasonCode.MLLP_NO_FRAME, f"the acknowledgement came {how}; correct its framing")

    def _check_accepted(self, received: Acknowledgement) -> None:
        """Raise the error that the code of the acknowledgement stands for."""
        if received.code in ACCEPTED:
            return
        why = f", error {received.error}" if received.error else ""
        if received.code in REFUSED and received.error not in TEMPORARY_ERRORS:
            raise Refused(
                ReasonCode.MLLP_REFUSED, f"{self.name} refuses the message ({received.code}{why}); see its log"
            )
        if received.code in RETRIED | REFUSED:
            self._transient(ReasonCode.MLLP_ERROR, f"the peer answers {received.code}{why}; see its log")
        self._transient(ReasonCode.MLLP_GARBAGE, "MSA-1 is no acknowledgement code")

    @property
    def _where(self) -> str:
        return f"{self.name} at {self._host}:{self._port}"

    def _transient(self, code: ReasonCode, reason: str) -> NoReturn:
        raise Transient(code, f"{self._where}: {reason}")


class _Connection:
    """A connection to the peer, and the control ids that it has acknowledged."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._frames = Frames()
        self._parts: Iterator[tuple[Part, bytes]] = iter(())
        self._content: bytearray | None = None
        self.unframed = bytearray()
        self.acknowledged: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, message: bytes, deadline: float) -> None:
        """Send the message.

        Raises
        ------
        TimeoutError
            The peer did not read it in time.
        """
        rest = memoryview(framed(message))
        while rest:  # sendall over TLS would begin its time-out anew for each record
            if time.monotonic() > deadline:
                raise TimeoutError
            self._socket.settimeout(max(deadline - time.monotonic(), SHORTEST_WAIT_S))
            rest = rest[self._socket.send(rest) :]

    def message(self, deadline: float) -> bytes | None:
        """Return the content of the next frame; None for a frame that ends and has no start.

        Raises
        ------
        TimeoutError, EOFError, OverflowError
            No frame ended: in time, before the peer closed, or within `LONGEST_ACK_BYTES`.
        """
        while True:
            for part, content in self._parts:
                match part:
                    case Part.START:
                        self._content = bytearray()
                    case Part.CONTENT if self._content is not None:
                        self._content += content
                    case Part.END if self._content is not None:
                        whole, self._content = bytes(self._content), None
                        return whole
                    case Part.END if self.unframed:
                        return None
                    case _:
                        self.unframed += content
            if len(self._content or b"") + len(self.unframed) > LONGEST_ACK_BYTES:
                raise OverflowError
            if time.monotonic() > deadline:
                raise TimeoutError
            piece = receive_before(self._socket, deadline)
            if not piece:
                raise EOFError
            self._parts = self._frames.parts(piece)

    @property
    def has_open_acknowledgement(self) -> bool:
        """Return whether an acknowledgement came in a frame that has not ended."""
        return b"MSA|" in (self._content or b"")


def acknowledgement_of(content: bytes) -> Acknowledgement | None:
    """Read the acknowledgement in a message, with any line ends; None if there is none."""
    text = content.lstrip(BLANK)
    msa = next((_fields(found) for found in _MSA.finditer(text)), None)
    if not text.startswith(b"MSH|") or msa is None:
        return None
    errors = (_field(_fields(found), 3).split("^")[0] for found in _ERR.finditer(text))
    error = next((e for e in errors if e.isdecimal()), "")
    return Acknowledgement(code=_field(msa, 1), control_id=_field(msa, 2), error=error)


_MSA, _ERR = (re.compile(rb"(?<=[\r\n])%b\|[^\r\n]*" % name) for name in (b"MSA", b"ERR"))


def _fields(segment: re.Match[bytes]) -> list[bytes]:
    return segment[0].split(b"|", 4)


def _field(fields: list[bytes], number: int) -> str:
    return fields[number].decode("utf-8", "replace").strip() if number < len(fields) else ""
