"""The configuration: one TOML file, checked whole, every error at once, defaults written in this place only."""

from __future__ import annotations

import difflib
import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from appliance.domain.reason import ReasonCode

from . import field_map
from .errors import Fault


def _not_blank(title: str) -> str:
    if not title.strip():
        raise ValueError("an AE title of spaces alone is none")
    return title


AeTitle = Annotated[
    str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$"), AfterValidator(_not_blank)
]
"""DICOM PS3.5 table 6.2-1, AE: up to 16 characters of the default repertoire without backslash, not spaces alone."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""TCP port; 0 lets the system choose one."""

Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(ip_network)]
"""One address or a whole network."""


class Section(BaseModel):
    """A table of the file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Peer(Section):
    """Who may associate: an address or a network, and under which AE title."""

    address: Network = Field(description="Address, or network as 192.0.2.0/24")
    ae_title: AeTitle | None = Field(None, description="Calling AE title; any if it is left out")


LOOPBACK = (Peer(address=IPv4Network("127.0.0.0/8")), Peer(address=IPv6Network("::1/128")))


class Tls(Section):
    """The listener for secure connections (DICOM PS3.15 B.12)."""

    port: Port = Field(2762, description="TCP port, 2762 is registered for it (DICOM PS3.8 section 9.1.1)")
    certificate: Path = Field(description="Our certificate and its chain, PEM")
    key: Path = Field(description="Our private key, PEM, without a pass phrase")
    client_ca: Path | None = Field(None, description="Peers must show a certificate that one of these signed, PEM")


class Hl7Listener(Section):
    """Where a RIS sends its radiologists' reports: ORU^R01 over MLLP."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface")
    port: Port = Field(2575, description="TCP port; 2575 is registered for HL7 (IANA)")
    peers: tuple[Network, ...] = Field(
        tuple(peer.address for peer in LOOPBACK), description="Who may send: addresses or networks; only this machine"
    )
    tls: bool = Field(False, description="MLLP over TLS, with certificate, key and client_ca of [receive.tls]")
    connections: int = Field(10, ge=1, le=100, description="Connections at a time")
    idle_s: float = Field(600.0, gt=0, le=86400, description="A connection without a message for so long is closed")
    message_s: float = Field(30.0, gt=0, le=600, description="From the first byte of a message to its last")
    message_mb: int = Field(10, ge=1, le=100, description="A message that is larger is not taken")


