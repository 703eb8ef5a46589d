"""Storage SCU: many objects on one association, each with a status of its own.

Data sets go out as the bytes in which they lie, chunk by chunk, without being decoded; only what the peer does not
take so is rewritten (`forms`).

References
----------
DICOM PS3.4 annex B (Storage Service Class), PS3.8 section 9.3.2.2 (presentation contexts).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import _config, build_context
from pynetdicom.association import Association

from appliance.errors import OsteonError

from .dimse_status import StoreOutcome, StoreStatus, status_from_code
from .negotiation import ObjectForm
from .peer import DicomPeer, associated

_config.STORE_SEND_CHUNKED_DATASET = True
"""pynetdicom reads a file as it sends it, instead of decoding it and holding it twice."""

MOST_CONTEXTS = 128
"""Presentation context identifiers are the odd numbers up to 255 (DICOM PS3.8 section 9.3.2.2)."""


def send_files(
    paths: Iterable[Path],
    *,
    host: str,
    port: int,
    called_ae_title: str,
    calling_ae_title: str,
    timeout_s: float = 30.0,
) -> Iterator[tuple[Path, StoreStatus]]:
    """Send files of any storage class as they are; yields each with its status, as it is known.

    Raises
    ------
    Transient
        No association: the peer is away or refuses it.
    """
    peer = DicomPeer(
        host=host,
        port=port,
        called_ae_title=called_ae_title,
        calling_ae_title=calling_ae_title,
        timeout_s=timeout_s,
    )
    files: list[_File] = []
    for path in paths:
        try:
            files.append(_file(path))
        except (InvalidDicomError, OSError, AttributeError, ValueError):
            yield path, StoreStatus(outcome=StoreOutcome.REJECTED, words="no DICOM file with File Meta Information")
    while files:
        batch = _batch(files)
        files = files[len(batch) :]
        with store_association(peer, [file.form for file in batch]) as association:
            for file in batch:
                if file.form in accepted_forms(association):
                    yield file.path, store(association, file.path)
                else:
                    yield file.path, StoreStatus(outcome=StoreOutcome.REJECTED, words=f"the peer takes no {file.form}")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    form: ObjectForm


def _file(path: Path) -> _File:
    meta = read_file_meta_info(path)
    return _File(path, ObjectForm(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID))


def _batch(files: list[_File]) -> list[_File]:
    """As many of the first `files` as one association has contexts for."""
    seen: set[ObjectForm] = set()
    for number, file in enumerate(files):
        seen.add(file.form)
        if len(seen) > MOST_CONTEXTS:
            return files[:number]
    return files


def store_association(peer: DicomPeer, wanted: Iterable[ObjectForm]) -> contextlib.AbstractContextManager[Association]:
    """An association with a context for each form that is wanted, and no others: one syntax each, ours to choose."""
    contexts = [build_context(form.sop_class_uid, form.transfer_syntax_uid) for form in dict.fromkeys(wanted)]
    return associated(peer, contexts[:MOST_CONTEXTS])


def accepted_forms(association: Association) -> set[ObjectForm]:
    """What the peer takes of what was wanted."""
    return {ObjectForm(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}


def store(association: Association, path: Path) -> StoreStatus:
    """C-STORE one file in the form in which it lies, which the peer takes."""
    if not association.is_established:
        return StoreStatus(outcome=StoreOutcome.TRANSIENT, words="the association was aborted")
    try:
        answer = association.send_c_store(path)
    except (OSError, RuntimeError, ValueError, OsteonError):
        return StoreStatus(outcome=StoreOutcome.TRANSIENT, words="the instance could not be sent")
    if "Status" not in answer:
        return StoreStatus(outcome=StoreOutcome.TRANSIENT, words="no answer: timeout, or the connection was lost")
    return status_from_code(answer.Status)


def store_bytes(association: Association, content: bytes) -> StoreStatus:
    """C-STORE a DICOM file that lies in memory; the library reads only files, so it is given one without a disk."""
    descriptor = os.memfd_create("osteon-send", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        return store(association, Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)
