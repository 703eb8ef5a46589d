"""A look at a PACS: C-ECHO, and the presentation contexts that it accepts, on one association; nothing is stored.

References
----------
DICOM PS3.4 annex A (Verification Service Class), PS3.8 section 9.3.3.2 (results of presentation contexts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pynetdicom import build_context
from pynetdicom.sop_class import Verification

from .negotiation import ObjectForm
from .peer import DicomPeer, associated


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The answer of a PACS.

    Attributes
    ----------
    echo_status
        Status of the C-ECHO; None if the peer accepts none, or did not answer it.
    forms
        Accepted forms of objects.
    services
        SOP classes of accepted services.
    """

    echo_status: int | None
    forms: frozenset[ObjectForm]
    services: frozenset[str]


def verify(peer: DicomPeer, forms: Sequence[ObjectForm], services: Sequence[str]) -> Verified:
    """Open an association for C-ECHO, `forms` and `services`, and send the C-ECHO.

    Raises
    ------
    Away
        If there is no association, with the reason.
    """
    contexts = [build_context(uid) for uid in (Verification, *services)]
    contexts += [build_context(form.sop_class_uid, form.transfer_syntax_uid) for form in dict.fromkeys(forms)]
    with associated(peer, contexts) as association:
        accepted = association.accepted_contexts if association.is_established else []
        classes = {str(context.abstract_syntax) for context in accepted}
        status = None
        if Verification in classes:
            status = association.send_c_echo().get("Status")
        return Verified(
            echo_status=status,
            forms=frozenset(
                ObjectForm(str(context.abstract_syntax), str(context.transfer_syntax[0])) for context in accepted
            ),
            services=frozenset(classes & set(services)),
        )