class Receive(Section):
    """The DICOM listener, and the one for HL7."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface")
    port: Port = Field(11112, description="TCP port of the Storage SCP")
    ae_title: AeTitle = Field("OSTEON", description="Our AE title; associations that call another are rejected")
    also_called: tuple[AeTitle, ...] = Field((), description="Other AE titles that we answer to")
    peers: tuple[Peer, ...] = Field(LOOPBACK, description="Who may associate; only this machine until it is set")
    plain: bool = Field(True, description="Whether to listen without TLS, too")
    tls: Tls | None = Field(None, description="Listen with TLS")
    companions: bool = Field(True, description="Accept what routers send along (SR, PR, CT, ...), without keeping it")
    associations: int = Field(20, ge=1, le=200, description="Associations at a time")
    associations_per_peer: int = Field(10, ge=1, le=200, description="Associations at a time from one address")
    request_s: float = Field(10.0, gt=0, le=120, description="From connecting to the complete association request")
    idle_s: float = Field(120.0, gt=0, le=3600, description="An association that is silent for longer is aborted")
    instance_mb: int = Field(1000, ge=1, description="An instance that is larger is not taken")
    reserve_mb: int = Field(500, ge=0, description="Answer 0xA700 when less than this is free on the spool's disk")
    hl7: Hl7Listener | None = Field(None, description="Take radiologists' reports over HL7")

    @model_validator(mode="after")
    def _listens_somewhere(self) -> Receive:
        if not self.plain and self.tls is None:
            raise ValueError("nothing listens: plain is false and there is no [receive.tls]")
        return self

    @model_validator(mode="after")
    def _hl7_has_a_certificate(self) -> Receive:
        if self.hl7 and self.hl7.tls and self.tls is None:
            raise ValueError("hl7.tls needs the certificate of [receive.tls]")
        return self


class Films(Section):
    """Radiographs by whence they come, as shell patterns (``PORT*``); one that fits is enough, case does not matter."""

    stations: tuple[str, ...] = Field((), description="Station Name (0008,1010)")
    ae_titles: tuple[str, ...] = Field((), description="AE title of the sender")
    descriptions: tuple[str, ...] = Field((), description="Study, Series or Protocol description")


class PresetWindow(Section):
    """The bone window of radiographs that bring none."""

    station: str = Field("*", description="Station Name (0008,1010), a shell pattern")
    center: float
    width: float = Field(ge=1)


class Analyse(Section):
    """The engines."""

    pack: str = Field("fracatlas", description="A pack of `osteon pack list`, or the path of a pack's folder")
    more_packs: tuple[str, ...] = Field(
        (), description="Packs beside it: their engines serve the sites that those named before have none for"
    )
    trusted_keys: tuple[Path, ...] = Field(
        (), description="Ed25519 public keys (PEM); if there are any, only packs signed with one of them are used"
    )
    compute: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="auto takes the GPU where driver, packages and card are there; gpu refuses to start without"
    )
    precision: Literal["float32", "float16"] = Field(
        "float32",
        description="What a GPU computes classifiers in; the CPU, and any localiser, always compute in float32",
    )
    threads: int = Field(2, ge=1, le=64, description="Threads of one inference on the CPU")
    batch: int | None = Field(
        None,
        ge=1,
        le=16,
        description="Radiographs that are inferred together, at most, when many wait; default: 8 on a GPU, else 1",
    )
    attempts: int = Field(3, ge=1, le=20, description="A radiograph that kills its analysis so often is parked")
    for_processing: bool = Field(
        False, description="Analyse FOR PROCESSING images, too; the same exposure usually comes FOR PRESENTATION"
    )
    mobile: Films = Field(Films(), description="Films of mobile units: analysed, with a caveat")
    ignore: Films = Field(Films(), description="Never analysed or answered: other software's results, test devices")
    windows: tuple[PresetWindow, ...] = Field((), description="Windows for radiographs that bring none; the first fits")

    @property
    def half(self) -> bool:
        """Whether classifiers compute in float16 where a GPU runs them."""
        return self.precision == "float16"


Colours = Literal["standard", "colour_blind"]


class Picture(Section):
    """How a destination's Secondary Captures look."""

    layout: Literal["overlay", "beside", "grey"] = Field(
        "overlay", description="Heat on the radiograph; that beside the radiograph as it is; or box alone, MONOCHROME2"
    )
    colours: Colours = Field("standard", description="Colours of the heat map")
    compression: Literal["none", "jpeg"] = Field("none", description="jpeg: JPEG Baseline, lossy, for narrow lines")
    longest_px: int | None = Field(
        None, ge=256, le=20000, description="The radiograph in the picture is made smaller until it is at most so long"
    )
    not_analysed: bool = Field(False, description="A picture, too, of what was not analysed, with the reason")

    @property
    def rendered(self) -> Picture:
        """What of it the pixels depend on."""
        return self.model_copy(update={"not_analysed": False})


class Study(Section):
    """When a study is reported on as a whole; what is said of each radiograph leaves at once."""

    settle_s: float = Field(120.0, ge=0, le=3600, description="After so many seconds without a new radiograph")
    longest_s: float = Field(900.0, ge=0, le=86400, description="At the latest, even if radiographs keep coming")


class ClientTls(Section):
    """TLS towards a peer (DICOM PS3.15 B.12)."""

    ca: Path | None = Field(None, description="Who may have signed the peer's certificate, PEM; default: the system's")
    certificate: Path | None = Field(None, description="Our certificate and its chain, PEM, if the peer asks for one")
    key: Path | None = Field(None, description="Our private key, PEM, without a pass phrase")
    server_name: str | None = Field(None, description="The name in the peer's certificate; default: host")

    @model_validator(mode="after")
    def _is_a_pair(self) -> ClientTls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key come together")
        return self


