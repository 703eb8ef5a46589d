"""HL7 over MLLP: send one message, wait for its acknowledgement, read it, believe only it.

Which acknowledgement ends the wait is what the message itself asks for (MSH-15 and MSH-16): one in the original mode;
in the enhanced mode the accept acknowledgement, and the application's after it where that is asked for, too.

References
----------
HL7 v2.5.1 ch. 2.9.2 and 2.9.3 (acknowledgements), tables 0008, 0155 and 0357; Transport Specification: MLLP, Release 1.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from typing import NoReturn, Self

from appliance.domain.reason import ReasonCode
from appliance.errors import Away, Rejected, Transient
from appliance.ports import Artefact

START, END = b"\x0b", b"\x1c\r"

LONGEST_ACK_BYTES = 4 * 1024 * 1024

ACCEPTED = frozenset({"AA", "CA"})
RETRIED = frozenset({"AE", "CE"})
"""Interface engines answer "error" to all that may pass: a locked record, a patient whose ADT is not in yet,
a rule that somebody is about to mend. Trying again loses nothing and the status page shows it."""
REFUSED = frozenset({"AR", "CR"})

PASSING_ERRORS = frozenset({"206", "207"})
"""ERR-3 of table 0357, record locked and internal error: even a reject passes then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What is read of one: MSA-1, MSA-2 and, as digits, the first error's ERR-3.1."""

    code: str
    control_id: str
    error: str = ""


class MllpDestination:
    """A RIS or interface engine that takes our messages; `tls` is the context of an encrypted connection."""

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
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._tls, self._server_name = tls, server_name or host

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Send the messages one after the other over one connection; a note for each, in words.

        Raises
        ------
        Transient
            No connection (`Away`), no whole acknowledgement in time, one for another message, or MSA-1 AE or CE.
        Rejected
            MSA-1 AR or CR.
        """
        try:
            with self._connected() as connection:
                return [self._exchange(connection, artefact.content) for artefact in artefacts]
        except TimeoutError:
            self._transient(ReasonCode.MLLP_TIMEOUT, f"no acknowledgement within {self._timeout_s:g} s")
        except ssl.SSLError as error:
            why = (error.reason or type(error).__name__).replace("_", " ").lower()
            raise Away(
                ReasonCode.MLLP_TLS, f"{self._where}: no secure connection ({why}); check the certificates"
            ) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise Away(ReasonCode.MLLP_UNREACHABLE, f"{self._where}: the connection failed ({why})") from None

    def _connected(self) -> _Connection:
        connection = socket.create_connection((self._host, self._port), self._timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_hostname=self._server_name)
            except OSError:
                connection.close()
                raise
        return _Connection(connection)

    def _exchange(self, connection: _Connection, message: bytes) -> str:
        deadline = time.monotonic() + self._timeout_s
        connection.send(message, deadline)
        fields = message.split(b"\r", 1)[0].split(b"|")
        control_id = fields[9].decode()  # MSH-10: MSH-1 is the separator itself
        wants_application = len(fields) > 15 and fields[14] != b"" and fields[15] == b"AL"  # MSH-15, MSH-16
        while True:
            answer = self._acknowledgement(connection, deadline)
            if answer.control_id != control_id:
                if answer.control_id in connection.acknowledged:  # twice; the next is ours
                    continue
                self._transient(ReasonCode.MLLP_MISMATCH, "the acknowledgement is for another message (MSA-2)")
            self._judge(answer)
            if answer.code == "CA" and wants_application:
                continue
            connection.acknowledged.add(control_id)
            return f"acknowledged ({answer.code})"

    def _acknowledgement(self, connection: _Connection, deadline: float) -> Acknowledgement:
        try:
            frame = connection.frame(deadline)
        except EOFError:
            self._transient(ReasonCode.MLLP_CLOSED, "the peer closed before its acknowledgement ended")
        except OverflowError:
            self._transient(ReasonCode.MLLP_GARBAGE, "the acknowledgement does not end")
        answer = acknowledgement_of(frame)
        if answer is None:
            self._transient(ReasonCode.MLLP_GARBAGE, "what came back is no acknowledgement")
        return answer

    def _judge(self, answer: Acknowledgement) -> None:
        if answer.code in ACCEPTED:
            return
        why = f", error {answer.error}" if answer.error else ""
        if answer.code in REFUSED and answer.error not in PASSING_ERRORS:
            raise Rejected(
                ReasonCode.MLLP_REFUSED, f"{self.name} refuses the message ({answer.code}{why}); see its log"
            )
        if answer.code in RETRIED | REFUSED:
            self._transient(ReasonCode.MLLP_ERROR, f"the peer answers {answer.code}{why}; see its log")
        self._transient(ReasonCode.MLLP_GARBAGE, "MSA-1 is no acknowledgement code")

    @property
    def _where(self) -> str:
        return f"{self.name} at {self._host}:{self._port}"

    def _transient(self, code: ReasonCode, what: str) -> NoReturn:
        raise Transient(code, f"{self._where}: {what}")


class _Connection:
    """Frames over a socket; what follows one frame is the beginning of the next."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._received = b""
        self.acknowledged: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, message: bytes, deadline: float) -> None:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        self._socket.sendall(START + message + END)

    def frame(self, deadline: float) -> bytes:
        """What came up to the next end of a frame.

        Raises
        ------
        TimeoutError, EOFError, OverflowError
            If there is none: in time, before the peer closed, or within `LONGEST_ACK_BYTES`.
        """
        while END not in self._received:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = self._socket.recv(65536)
            if not piece:
                raise EOFError
            self._received += piece
            if len(self._received) > LONGEST_ACK_BYTES:
                raise OverflowError
        frame, _, self._received = self._received.partition(END)
        return frame


def acknowledgement_of(frame: bytes) -> Acknowledgement | None:
    """What the frame says, whatever stands before its start and however its lines end; None if it is none."""
    _, start, text = frame.partition(START)
    segments = [s.split(b"|") for s in text.replace(b"\n", b"\r").split(b"\r") if s]
    msa = next((s for s in segments if s[0] == b"MSA"), None)
    if not start or not text.startswith(b"MSH|") or msa is None:
        return None
    errors = (_field(s, 3).split("^")[0] for s in segments if s[0] == b"ERR")
    error = next((e for e in errors if e.isdecimal()), "")
    return Acknowledgement(code=_field(msa, 1), control_id=_field(msa, 2), error=error)


def _field(fields: list[bytes], number: int) -> str:
    return fields[number].decode("utf-8", "replace").strip() if number < len(fields) else ""
