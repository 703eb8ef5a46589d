"""``[[destinations]]`` with ``kind = "hl7"``: a RIS, its codes, observations and field map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from appliance import field_map
from appliance.words import LanguageCode

from .section import Host, Name, Port, Section, check_web_address
from .tls import ClientTls

CODED = r"^[^|~&\\\x00-\x1f]+\^[^|~&\\\x00-\x1f]*\^[^|~&^\\\x00-\x1f]+$"
"""Three components without delimiters and control characters."""

CODED_OR_EMPTY = rf"^$|{CODED}"

PRIORITY = r"^[A-Z]{1,2}$"
"""The form of HL7 table 0485."""

Coded = Annotated[str, Field(max_length=200, pattern=CODED)]
"""``code^text^coding system``: HL7 v2.5.1 section 2.A.13, CWE."""


class Codes(Section):
    """The site's own codes, ``code^text^coding system``; default: SNOMED CT and DICOM."""

    positive: Coded | None = None
    doubt: Coded | None = None
    negative: Coded | None = None
    left: Coded | None = None
    right: Coded | None = None
    ankle: Coded | None = None
    wrist: Coded | None = None
    knee: Coded | None = None
    shoulder: Coded | None = None
    pelvis: Coded | None = None
    spine: Coded | None = None
    elbow: Coded | None = None
    forearm: Coded | None = None
    lower_leg: Coded | None = None
    femur: Coded | None = None
    humerus: Coded | None = None
    hand: Coded | None = None
    foot: Coded | None = None


Observed = Annotated[str, Field(max_length=200, pattern=CODED_OR_EMPTY)]
"""OBX-3, or an empty string to leave the observation out."""


class Observations(Section):
    """OBX-3 of each observation, ``code^text^coding system``; an empty string leaves the observation out."""

    answer: Observed = "ANSWER^Fracture^99OSTEON"
    probability: Observed = "PROBABILITY^Probability of a fracture^99OSTEON"
    site: Observed = "SITE^Site^99OSTEON"
    side: Observed = "SIDE^Laterality^99OSTEON"
    mark: Observed = "MARK^Place of the suspicion^99OSTEON"
    focus: Observed = "FOCUS^Focus of the heat map^99OSTEON"
    not_analysed: Observed = "NOT-ANALYSED^Reason for no answer^99OSTEON"
    radiograph: Observed = "RADIOGRAPH^SOP Instance UID^99OSTEON"
    impression: Observed = "IMPRESSION^Impression^99OSTEON"
    model: Observed = "MODEL^Model^99OSTEON"
    revision: Observed = "REVISION^Revision^99OSTEON"
    link: Observed = "LINK^Link to the study^99OSTEON"
    decision: Observed = "DECISION^Accept or reject the answer^99OSTEON"
    accession_number: Observed = "121022^Accession Number^DCM"
    study_instance_uid: Observed = "113014^DICOM Study^DCM"


LOINC: Final[Mapping[str, str]] = {
    "site": "39111-0^Body site^LN",
    "side": "20228-3^Anatomic part Laterality^LN",
    "mark": "59776-5^Procedure findings Narrative^LN",
    "not_analysed": "59776-5^Procedure findings Narrative^LN",
    "impression": "19005-8^Radiology Imaging study [Impression] (narrative)^LN",
}
"""OBX-3 by LOINC. The pair of findings and impression is that of IHE Radiology, Interactive Multimedia Report.

LOINC has no code for the presence or the probability of a fracture on a radiograph, and its codes of findings are for
narrative text only. Coded answers keep Osteon's own codes, therefore.
"""


def _check_field_map(given: Any) -> Any:
    if not isinstance(given, dict) or not all(isinstance(template, str) for template in given.values()):
        raise ValueError('must be a table of fields and templates, such as "OBR-18" = "{accession_number}"')
    if found := field_map.problems(given):
        raise ValueError("; ".join(found))
    return tuple(given.items())


FieldMap = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_check_field_map), PlainSerializer(dict)]
"""Fields and templates, as pairs: a destination must be hashable."""


HdText = Annotated[str, Field(max_length=227)]
"""MSH-3 to MSH-6: HL7 v2.5.1 section 2.14.9, HD of at most 227 characters."""