class DicomDestination(Section):
    """A PACS that takes Secondary Capture and SR, and what it makes of them."""

    kind: Literal["dicom"]
    name: str = Field(min_length=1, max_length=64)
    host: str
    port: Port
    called_ae_title: AeTitle
    calling_ae_title: AeTitle = "OSTEON"
    objects: tuple[Literal["sc", "pr", "summary", "sr", "ko"], ...] = Field(
        ("sc", "summary", "sr"),
        description="Overlay, presentation state, study at a glance, report, key objects (positive radiographs)",
    )
    picture: Picture = Picture()
    sr: Literal["comprehensive_3d", "comprehensive"] = Field(
        "comprehensive_3d", description="SOP class of the report; a few archives take Comprehensive SR only"
    )
    timeout_s: float = Field(30.0, gt=0, le=60)
    transfer_syntaxes: tuple[Literal["compressed", "explicit", "implicit"], ...] = Field(
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
    ] = Field("ISO_IR 192", description="Specific Character Set of what is sent; letters that it lacks become ?")
    max_pdu_bytes: int = Field(131072, ge=4096, le=1 << 20, description="Largest PDU that we send or take")
    objects_at_a_time: int = Field(20, ge=1, le=200, description="Objects on one association")
    tls: ClientTls | None = Field(None, description="Connect with TLS")
    existing: Literal["accept", "verify", "hold"] = Field(
        "accept", description="An object that the peer says it has (0x0111): delivered, looked for, or for a person"
    )
    proof: Literal["none", "find", "commitment"] = Field(
        "none", description="Delivered only when C-FIND shows the object, or storage commitment vouches for it"
    )
    recheck_identity: bool = Field(
        False, description="Ask by C-FIND whose the study is before anything is sent; hold what has another identity"
    )


Coded = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^|~&\\\x00-\x1f]+\^[^|~&\\\x00-\x1f]*\^[^|~&^\\\x00-\x1f]+$")
]
"""``code^text^coding system``: HL7 v2.5.1 section 2.A.13, CWE."""


class Codes(Section):
    """The site's own codes, ``code^text^coding system``; what is left out is coded in SNOMED CT and DICOM."""

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


Observed = Literal[""] | Coded
"""OBX-3, or nothing where the site does not want the observation."""


class Observations(Section):
    """OBX-3 of each observation, ``code^text^coding system``; empty: the observation is left out."""

    answer: Observed = "ANSWER^Fracture^99OSTEON"
    probability: Observed = "PROBABILITY^Probability of a fracture^99OSTEON"
    site: Observed = "SITE^Site^99OSTEON"
    side: Observed = "SIDE^Laterality^99OSTEON"
    focus: Observed = "FOCUS^Focus of the heat map^99OSTEON"
    not_analysed: Observed = "NOT-ANALYSED^Reason for no answer^99OSTEON"
    radiograph: Observed = "RADIOGRAPH^SOP Instance UID^99OSTEON"
    impression: Observed = "IMPRESSION^Impression^99OSTEON"
    model: Observed = "MODEL^Model^99OSTEON"
    revision: Observed = "REVISION^Revision^99OSTEON"
    link: Observed = "LINK^Link to the study^99OSTEON"
    accession_number: Observed = "121022^Accession Number^DCM"
    study_instance_uid: Observed = "113014^DICOM Study^DCM"


def _field_map(given: Any) -> Any:
    if not isinstance(given, dict) or not all(isinstance(template, str) for template in given.values()):
        raise ValueError('must be a table of fields and templates, such as "OBR-18" = "{accession_number}"')
    if found := field_map.problems(given):
        raise ValueError("; ".join(found))
    return tuple(given.items())


FieldMap = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_field_map), PlainSerializer(dict)]
"""Fields and templates; as pairs, for a destination can be looked up by its value."""


