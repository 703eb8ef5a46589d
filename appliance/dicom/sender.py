"""Storage SCU: answers to a PACS, and files from disk for `osteon send`.

The data set goes out as the bytes it lies in, in its own transfer syntax, without being decoded; only where
the peer takes nothing but Implicit VR Little Endian is an answer of ours written anew.

References
----------
DICOM PS3.4 annex B (Storage Service Class), PS3.7 annex C (status), PS3.8 section 9.3.4 (A-ASSOCIATE-RJ).
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu import A_ASSOCIATE_RJ

from appliance.errors import OsteonError, Rejected, Transient
from appliance.ports import Artefact

_config.STORE_SEND_CHUNKED_DATASET = True
"""pynetdicom reads a file as it sends it, instead of decoding it and holding it twice."""

LONGEST_PDU = 128 * 1024
"""Eight times pynetdicom's default; larger ones brought nothing in our measurements."""

MOST_CONTEXTS = 128
"""Presentation context identifiers are the odd numbers up to 255 (DICOM PS3.8 section 9.3.2.2)."""

Fate = Literal["stored", "transient", "rejected"]

STATUSES: dict[int, tuple[Fate, str]] = {
    0x0000: ("stored", "stored"),
    0x0111: ("stored", "already there (duplicate SOP Instance)"),
    0xB000: ("stored", "stored, with some elements coerced"),
    0xB006: ("stored", "stored, with some elements discarded"),
    0xB007: ("stored", "stored, although the data set does not match its SOP class"),
    0x0110: ("transient", "processing failure"),
    0x0124: ("transient", "not authorised: allow our AE title at the peer"),
    0x0117: ("rejected", "invalid SOP Instance UID"),
    0x0122: ("rejected", "SOP class not supported"),
    0x0210: ("transient", "duplicate invocation"),
    0x0211: ("rejected", "the peer does not know C-STORE"),
    0x0212: ("rejected", "the peer finds the command mistyped"),
}
"""DIMSE status to what we do (DICOM PS3.7 C.4, PS3.4 table B.2-1); 0x0111 means that it is there."""

FAMILIES: tuple[tuple[int, int, Fate, str], ...] = (
    (0xFF00, 0xA700, "transient", "out of resources"),
    (0xFF00, 0xA900, "rejected", "the data set does not match its SOP class"),
    (0xF000, 0xC000, "rejected", "the peer cannot understand the data set"),
    (0xF000, 0xB000, "stored", "stored, with a warning"),
)
"""Mask, value: statuses that the Standard gives as ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStatus:
    """What became of one instance.

    Attributes
    ----------
    code
        The DIMSE status, or None where it came to none.
    """

    fate: Fate
    words: str
    code: int | None = None


def status_from_code(code: int) -> SendStatus:
    """What a C-STORE status means for us; an unknown failure is `transient`, since retrying loses nothing."""
    fate, words = STATUSES.get(code, (None, ""))
    for mask, value, family_fate, family_words in FAMILIES:
        if fate is None and code & mask == value:
            fate, words = family_fate, family_words
    if fate is None:
        fate, words = "transient", "unknown failure"
    return SendStatus(fate=fate, words=f"{words} (0x{code:04X})", code=code)


class StoreDestination:
    """A PACS that takes our objects by C-STORE; one association for all that are sent together."""

    def __init__(
        self, name: str, host: str, port: int, called_ae_title: str, calling_ae_title: str, timeout_s: float
    ) -> None:
        self.name = name
        self._peer = _Peer(host, port, called_ae_title, calling_ae_title, timeout_s)

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Store every object of the list; a note for each, in words.

        Raises
        ------
        Transient
            The peer is away or asks to come again, for at least one object.
        Rejected
            The peer refused at least one object for good, and none is transient.
        """
        with tempfile.TemporaryDirectory(prefix="osteon-send-") as folder:
            paths = []
            for number, artefact in enumerate(artefacts):
                path = Path(folder, f"{number}.dcm")
                try:
                    path.write_bytes(artefact.content)
                except OSError as error:
                    raise Transient("no_space", f"no temporary file: {error.strerror}; make room") from None
                paths.append(path)
            statuses = [status for _, status in _send(paths, self._peer, may_rewrite=True)]
        for fate, kind in (("transient", Transient), ("rejected", Rejected)):
            for artefact, status in zip(artefacts, statuses, strict=True):
                if status.fate == fate:
                    raise kind(f"store_{fate}", f"{self.name}, {artefact.kind}: {status.words}")
        return [status.words for status in statuses]


