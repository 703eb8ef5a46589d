"""QIDO-RS: the presence of an object in an archive, and the present patient and order of a study.

References
----------
DICOM PS3.18 section 10.6 (Search Transaction), annex F.2 (JSON model).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from pydicom.dataset import Dataset

from appliance.dicom.scu.query import MOST_MATCHES, Identity
from appliance.domain.reason import ReasonCode
from appliance.errors import Transient

from .server import DicomWebServer
from .stow import JSON, first_value

NOT_OFFERED = frozenset({403, 405, 406, 501})
"""Statuses of a server that offers no search, or not to us."""

NONE_FOUND = frozenset({204, 404})
"""Statuses of a search without a match; 404: there is no such study."""

STUDY, INSTANCE, PATIENT_ID, ACCESSION_NUMBER = "0020000D", "00080018", "00100020", "00080050"


def has_instance(server: DicomWebServer, ds: Dataset) -> bool:
    """Return whether the archive has the object of the data set; raises as `search`."""
    uid = str(ds.SOPInstanceUID)
    study, series = (quote(str(each), safe="") for each in (ds.StudyInstanceUID, ds.SeriesInstanceUID))
    found = search(server, f"/studies/{study}/series/{series}/instances", SOPInstanceUID=uid)
    return any(first_value(match, INSTANCE) == uid for match in found)


def identities(server: DicomWebServer, study_instance_uid: str) -> list[Identity]:
    """Return the identities of the study; empty if the archive does not have it; raises as `search`."""
    found = search(server, "/studies", StudyInstanceUID=study_instance_uid, includefield=[PATIENT_ID, ACCESSION_NUMBER])
    return [
        Identity(_text(match, PATIENT_ID), _text(match, ACCESSION_NUMBER))
        for match in found
        if first_value(match, STUDY) == study_instance_uid
    ]


def search(server: DicomWebServer, path: str, **query: str | list[str]) -> list[Any]:
    """Return the matches of a search.

    Raises
    ------
    Transient
        ``no_find`` if the archive offers no search to us, ``find_failed`` if this one fails.
    Away
        If there is no connection.
    """
    response = server.exchange("GET", f"{path}?{urlencode(query, doseq=True)}", {"Accept": JSON})
    if response.status in NONE_FOUND:
        return []
    if response.status in NOT_OFFERED:
        raise Transient(
            ReasonCode.NO_FIND,
            f"{server} answers {response.status} to QIDO-RS: allow it there, or choose another `proof`",
        )
    if response.status != 200:
        raise Transient(ReasonCode.FIND_FAILED, f"{server} answers {response.status} to QIDO-RS; see its log")
    try:
        matches = json.loads(response.content)
    except (ValueError, RecursionError):
        matches = None
    if not isinstance(matches, list) or len(matches) > MOST_MATCHES:
        raise Transient(ReasonCode.FIND_FAILED, f"{server} answers QIDO-RS with no list of matches; check base_url")
    return matches


def _text(match: Any, tag: str) -> str | None:
    """Return a text of a match; None for an attribute that the archive has left out."""
    if tag not in match:
        return None
    return str(first_value(match, tag) or "").strip()