class Hl7Destination(Section):
    """A RIS that takes ORU^R01 over MLLP, and what it makes of it."""

    kind: Literal["hl7"]
    name: str = Field(min_length=1, max_length=64)
    host: str
    port: Port
    tls: ClientTls | None = Field(None, description="Connect with TLS")
    version: Literal["2.3.1", "2.4", "2.5.1"] = Field("2.5.1", description="MSH-12")
    character_set: Literal["UNICODE UTF-8", "ASCII", "8859/1", "8859/2", "8859/5", "8859/7", "8859/9", "8859/15"] = (
        Field("UNICODE UTF-8", description="MSH-18, and the bytes of the message")
    )
    sending_application: str = Field("OSTEON", description="MSH-3")
    sending_facility: str = Field("", description="MSH-4")
    receiving_application: str = Field("", description="MSH-5")
    receiving_facility: str = Field("", description="MSH-6")
    service: Coded = Field("OSTEON-FX^Fracture second reading by AI^99OSTEON", description="OBR-4")
    acknowledgement: Literal["original", "accept", "both"] = Field(
        "original", description="AA delivers; or, in enhanced mode, CA; or CA and then AA on the same connection"
    )
    revised_status: Literal["P", "C"] = Field("P", description="OBR-25 and OBX-11 from revision 2 on")
    flag: Literal["oru", "orm", "omi", "none"] = Field(
        "oru", description="How the worklist is flagged: OBX-8, or a priority update by ORM^O01 or OMI^O23"
    )
    flagged: tuple[Literal["positive", "doubt"], ...] = Field(("positive",), description="Answers that are flagged")
    priority: str = Field("S", pattern=r"^[A-Z]{1,2}$", description="Of a flagged order: HL7 table 0485, S is stat")
    usual_priority: str | None = Field(
        None, pattern=r"^[A-Z]{1,2}$", description="Of an order that was flagged and is no more; default: it stays"
    )
    link: str | None = Field(
        None, pattern=r"^https?://", max_length=110, description="Address of the study in the site's viewer"
    )
    codes: Codes = Field(Codes(), description="The site's own codes")
    observations: Observations = Field(Observations(), description="Which observations are sent, and as what")
    map: FieldMap = Field((), description="Fields that the site wants otherwise: SEG-n and a template")
    timeout_s: float = Field(30.0, gt=0, le=60)

    @field_validator("link")
    @classmethod
    def _names_no_patient(cls, link: str | None) -> str | None:
        if link and (found := field_map.template_problems(link, field_map.LINK_VALUES)):
            raise ValueError("; ".join(found))
        return link

    @model_validator(mode="after")
    def _flag_fits_the_version(self) -> Hl7Destination:
        if self.flag == "omi" and self.version != "2.5.1":
            raise ValueError('flag "omi" needs version 2.5.1 (OMI^O23 came with 2.5); "orm" does for earlier ones')
        return self


class FhirDestination(Section):
    """A FHIR R4 server that takes a transaction Bundle."""

    kind: Literal["fhir"]
    name: str = Field(min_length=1, max_length=64)
    base_url: str = Field(pattern=r"^https?://")
    bearer: str | None = Field(None, repr=False)
    tls: ClientTls | None = Field(None, description="Who signed the server's certificate, and ours if it asks for one")
    patient_system: str | None = Field(None, description="URI of your patient numbers; else the source's issuer's")
    patient: Literal["create", "reference"] = Field(
        "create", description="A patient whom the server does not know is made, or the transaction fails"
    )
    imaging_study: Literal["create", "reference"] = Field("create", description="The same for the study")
    revised_status: Literal["preliminary", "amended"] = Field("preliminary", description="Status from revision 2 on")
    flag: Literal["task", "none"] = Field("none", description="A Task for whoever makes the worklist")
    flagged: tuple[Literal["positive", "doubt"], ...] = Field(("positive",), description="Answers that are flagged")
    timeout_s: float = Field(30.0, gt=0, le=60)


