"""Storage SCU: many objects on one association, each with its own status.

Data sets are sent as their bytes, in chunks, without decoding; `negotiation` converts only objects that the peer does
not accept in their form.

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
"""Let pynetdicom read a file while it sends it, instead of decoding it and holding it in memory twice."""

MOST_CONTEXTS = 128
"""Presentation contexts of an association: their IDs are the odd numbers to 255 (DICOM PS3.8 section 9.3.2.2)."""


def send_files(
    paths: Iterable[Path],
    *,
    host: str,
    port: int,
    called_ae_title: str,
    calling_ae_title: str,
    timeout_s: float = 30.0,
) -> Iterator[tuple[Path, StoreStatus]]:
    """Send files of any storage class unchanged; yield each file with its status when it is known.

    Raises
    ------
    Transient
        If there is no association: the peer is away or rejects it.
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
            files.append(_read_form(path))
        except (InvalidDicomError, OSError, AttributeError, ValueError):
            yield path, StoreStatus(outcome=StoreOutcome.REJECTED, words="not a DICOM file with File Meta Information")
    while files:
        batch = _batch(files)
        files = files[len(batch) :]
        with store_association(peer, [file.form for file in batch]) as association:
            for file in batch:
                if file.form in accepted_forms(association):
                    yield file.path, store(association, file.path)
                else:
                    yield (
                        file.path,
                        StoreStatus(outcome=StoreOutcome.REJECTED, words=f"the peer accepts no {file.form}"),
                    )


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    form: ObjectForm


def _read_form(path: Path) -> _File:
    meta = read_file_meta_info(path)
    return _File(path, ObjectForm(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID))


def _batch(files: list[_File]) -> list[_File]:
    """Return as many of the first `files` as fit on one association by their forms."""
    seen: set[ObjectForm] = set()
    for number, file in enumerate(files):
        seen.add(file.form)
        if len(seen) > MOST_CONTEXTS:
            return files[:number]
    return files


def store_association(peer: DicomPeer, wanted: Iterable[ObjectForm]) -> contextlib.AbstractContextManager[Association]:
    """Open an association with one context per form, each with a single syntax, so that we choose among them."""
    contexts = [build_context(form.sop_class_uid, form.transfer_syntax_uid) for form in dict.fromkeys(wanted)]
    return associated(peer, contexts[:MOST_CONTEXTS])


def accepted_forms(association: Association) -> set[ObjectForm]:
    """Return the forms that the peer accepted."""
    return {ObjectForm(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}


def store(association: Association, path: Path) -> StoreStatus:
    """Send one file by C-STORE; the peer must have accepted its form."""
    if not association.is_established:
        return StoreStatus(outcome=StoreOutcome.TRANSIENT, words="the association was aborted")
    try:
        response = association.send_c_store(path)
    except (OSError, RuntimeError, ValueError, OsteonError):
        return StoreStatus(outcome=StoreOutcome.TRANSIENT, words="the instance could not be sent")
    if "Status" not in response:
        return StoreStatus(outcome=StoreOutcome.TRANSIENT, words="no response: time-out, or the connection was lost")
    return status_from_code(response.Status)


def store_bytes(association: Association, content: bytes) -> StoreStatus:
    """Send a DICOM file in memory by C-STORE, through an anonymous memory file: pynetdicom sends only files."""
    descriptor = os.memfd_create("osteon-send", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        return store(association, Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)
