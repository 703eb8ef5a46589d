"""The two SOP classes of the structured report, and the UID of a report in each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from appliance.domain.identifiers import derived_uid

REPORT_CLASSES: Final = {"comprehensive_3d": Comprehensive3DSRStorage, "comprehensive": ComprehensiveSRStorage}
"""SOP class by the `sr` setting of a destination; the first can hold everything that the second can."""


def report_uid(sop_instance_uid: str, sop_class: str) -> str:
    """Return the SOP Instance UID that the Comprehensive 3D SR `sop_instance_uid` has in the class `sop_class`."""
    return sop_instance_uid if sop_class == Comprehensive3DSRStorage else derived_uid(sop_instance_uid, "comprehensive")


def illustrated_uid(sop_instance_uid: str, referenced: Iterable[str]) -> str:
    """Return the UID of the report `sop_instance_uid` if it refers to these further instances of a destination.

    Another set is another report, so destinations that get the same UID get the same bytes.
    """
    others = sorted(filter(None, referenced))
    return derived_uid(sop_instance_uid, "illustrated", *others) if others else sop_instance_uid
