"""``[[destinations]]``: archives and FHIR servers; `appliance.config.hl7` has the RIS."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from appliance.words import LanguageCode

from .hl7 import Hl7Destination
from .section import AbsolutePath, AeTitle, Host, Name, Port, Section, Token, Uri, UserName, WebAddress
from .tls import ClientTls

Colours = Literal["standard", "colour_blind"]
"""Colour scales of the heat map."""

Compression = Literal["none", "jpeg"]
"""Compression of a picture: none, or JPEG Baseline."""

Encoding = Literal["compressed", "explicit", "implicit"]
"""Transfer syntax of an object on the wire: its compressed one, or Explicit or Implicit VR Little Endian."""


class Picture(Section):
    """The look of a destination's Secondary Captures."""

    layout: Literal["overlay", "beside", "grey"] = Field(
        "overlay",
        description="Heat on the radiograph; both, the radiograph beside it; or lines alone, MONOCHROME2",
    )
    colours: Colours = Field("standard", description="Colours of the heat map")
    compression: Compression = Field(
        "jpeg",
        description="jpeg: JPEG Baseline, lossy; none: every pixel as drawn, in ten times the bytes; always none "
        "where `transfer_syntaxes` has no compressed",
    )
    longest_px: int | None = Field(
        None, ge=256, le=20000, description="Longest side of the radiograph in the picture; default: as received"
    )
    probability: bool = Field(
        False, description="Write the calibrated probability of each region instead of a scale of five steps"
    )
    not_analysed: bool = Field(
        True, description="Send a picture with the reason for radiographs not analysed: silence is read as no finding"
    )

    @property
    def pixel_options(self) -> Picture:
        """The options that change the pixels; the others are set to their defaults."""
        return self.model_copy(update={"not_analysed": True})


class Archive(Section):
    """An archive that accepts Secondary Capture and SR, and its profile, however the objects go there."""

    kind: str
    name: Name
    objects: tuple[Literal["sc", "pr", "summary", "sr", "ko"], ...] = Field(
        ("sc", "summary", "sr"),
        description="Overlay, presentation state, study at a glance, report, key objects",
    )
    key_objects_of: Literal["positive", "suspicious"] = Field(
        "positive", description="Radiographs that are key objects: suspected fractures; or possible ones, too"
    )
    picture: Picture = Picture()
    sr: Literal["comprehensive_3d", "comprehensive"] = Field(
        "comprehensive_3d", description="SOP class of the report; a few archives accept Comprehensive SR only"
    )
    timeout_s: float = Field(30.0, gt=0, le=60)
    transfer_syntaxes: tuple[Encoding, ...] = Field(
        ("compressed", "explicit", "implicit"), min_length=1, description="Encodings to offer, best first"
    )
    character_set: Literal[
        "ISO_IR 192",
        "ISO_IR 100",
        "ISO_IR 101",
        "ISO_IR 109",
        "ISO_IR 110",
        "ISO_IR 126",
        "ISO_IR 127",
        "ISO_IR 138",
        "ISO_IR 144",
        "ISO_IR 148",
    ] = Field("ISO_IR 192", description="Specific Character Set of our objects; letters outside it become ?")
    language: LanguageCode = Field("en", description="Language of every text for people; codes keep their meanings")
    objects_at_a_time: int = Field(20, ge=1, le=200, description="Objects on one association, or in one request")
    tls: ClientTls | None = Field(None, description="Connect with TLS")
    existing: Literal["accept", "verify", "hold"] = Field(
        "accept",
        description="When the peer says that it has the object (0x0111): count as delivered, look for it, or park it",
    )
    proof: Literal["none", "find", "commitment"] = Field(
        "none", description="Delivered only when a query shows the object, or storage commitment confirms it"
    )
    superseded: Literal["keep", "reject"] = Field(
        "keep",
        description="Earlier objects that a revision replaces: keep them; or, for archives that implement IOCM, send a "
        "rejection note (113001) once the new objects are delivered",
    )
    recheck_identity: bool = Field(
        False, description="Query the study's patient before sending; park deliveries if it has changed"
    )

    @property
    def look(self) -> Picture:
        """The picture that it gets: where it takes no compressed pixels, none that a compression has changed."""
        if "compressed" in self.transfer_syntaxes:
            return self.picture
        return self.picture.model_copy(update={"compression": "none"})


class DicomDestination(Archive):
    """An archive that accepts objects by C-STORE."""

    kind: Literal["dicom"]
    host: Host
    port: Port
    called_ae_title: AeTitle
    calling_ae_title: AeTitle = "OSTEON"
    max_pdu_bytes: int = Field(131072, ge=4096, le=1 << 20, description="Largest PDU that we send or accept")


class DicomWebDestination(Archive):
    """An archive that accepts objects by STOW-RS (DICOM PS3.18 section 10.5)."""

    kind: Literal["dicomweb"]
    base_url: WebAddress
    bearer_file: AbsolutePath | None = Field(None, description="File with the token of the Authorization header")
    user: UserName | None = Field(None, description="Name for basic authentication")
    password_file: AbsolutePath | None = Field(None, description="File with the password of `user`")
    proof: Literal["none", "find"] = Field("none", description="Delivered only when QIDO-RS shows the object")

    @model_validator(mode="after")
    def _require_one_way_to_sign_in(self) -> DicomWebDestination:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file come together: set both, or neither")
        if self.bearer_file and self.user:
            raise ValueError("the server takes a token or a password: set bearer_file, or user and password_file")
        return self


class FhirDestination(Section):
    """A FHIR R4 server that accepts a transaction Bundle, and its profile."""

    kind: Literal["fhir"]
    name: Name
    base_url: WebAddress
    bearer: Token | None = Field(None, repr=False)
    tls: ClientTls | None = Field(
        None, description="Authorities of the server's certificate, and our certificate if the server asks for one"
    )
    language: LanguageCode = Field("en", description="Language of every text for people; codes keep their meanings")
    patient_system: Uri | None = Field(
        None, description="URI of your patient numbers; default: made from the source's issuer"
    )
    patient: Literal["create", "reference"] = Field(
        "create", description="For a patient unknown to the server: create the patient, or let the transaction fail"
    )
    imaging_study: Literal["create", "reference"] = Field("create", description="The same for the study")
    revised_status: Literal["preliminary", "amended"] = Field("preliminary", description="Status from revision 2 on")
    flag: Literal["task", "none"] = Field("none", description="Send a Task by which the worklist can be ordered")
    flagged: tuple[Literal["positive", "doubt", "incomplete"], ...] = Field(
        ("positive",), description="Answers that are flagged"
    )
    timeout_s: float = Field(30.0, gt=0, le=60)


DestinationConfig = Annotated[
    DicomDestination | DicomWebDestination | Hl7Destination | FhirDestination, Field(discriminator="kind")
]
"""One table of ``[[destinations]]``, by its ``kind``."""
