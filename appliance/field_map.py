"""The site's own mapping of HL7 fields: ``SEG-n`` to a template, checked when the configuration is read.

A template is HL7 text of the site with names in braces: ``"{accession_number}^RIS"``. The values of the names are
escaped when the message is made (`appliance.reporting.hl7.values`), so no value can leave its component.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Iterable, Mapping

FIELD = re.compile(r"(MSH|PID|PV1|ORC|OBR|OBX|Z[A-Z0-9]{2})-([1-9][0-9]?)")
"""A field of a segment that Osteon writes, of PV1, or of the site's own Z segment (HL7 v2.5.1 section 2.5.2)."""

VALUES = {
    "accession_number": "Accession Number (0008,0050)",
    "placer_order_number": "Placer Order Number / Imaging Service Request (0040,2016), of the request or the study",
    "filler_order_number": "Filler Order Number / Imaging Service Request (0040,2017), of the request or the study",
    "filler_number": "our own number for the reading: the same for every revision of the study",
    "requested_procedure_id": "Requested Procedure ID (0040,1001) of the request",
    "scheduled_procedure_step_id": "Scheduled Procedure Step ID (0040,0009) of the request",
    "study_instance_uid": "Study Instance UID (0020,000D)",
    "study_id": "Study ID (0020,0010)",
    "study_description": "Study Description (0008,1030)",
    "study_date": "day of the examination, as in OBR-7",
    "study_time": "time of the examination, as in OBR-7",
    "modality": "Modality (0008,0060)",
    "station_name": "Station Name (0008,1010)",
    "institution_name": "Institution Name (0008,0080)",
    "patient_id": "Patient ID (0010,0020)",
    "issuer_of_patient_id": "Issuer of Patient ID (0010,0021)",
    "admission_id": "Admission ID (0038,0010)",
    "answer": "the gravest answer in words of the destination's language, for example `fracture suspected`",
    "radiographs": "number of radiographs",
    "revision": "number of the revision",
    "model": "pack, its version and digest",
    "software_version": "version of Osteon",
    "created_at": "time of the answer, as in MSH-7",
}
"""Names that a template may use, each with its source."""

LINK_VALUES = ("study_instance_uid", "revision")
"""Names that the link to the study may use: addresses end up in logs and histories, patients' data must not."""

OURS = {
    **dict.fromkeys(("MSH-1", "MSH-2"), "every parser reads the message by it"),
    **dict.fromkeys(("MSH-7", "MSH-9", "MSH-10", "MSH-11", "MSH-12"), "the acknowledgement is matched by the header"),
    **dict.fromkeys(("MSH-15", "MSH-16"), "set acknowledgement instead"),
    "MSH-18": "set character_set instead",
    "MSH-19": "set language instead",
    "OBR-3": "set order instead: own, placer or accession",
    "OBR-25": "reports of Osteon are preliminary; set revised_status for later revisions",
    **dict.fromkeys(("OBX-1", "OBX-2", "OBX-4", "OBX-5", "OBX-6"), "it belongs to the value of each observation"),
    "OBX-3": "set it in [destinations.observations]",
    "OBX-8": "set flag and flagged instead",
    "OBX-11": "reports of Osteon are preliminary; set revised_status for later revisions",
}
"""Fields that a site cannot set, each with the reason."""


def problems(mapping: Mapping[str, str]) -> list[str]:
    """Return the defects of a map, each with its field and the name that was probably meant."""
    found: list[str] = []
    for field, template in mapping.items():
        if not FIELD.fullmatch(field):
            found.append(f"{field} is no field of MSH, PID, PV1, ORC, OBR, OBX or a Z segment: write it as OBR-18")
        elif field in OURS:
            found.append(f"{field} cannot be set: {OURS[field]}")
        found += [f"{field}: {problem}" for problem in template_problems(template)]
    return found


def template_problems(template: str, allowed: Iterable[str] = VALUES) -> list[str]:
    """Return the defects of one template."""
    found = [] if template.isprintable() else ["it holds a control character"]
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        return [*found, "a brace stands alone; write {{ or }} for a literal one"]
    allowed = list(allowed)
    for _, name, form, conversion in parts:
        if name is None or (name in allowed and not form and not conversion):
            continue
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"possible are {', '.join(allowed)}"
        found.append(f"unknown name {name!r}; {hint}")
    return found


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Return a template that `template_problems` has checked, with `values` that are escaped already."""
    return template.format_map(values)
