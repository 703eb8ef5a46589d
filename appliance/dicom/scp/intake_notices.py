"""Log lines and notices about associations and instances that were refused, for the administrators of both sides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

from pydicom.uid import UID

from appliance.dicom.transfer_syntaxes import RADIOGRAPHS
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode

from .admission import Refusal
from .service import Requestor

NAMED = 3
"""Number of SOP classes or transfer syntaxes that a sentence names; a PACS may propose 128."""

REASON_CHARACTERS = 256
"""Length of a notice's reason in the database."""

AE_TITLE_CHARACTERS = 16
"""Length of an AE title in the database (DICOM PS3.5 table 6.2-1); escaped, it may be longer."""

log = logging.getLogger(__name__)


class IntakeNotices:
    """The writer of these notices.

    Parameters
    ----------
    is_listed
        Returns whether an address is one of `receive.peers`.
    note
        Records a notice.
    """

    def __init__(self, is_listed: Callable[[str], bool], note: Callable[[Notice], None]) -> None:
        self._is_listed = is_listed
        self._note = note

    def note_refused(self, requestor: Requestor, refusal: Refusal) -> None:
        """Record a connection or association that was rejected, aborted or closed, or a message that was refused."""
        peer = requestor.calling_ae_title or "unknown AE title"
        log.warning("%s at %s: %s (%s)", peer, requestor.address, refusal.reason, refusal.code)
        is_listed = self._is_listed(requestor.address)
        notice = Notice(
            subject=Subject.ASSOCIATION if is_listed else Subject.STRANGER,
            code=refusal.code,
            reason=refusal.reason[:REASON_CHARACTERS],
            calling_ae_title=requestor.calling_ae_title[:AE_TITLE_CHARACTERS] if is_listed else "",
            called_ae_title=requestor.called_ae_title[:AE_TITLE_CHARACTERS] if is_listed else "",
            address=requestor.address,
        )
        self._note(notice)

    def note_accepted(
        self, requestor: Requestor, proposed: Mapping[str, Sequence[str]], accepted: AbstractSet[str]
    ) -> None:
        """Log an accepted association, and record its rejected presentation contexts.

        Parameters
        ----------
        proposed
            Proposed transfer syntaxes by abstract syntax.
        accepted
            Abstract syntaxes of the accepted contexts.
        """
        rejected = {abstract: syntaxes for abstract, syntaxes in proposed.items() if abstract not in accepted}
        peer = f"{requestor.calling_ae_title} at {requestor.address}"
        if not rejected:
            log.info("association with %s", peer)
            return
        log.info("association with %s, rejected contexts: %s", peer, _names(rejected))
        radiographs = {abstract: syntaxes for abstract, syntaxes in rejected.items() if abstract in RADIOGRAPHS}
        for abstract, syntaxes in radiographs.items():
            reason = f"{UID(abstract).name} is not accepted in the proposed transfer syntaxes: {_names(syntaxes)}"
            self.note_refused(requestor, Refusal(code=ReasonCode.TRANSFER_SYNTAXES, reason=reason))
        others = [abstract for abstract in rejected if abstract not in radiographs]
        if others and accepted:
            reason = f"some proposed contexts were rejected: {_names(others)}"
            self.note_refused(requestor, Refusal(code=ReasonCode.PARTLY_TAKEN, reason=reason))
        elif others:
            reason = f"every proposed context was rejected: {_names(rejected)}"
            self.note_refused(requestor, Refusal(code=ReasonCode.NOTHING_TAKEN, reason=reason))

    def note_not_stored(self, requestor: Requestor, code: ReasonCode, reason: str) -> None:
        """Record an instance that was received and not stored."""
        log.info("instance of %s not stored: %s", requestor.calling_ae_title, reason)
        notice = Notice(
            subject=Subject.INSTANCE,
            code=code,
            reason=reason[:REASON_CHARACTERS],
            calling_ae_title=requestor.calling_ae_title,
            called_ae_title=requestor.called_ae_title,
            address=requestor.address,
        )
        self._note(notice)


def _names(uids: Collection[str]) -> str:
    """Return the names of the first few UIDs, and the number of the others."""
    names = [UID(uid).name.encode("unicode_escape").decode() for uid in list(uids)[:NAMED]]
    others = len(uids) - len(names)
    return ", ".join(names) + (f" and {others} more" if others else "")
