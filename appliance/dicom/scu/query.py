"""C-FIND queries: the presence of an object in the PACS, and the present patient and order of a study.

References
----------
DICOM PS3.4 C.4.1 (C-FIND), C.6.2 (Study Root Query/Retrieve Information Model).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from appliance.dicom.reading.attributes import text
from appliance.domain.reason import ReasonCode
from appliance.errors import Transient

from .peer import PENDING, DicomPeer, associated

MOST_MATCHES = 100
"""Matches of a query by a UID; there is one, or a few in an archive that holds a study under several patients."""

SUCCESS = 0x0000
"""Final C-FIND status (DICOM PS3.4 table C.4-1)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Patient ID and Accession Number of a study; None for an attribute that is absent."""

    patient_id: str | None
    accession_number: str | None

    @classmethod
    def of(cls, ds: Dataset) -> Identity:
        """Read the identity from a data set."""
        return cls(*(text(ds, k).strip() if k in ds else None for k in ("PatientID", "AccessionNumber")))

    def difference(self, other: Identity) -> str:
        """Return the name of the attribute that differs from `other`, without any value; empty if none does.

        An accession number that one of the two lacks is no difference: orders are assigned late.
        """
        if other.patient_id is None or (self.patient_id or "") != other.patient_id:
            return "patient id"
        both_ordered = self.accession_number and other.accession_number
        return "accession number" if both_ordered and self.accession_number != other.accession_number else ""


@contextmanager
def querying(peer: DicomPeer) -> Iterator[Association]:
    """Open an association for queries.

    Raises
    ------
    Transient
        ``no_find`` if the peer accepts no C-FIND.
    Away
        If there is no association.
    """
    with associated(peer, [build_context(StudyRootQueryRetrieveInformationModelFind)]) as association:
        if not association.is_established:
            raise Transient(
                ReasonCode.NO_FIND, f"{peer} accepts no C-FIND from us: allow it there, or choose another `proof`"
            )
        yield association


def has_instance(association: Association, ds: Dataset) -> bool:
    """Return whether the peer has the object of the data set.

    Raises
    ------
    Transient
        ``find_failed`` if the query fails.
    """
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(query, keyword, ds[keyword].value)
    uid = str(ds.SOPInstanceUID)
    return any(str(match.get("SOPInstanceUID", "")) == uid for match in _matches(association, query))


def identities(association: Association, study_instance_uid: str) -> list[Identity]:
    """Return the identities of the study at the peer; empty if the peer does not have the study.

    Raises
    ------
    Transient
        ``find_failed`` if the query fails.
    """
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = study_instance_uid
    query.PatientID = query.AccessionNumber = ""
    found = _matches(association, query)
    return [Identity.of(m) for m in found if str(m.get("StudyInstanceUID", "")) == study_instance_uid]


def _matches(association: Association, query: Dataset) -> list[Dataset]:
    if not association.is_established:
        raise Transient(ReasonCode.FIND_FAILED, "the association for C-FIND was aborted")
    found = []
    for status, match in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
        code = status.get("Status")
        if code in PENDING and match is not None:
            found.append(match)
            if len(found) > MOST_MATCHES:
                association.abort()
                raise Transient(ReasonCode.FIND_FAILED, f"C-FIND by a UID has more than {MOST_MATCHES} matches")
        elif code != SUCCESS:
            response = "no response" if code is None else f"status 0x{code:04X}"
            raise Transient(ReasonCode.FIND_FAILED, f"C-FIND failed: {response}")
    return found