class Hl7Destination(Section):
    """A RIS that accepts ORU^R01 over MLLP, and its profile."""

    kind: Literal["hl7"]
    name: Name
    host: Host
    port: Port
    tls: ClientTls | None = Field(None, description="Connect with TLS")
    version: Literal["2.3.1", "2.4", "2.5.1"] = Field("2.5.1", description="MSH-12")
    character_set: Literal["UNICODE UTF-8", "ASCII", "8859/1", "8859/2", "8859/5", "8859/7", "8859/9", "8859/15"] = (
        Field("UNICODE UTF-8", description="MSH-18, and the bytes of the message")
    )
    language: LanguageCode = Field("en", description="Language of every text for people; codes keep their meanings")
    sending_application: HdText = Field("OSTEON", description="MSH-3")
    sending_facility: HdText = Field("", description="MSH-4")
    receiving_application: HdText = Field("", description="MSH-5")
    receiving_facility: HdText = Field("", description="MSH-6")
    service: Coded = Field("OSTEON-FX^Fracture second reading by AI^99OSTEON", description="OBR-4")
    order: Literal["own", "placer", "accession"] = Field(
        "own",
        description="Order that the report belongs to: our own, with the imaging order as its parent (OBR-29); our own "
        "with the placer's number in OBR-2; or the imaging order itself (OBR-3 its filler or accession number)",
    )
    acknowledgement: Literal["original", "accept", "both"] = Field(
        "original", description="Delivered by AA; by CA (enhanced mode); or by CA and then AA on the same connection"
    )
    revised_status: Literal["P", "C"] = Field("P", description="OBR-25 and OBX-11 from revision 2 on")
    flag: Literal["oru", "orm", "omi", "none"] = Field(
        "oru", description="Flag on the worklist: OBX-8, or a priority update by ORM^O01 or OMI^O23"
    )
    flagged: tuple[Literal["positive", "doubt", "incomplete"], ...] = Field(
        ("positive",), description="Answers that are flagged"
    )
    normal_flag: bool = Field(False, description="OBX-8 N of each region if the whole study is negative")
    priority: str = Field("S", pattern=PRIORITY, description="Of a flagged order: HL7 table 0485, S is stat")
    usual_priority: str | None = Field(
        None,
        pattern=PRIORITY,
        description="Of an order whose flag is withdrawn; default: the raised priority stays",
    )
    link: str | None = Field(None, max_length=110, description="Address of the study in the site's viewer")
    decision_link: str | None = Field(
        None,
        max_length=110,
        description="Address of our own page, for a link by which a radiologist accepts or rejects",
    )
    codes: Codes = Field(Codes(), description="The site's own codes")
    observation_codes: Literal["osteon", "loinc"] = Field(
        "osteon", description="OBX-3 of the observations that `observations` does not set; LOINC where it has a code"
    )
    observations: Observations = Field(Observations(), description="OBX-3 of each observation")
    map: FieldMap = Field((), description="Fields that the site sets itself: SEG-n and a template")
    timeout_s: float = Field(30.0, gt=0, le=60)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_loinc(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("observation_codes") == "loinc":
            own = given.get("observations", {})
            return given | {"observations": {**LOINC, **own}} if isinstance(own, dict) else given
        return given

    @field_validator("link")
    @classmethod
    def _refuse_patient_data_in_the_link(cls, link: str | None) -> str | None:
        if link is None:
            return None
        if found := field_map.template_problems(link, field_map.LINK_VALUES):
            raise ValueError("; ".join(found))
        check_web_address(field_map.fill_template(link, dict.fromkeys(field_map.LINK_VALUES, "1")))
        return link

    @field_validator("decision_link")
    @classmethod
    def _check_decision_link(cls, address: str | None) -> str | None:
        return None if address is None else check_web_address(address)

    @model_validator(mode="after")
    def _require_a_version_that_has_the_flag(self) -> Hl7Destination:
        if self.flag == "omi" and self.version != "2.5.1":
            raise ValueError('flag "omi" needs version 2.5.1 (OMI^O23 came with 2.5): use "orm" with earlier ones')
        return self

    @model_validator(mode="after")
    def _keep_the_imaging_order_preliminary(self) -> Hl7Destination:
        if self.order == "accession" and self.revised_status == "C":
            raise ValueError(
                'revised_status "C" with order "accession" would mark the examination as reported: '
                'keep "P", or set order = "own"'
            )
        return self
