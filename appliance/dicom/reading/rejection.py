"""Rejection notes of an archive: the instances that it withdraws, and the reason.

A rejection note is a key object selection with one of the titles in `codes.REJECTIONS`.

References
----------
IHE RAD TF-1 and TF-3, Imaging Object Change Management (RAD-66); DICOM PS3.3 C.17.6.2, PS3.16 TID 2010, CID 7011.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from appliance.domain.codes import REJECTIONS, Concept

from .attributes import copied, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The instances that an archive withdraws, and the title of its note."""

    title: Concept
    sop_instance_uids: frozenset[str]


def rejection_from_dataset(ds: Dataset) -> Rejection | None:
    """Read the rejection from a key object selection; None if it is not a rejection note, or cannot be read."""
    names = copied(ds, ("ConceptNameCodeSequence",)).get("ConceptNameCodeSequence", [])
    titles = {(text(item, "CodeValue"), text(item, "CodingSchemeDesignator")) for item in names}
    title = next((concept for concept in REJECTIONS if (concept.code, concept.scheme) in titles), None)
    uids = {
        text(reference, "ReferencedSOPInstanceUID")
        for item in copied(ds, ("ContentSequence",)).get("ContentSequence", [])
        for reference in item.get("ReferencedSOPSequence", [])
    }
    if title is None or not (uids := uids - {""}):
        return None
    return Rejection(title=title, sop_instance_uids=frozenset(uids))