def send_files(
    paths: Iterable[Path],
    *,
    host: str,
    port: int,
    called_ae_title: str,
    calling_ae_title: str,
    timeout_s: float = 30.0,
) -> Iterator[tuple[Path, SendStatus]]:
    """Send files of any storage class as they are; yields each with its status, as it is known.

    Raises
    ------
    Transient
        No association: the peer is away or refuses it.
    """
    yield from _send(paths, _Peer(host, port, called_ae_title, calling_ae_title, timeout_s), may_rewrite=False)


@dataclass(frozen=True, slots=True)
class _Peer:
    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    sop_class_uid: str
    transfer_syntax_uid: str


def _send(paths: Iterable[Path], peer: _Peer, *, may_rewrite: bool) -> Iterator[tuple[Path, SendStatus]]:
    files: list[_File] = []
    for path in paths:
        try:
            files.append(_file(path))
        except (InvalidDicomError, OSError, AttributeError, ValueError):
            yield path, SendStatus(fate="rejected", words="no DICOM file with File Meta Information")
    while files:
        batch = _batch(files, may_rewrite)
        files = files[len(batch) :]
        with _association(peer, _pairs(batch, may_rewrite)) as association:
            for file in batch:
                yield file.path, _store(association, file, may_rewrite)


def _file(path: Path) -> _File:
    meta = read_file_meta_info(path)
    return _File(path, meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)


def _pairs(files: Iterable[_File], may_rewrite: bool) -> list[tuple[str, str]]:
    """SOP class and transfer syntax of the contexts that `files` need: one syntax each, ours to choose."""
    pairs = {}
    for file in files:
        pairs[file.sop_class_uid, file.transfer_syntax_uid] = True
        if may_rewrite:
            pairs[file.sop_class_uid, str(ImplicitVRLittleEndian)] = True
    return list(pairs)


def _batch(files: list[_File], may_rewrite: bool) -> list[_File]:
    """As many of the first `files` as one association has contexts for."""
    seen: set[tuple[str, str]] = set()
    for number, file in enumerate(files):
        seen.update(_pairs([file], may_rewrite))
        if len(seen) > MOST_CONTEXTS:
            return files[:number]
    return files


@contextlib.contextmanager
def _association(peer: _Peer, pairs: list[tuple[str, str]]) -> Iterator[Association]:
    ae = AE(ae_title=peer.calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = peer.timeout_s
    rejections: list[A_ASSOCIATE_RJ] = []
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=[build_context(*pair) for pair in pairs],
        ae_title=peer.called_ae_title,
        max_pdu=LONGEST_PDU,
        evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay), (evt.EVT_PDU_RECV, _note_rejection, [rejections])],
    )
    if rejections:  # and not is_rejected: when the peer closes at once, pynetdicom may take its rejection for an abort
        raise Transient(
            "association_rejected",
            f"{peer.called_ae_title} at {peer.host}:{peer.port} rejects the association: {rejections[0].reason_str}; "
            "check the AE titles on both sides",
        )
    if not association.is_established and not association.rejected_contexts:
        raise Transient(
            "unreachable",
            f"no association with {peer.called_ae_title} at {peer.host}:{peer.port}; "
            "check that it runs and that the network lets us through",
        )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _note_rejection(event: Event, rejections: list[A_ASSOCIATE_RJ]) -> None:
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        rejections.append(event.pdu)


def _without_delay(event: Event) -> None:
    """TCP_NODELAY: Nagle's algorithm with delayed ACK costs 40 ms a message."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _store(association: Association, file: _File, may_rewrite: bool) -> SendStatus:
    accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}
    if (file.sop_class_uid, file.transfer_syntax_uid) not in accepted:
        if not may_rewrite or (file.sop_class_uid, ImplicitVRLittleEndian) not in accepted:
            what = ", ".join(UID(uid).name for uid in (file.sop_class_uid, file.transfer_syntax_uid))
            return SendStatus(fate="rejected", words=f"the peer takes no {what}")
        ds = pydicom.dcmread(file.path)
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        ds.save_as(file.path, implicit_vr=True, little_endian=True)
    if not association.is_established:
        return SendStatus(fate="transient", words="the association was aborted")
    try:
        answer = association.send_c_store(file.path)
    except (OSError, RuntimeError, ValueError, OsteonError):
        return SendStatus(fate="transient", words="the instance could not be sent")
    if "Status" not in answer:
        return SendStatus(fate="transient", words="no answer: timeout, or the connection was lost")
    return status_from_code(answer.Status)
