"""An artefact on its way into the queue of deliveries; a process that renders loads no database for it."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.domain.artefact_kind import ArtefactKind
from appliance.errors import OsteonError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An artefact in the spool, and the destination that it is for.

    Attributes
    ----------
    page
        Page number of the artefact within its kind and result, from 1.
    identifier
        SOP Instance UID, MSH-10 or Bundle identifier.
    digest
        Name of the file in the spool; empty if the artefact could not be made.
    refused
        The reason why the artefact could not be made. Its delivery is parked.
    """

    destination: str
    kind: ArtefactKind
    page: int = 1
    identifier: str
    digest: str
    refused: OsteonError | None = None