DestinationConfig = Annotated[DicomDestination | Hl7Destination | FhirDestination, Field(discriminator="kind")]


class Status(Section):
    """The page for IT."""

    host: str = Field("127.0.0.1", description="Address of the page; it shows no patient's data")
    port: Port = Field(8080, description="TCP port of the page")


class Retention(Section):
    """How long the spool keeps what is analysed and delivered; what is not is kept for as long as it takes."""

    days: float = Field(30.0, gt=0, description="Days after the last answer was delivered")
    prune_below_mb: int = Field(5000, ge=0, description="Earlier, oldest first, when less than this is free")


class Configuration(Section):
    """Everything that can be set."""

    state_dir: Path = Field(Path("/var/lib/osteon"), description="Database and spool")
    database_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in state_dir")
    receive: Receive = Receive()
    analyse: Analyse = Analyse()
    study: Study = Study()
    destinations: tuple[DestinationConfig, ...] = ()
    status: Status = Status()
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Configuration:
        names = [d.name for d in self.destinations]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"destinations have the same name: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _ports_are_different(self) -> Configuration:
        receive = self.receive
        ports = {"status.port": self.status.port}
        ports |= {"receive.port": receive.port} if receive.plain else {}
        ports |= {"receive.tls.port": receive.tls.port} if receive.tls else {}
        ports |= {"receive.hl7.port": receive.hl7.port} if receive.hl7 else {}
        for port in {p for p in ports.values() if p}:
            if len(same := sorted(key for key, value in ports.items() if value == port)) > 1:
                raise ValueError(f"{' and '.join(same)} are both {port}: each listener needs its own")
        return self

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.state_dir / 'osteon.db'}"

    @property
    def packs_dir(self) -> Path:
        """Folder of the packs that were installed."""
        return self.state_dir / "packs"

    @property
    def plans_dir(self) -> Path:
        """Folder of TensorRT's plans: can be deleted, is built again."""
        return self.state_dir / "plans"

    @property
    def spool_dir(self) -> Path:
        """Folder of the spool."""
        return self.state_dir / "spool"


class ConfigurationError(Fault):
    """Everything that is wrong with the file, one line each."""

    def __init__(self, path: Path | None, problems: list[str]) -> None:
        self.problems = problems
        where = f"{path}: " if path else ""
        super().__init__(ReasonCode.CONFIGURATION, where + "; ".join(problems))


def read_configuration(path: Path | None) -> Configuration:
    """Read and check the file at `path`; None: the defaults.

    Raises
    ------
    ConfigurationError
        With every problem at once, each with the path of its key.
    """
    if path is None:
        return Configuration()
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(path, [f"cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(path, [f"is not TOML: {error}"]) from error
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(path, [_sentence(e) for e in error.errors()]) from error


def _sentence(error: Any) -> str:
    """One problem: path of the key, what is wrong, and the nearest key that exists."""
    of_kind = error["loc"][:1] == ("destinations",)  # its third step is the kind
    parts = [p for n, p in enumerate(error["loc"]) if not (of_kind and n == 2 and p in ("dicom", "hl7", "fhir"))]
    path = ".".join(map(str, parts)) or "file"
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg']}"
    near = difflib.get_close_matches(str(parts[-1]), _keys(error["loc"][:-1]), n=1)
    return f"{path}: unknown key" + (f"; did you mean {near[0]!r}?" if near else "")


def _keys(location: tuple[Any, ...]) -> list[str]:
    """The keys that exist at a place in the file."""
    kinds: dict[object, type[BaseModel]] = {"dicom": DicomDestination, "hl7": Hl7Destination, "fhir": FhirDestination}
    section: type[BaseModel] = Configuration
    for step in location:
        if step in kinds and location[0] == "destinations":
            section = kinds[step]
        elif isinstance(step, str) and step in section.model_fields:
            annotation = section.model_fields[step].annotation
            for inner in (annotation, *get_args(annotation)):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    section = inner
    return list(section.model_fields)
