"""C-FIND of single objects and studies: is the object there, and to which patient does the study belong by now.

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

from appliance.domain.reason import ReasonCode
from appliance.errors import Transient

from .peer import DicomPeer, associated

PENDING = (0xFF00, 0xFF01)
SUCCESS = 0x0000
"""DICOM PS3.4 table C.4-1."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a study is, as somebody has it; None where he does not say."""

    patient_id: str | None
    accession_number: str | None

    @classmethod
    def of(cls, ds: Dataset) -> Identity:
        """As it stands in a data set."""
        return cls(_text(ds, "PatientID"), _text(ds, "AccessionNumber"))

    def difference(self, theirs: Identity) -> str:
        """What differs from `theirs`, in words without any value; empty if nothing does.

        An accession number that one of the two lacks is no difference: orders are assigned late.
        """
        if theirs.patient_id is None or (self.patient_id or "") != theirs.patient_id:
            return "patient id"
        both = self.accession_number and theirs.accession_number
        return "accession number" if both and self.accession_number != theirs.accession_number else ""


@contextmanager
def querying(peer: DicomPeer) -> Iterator[Association]:
    """An association for queries.

    Raises
    ------
    Transient
        ``no_find`` if the peer takes none; `Away`.
    """
    with associated(peer, [build_context(StudyRootQueryRetrieveInformationModelFind)]) as association:
        if not association.is_established:
            raise Transient(
                ReasonCode.NO_FIND, f"{peer} takes no C-FIND from us: allow it there, or ask for no proof by it"
            )
        yield association


def has_instance(association: Association, ds: Dataset) -> bool:
    """Whether the peer has the object of that data set.

    Raises
    ------
    Transient
        ``find_failed``.
    """
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(query, keyword, ds[keyword].value)
    uid = str(ds.SOPInstanceUID)
    return any(str(match.get("SOPInstanceUID", "")) == uid for match in _matches(association, query))


def identities(association: Association, study_instance_uid: str) -> list[Identity]:
    """Whose the study is at the peer; none if it does not know the study.

    Raises
    ------
    Transient
        ``find_failed``.
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
        elif code != SUCCESS:
            what = "no answer" if code is None else f"status 0x{code:04X}"
            raise Transient(ReasonCode.FIND_FAILED, f"C-FIND failed: {what}")
    return found


def _text(ds: Dataset, keyword: str) -> str | None:
    return None if keyword not in ds else str(ds[keyword].value or "").strip()
