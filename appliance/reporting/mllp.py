"""HL7 over MLLP: send one message, wait for its acknowledgement, read it, believe only it.

References
----------
HL7 v2.5.1 ch. 2.9.2 (acknowledgements), tables 0008 and 0357; Transport Specification: MLLP, Release 1.
"""

from __future__ import annotations

import socket
import time
from typing import NoReturn

from appliance.errors import Rejected, Transient
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


class MllpDestination:
    """A RIS or interface engine that takes our ORU^R01."""

    def __init__(self, name: str, host: str, port: int, timeout_s: float) -> None:
        self.name = name
        self._host, self._port, self._timeout_s = host, port, timeout_s

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Send the messages one after the other over one connection; a note for each, in words.

        Raises
        ------
        Transient
            No connection, no whole acknowledgement in time, one for another message, or MSA-1 AE or CE.
        Rejected
            MSA-1 AR or CR.
        """
        try:
            with socket.create_connection((self._host, self._port), self._timeout_s) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return [self._exchange(connection, artefact.content) for artefact in artefacts]
        except TimeoutError:
            self._transient("mllp_timeout", f"no acknowledgement within {self._timeout_s:g} s")
        except OSError as error:
            why = error.strerror or type(error).__name__
            self._transient("mllp_unreachable", f"the connection failed ({why})")

    def _exchange(self, connection: socket.socket, message: bytes) -> str:
        deadline = time.monotonic() + self._timeout_s
        connection.settimeout(self._timeout_s)
        connection.sendall(START + message + END)
        received = b""
        while END not in received:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = connection.recv(65536)
            if not piece:
                self._transient("mllp_closed", "the peer closed before its acknowledgement ended")
            received += piece
            if len(received) > LONGEST_ACK_BYTES:
                self._transient("mllp_garbage", "the acknowledgement does not end")
        return self._judge(message, received[: received.index(END)])

    def _judge(self, message: bytes, framed: bytes) -> str:
        _, start, acknowledgement = framed.partition(START)
        segments = acknowledgement.replace(b"\n", b"\r").split(b"\r")
        msa = next((s for s in segments if s.startswith(b"MSA")), b"")
        if not start or not msa or not acknowledgement.startswith(b"MSH"):
            self._transient("mllp_garbage", "what came back is no acknowledgement")
        code, answered = _field(msa, 1), _field(msa, 2)
        sent = _field(message.split(b"\r", 1)[0], 9)  # MSH-10: MSH-1 is the separator itself
        if answered != sent:
            self._transient("mllp_mismatch", "the acknowledgement is for another message (MSA-2)")
        if code in ACCEPTED:
            return f"acknowledged ({code})"
        errors = [_field(s, 3).split("^")[0] for s in segments if s.startswith(b"ERR")]
        why = f", error {errors[0]}" if errors and errors[0].isdecimal() else ""
        if code in REFUSED and not PASSING_ERRORS & set(errors):
            raise Rejected("mllp_refused", f"{self.name} refuses the message ({code}{why}); see its log")
        if code in RETRIED | REFUSED:
            self._transient("mllp_error", f"the peer answers {code}{why}; see its log")
        self._transient("mllp_garbage", "MSA-1 is no acknowledgement code")

    def _transient(self, code: str, what: str) -> NoReturn:
        raise Transient(code, f"{self.name} at {self._host}:{self._port}: {what}")


def _field(segment: bytes, number: int) -> str:
    fields = segment.split(b"|")
    return fields[number].decode("utf-8", "replace").strip() if number < len(fields) else ""
