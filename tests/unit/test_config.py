"""The configuration: defaults, the example file, and every error at once with its key and a suggestion."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError

from appliance.clock import now
from appliance.config import (
    ClientTls,
    Configuration,
    DicomDestination,
    DicomWebDestination,
    EmailAlarm,
    FhirDestination,
    Hl7Destination,
    Hl7Listener,
    Receive,
    Status,
    WebhookAlarm,
    read_configuration,
)
from appliance.errors import ConfigurationError
from appliance.storage.database import without_password


def write_configuration(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "osteon.toml"
    path.write_text(text)
    return path


def test_configuration_without_a_file_is_the_defaults() -> None:
    assert read_configuration(None) == Configuration()


def test_errors_are_reported_at_once_with_key_and_suggestion(tmp_path: Path) -> None:
    path = write_configuration(
        tmp_path,
        """
        [receive]
        prot = 104
        ae_title = "SEVENTEEN_LETTERS"
        [[destinations]]
        kind = "dicom"
        name = "pacs"
        host = "127.0.0.1"
        port = 70000
        called_ae_titel = "PACS"
        """,
    )
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(path)
    problems = "\n".join(caught.value.problems)
    assert "receive.prot: unknown key; did you mean 'port'?" in problems
    assert "receive.ae_title: is too long: write at most 16 characters" in problems
    assert "destinations.0.port: is too large: write at most 65535" in problems
    assert "destinations.0.called_ae_titel: unknown key; did you mean 'called_ae_title'?" in problems
    assert "destinations.0.called_ae_title: is missing" in problems


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    one = '[[destinations]]\nkind = "fhir"\nname = "a"\nbase_url = "http://127.0.0.1"\n'
    with pytest.raises(ConfigurationError, match="the same name: a"):
        read_configuration(write_configuration(tmp_path, one + one))


@pytest.mark.parametrize("content", ["state_dir =", "\x00"])
def test_file_that_is_not_toml_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigurationError, match="is not TOML"):
        read_configuration(write_configuration(tmp_path, content))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_configuration(tmp_path / "absent.toml")


def test_bearer_token_is_not_in_the_repr(tmp_path: Path) -> None:
    path = write_configuration(
        tmp_path, '[[destinations]]\nkind="fhir"\nname="f"\nbase_url="http://127.0.0.1"\nbearer="s3cret"\n'
    )
    assert "s3cret" not in repr(read_configuration(path))


def test_ages_are_read_and_bounds_that_exclude_everybody_are_refused(tmp_path: Path) -> None:
    path = write_configuration(tmp_path, "[analyse.ages]\nyoungest_years = 18\n")
    assert read_configuration(path).analyse.ages.youngest_years == 18
    path = write_configuration(tmp_path, "[analyse.ages]\nyoungest_years = 18\noldest_years = 16\n")
    with pytest.raises(ConfigurationError, match="youngest_years 18 is above oldest_years 16"):
        read_configuration(path)
    path = write_configuration(tmp_path, "[analyse.ages]\nfrom = 18\noldest_years = -1\n")
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(path)
    problems = "\n".join(caught.value.problems)
    assert "analyse.ages.from: unknown key" in problems and "analyse.ages.oldest_years: is too small" in problems


EXAMPLE = Path(__file__).parents[2] / "provisioning" / "osteon.example.toml"


def test_example_file_holds_the_defaults() -> None:
    assert read_configuration(EXAMPLE) == Configuration()


def test_destinations_of_the_example_are_valid_when_uncommented(tmp_path: Path) -> None:
    head, tail = EXAMPLE.read_text().split("# [[destinations]]", 1)
    lines = ("# [[destinations]]" + tail).splitlines()
    config = read_configuration(
        write_configuration(tmp_path, head + "\n".join(line.removeprefix("# ") for line in lines))
    )
    assert [d.kind for d in config.destinations] == ["dicom", "dicomweb", "hl7", "fhir"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('[[receive.peers]]\naddress = "10.0.0.0/33"', "receive.peers.0.address"),
        (
            '[[receive.peers]]\naddress = "10.0.0.7/24"',
            "10.0.0.7/24 is an address within a network: write 10.0.0.0/24 for all of it, or 10.0.0.7 alone",
        ),
        ('[[receive.peers]]\nadress = "10.0.0.7"', "did you mean 'address'?"),
        ('[receive.tls]\ncertificat = "a"\nkey = "b"', "did you mean 'certificate'?"),
        ("[receive]\nplain = false", "nothing listens"),
        ('[receive]\nae_title = " "', "receive.ae_title: the AE title is blank"),
        ('[[receive.peers]]\naddress = "10.0.0.7"\nae_title = "  "', "receive.peers.0.ae_title: the AE title is blank"),
        ("status.port = 11112", "receive.port and status.port are both 11112"),
        (
            'receive.tls = {port = 11112, certificate = "a", key = "b"}',
            "receive.port and receive.tls.port are both 11112",
        ),
        ("receive.hl7 = {port = 11112}", "receive.hl7.port and receive.port are both 11112"),
        ("receive.hl7 = {tls = true}", "hl7.tls needs the certificate of [receive.tls]"),
        ('[receive.hl7]\npears = ["10.0.0.7"]', "did you mean 'peers'?"),
    ],
)
def test_error_in_the_listener_is_reported(tmp_path: Path, lines: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        read_configuration(write_configuration(tmp_path, lines))


@pytest.mark.parametrize(
    "lines",
    [
        "receive.port = 0\nstatus.port = 0",  # the system chooses
        'receive.plain = false\nreceive.tls = {port = 11112, certificate = "a", key = "b"}',
    ],
)
def test_ports_that_differ_or_are_chosen_by_the_system_are_accepted(tmp_path: Path, lines: str) -> None:
    assert read_configuration(write_configuration(tmp_path, lines)).receive.port in (0, 11112)


def test_peers_default_to_this_machine_and_are_replaced_by_a_list(tmp_path: Path) -> None:
    assert [str(p.address) for p in read_configuration(None).receive.peers] == ["127.0.0.0/8", "::1/128"]
    listed = read_configuration(
        write_configuration(tmp_path, '[[receive.peers]]\naddress = "192.0.2.7"\nae_title = "ROOM1"')
    )
    assert [(str(p.address), p.ae_title) for p in listed.receive.peers] == [("192.0.2.7/32", "ROOM1")]


def test_hl7_listener_of_the_example_is_the_default_when_uncommented(tmp_path: Path) -> None:
    section = EXAMPLE.read_text().split("# [receive.hl7]", 1)[1].split("\n\n", 1)[0]
    shown = "[receive.hl7]" + "\n".join(line.removeprefix("# ") for line in section.splitlines())
    config = read_configuration(write_configuration(tmp_path, shown))
    assert config.receive.hl7 == Hl7Listener()
    assert section.count("# ") >= len(Hl7Listener.model_fields)
    assert all(f"# {name} = " in section for name in Hl7Listener.model_fields)


def test_alarms_of_the_example_name_every_key_and_are_valid_when_uncommented(tmp_path: Path) -> None:
    section = EXAMPLE.read_text().split("# [alarms.email]", 1)[1].split("# Destinations:", 1)[0]
    shown = "[alarms.email]" + "\n".join(line.removeprefix("# ") for line in section.splitlines())
    alarms = read_configuration(write_configuration(tmp_path, shown)).alarms
    assert alarms.email and alarms.webhook
    assert alarms.email.model_fields_set == set(EmailAlarm.model_fields)
    assert alarms.webhook.model_fields_set == set(WebhookAlarm.model_fields)


@pytest.mark.parametrize("address", ["it", "it@", "a@b@c", "it@x, them@y", "IT <it@x>", "it@x\\nBcc: y@z", ""])
def test_mail_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    lines = f'[alarms.email]\nhost = "mail"\nsender = "{address}"\nrecipients = []'
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(write_configuration(tmp_path, lines))
    problems = "\n".join(caught.value.problems)
    assert "alarms.email.sender: is no mail address" in problems
    assert "alarms.email.recipients: is empty" in problems


HL7 = '[[destinations]]\nkind = "hl7"\nname = "ris"\nhost = "127.0.0.1"\nport = 2575\n'


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            'map = {"OBR-18" = "{acession_number}"}',
            "OBR-18: unknown name 'acession_number'; did you mean 'accession_number'?",
        ),
        ('map = {"OBR-18" = "{patient_id!r}"}', "OBR-18: unknown name 'patient_id'"),
        ('map = {"OBR-18" = "{patient_id.real}"}', "OBR-18: unknown name 'patient_id.real'"),
        ('map = {"OBR-18" = "{"}', "OBR-18: a brace stands alone"),
        ('map = {"OBR-18" = "a\\rMSH|"}', "OBR-18: it holds a control character"),
        ('map = {"OBR18" = "x", "ABC-1" = "y"}', "OBR18 is no field of MSH, PID, PV1, ORC, OBR, OBX or a Z segment"),
        ('map = {"OBR18" = "x", "ABC-1" = "y"}', "ABC-1 is no field"),
        ('map = {"OBR-3" = "{accession_number}"}', "OBR-3 cannot be set: set order instead"),
        ('map = {"OBR-25" = "F"}', "OBR-25 cannot be set: reports of Osteon are preliminary"),
        ('map = {"MSH-18" = "UTF8"}', "MSH-18 cannot be set: set character_set instead"),
        ('map = "OBR-3"', "must be a table of fields and templates"),
        ('map = {"OBR-18" = 3}', "must be a table of fields and templates"),
        ('link = "https://v/?id={patient_id}"', "unknown name 'patient_id'; possible are study_instance_uid, revision"),
        ('link = "https://v/?a={accession_number}"', "unknown name 'accession_number'"),
        ('flag = "omi"\nversion = "2.4"', 'flag "omi" needs version 2.5.1'),
        ('order = "acession"', "'acession' is not possible: write 'own', 'placer' or 'accession'"),
        ('order = "accession"\nrevised_status = "C"', "would mark the examination as reported"),
        ('observation_codes = "LN"', "'LN' is not possible: write 'osteon' or 'loinc'"),
        (
            'observation_codes = "loinc"\nobservations = {focuss = ""}',
            "destinations.0.observations.focuss: unknown key; did you mean 'focus'?",
        ),
        ('version = "2.5"', "'2.5' is not possible: write '2.3.1', '2.4' or '2.5.1'"),
        ('codes = {positve = "A^B^L"}', "destinations.0.codes.positve: unknown key; did you mean 'positive'?"),
        ('codes = {positive = "A"}', "destinations.0.codes.positive: is no code: write code^text^coding system"),
        ('observations = {focus = "A"}', "destinations.0.observations.focus: is no code"),
        ('priority = "stat"', "destinations.0.priority: is no priority: write one or two capital letters"),
        ('link = "viewer"', "destinations.0.link: is no web address: write http:// or https://"),
        ('codes = {positive = "A|B^C^L"}', "destinations.0.codes.positive"),
        ('observations = {focuss = ""}', "destinations.0.observations.focuss: unknown key; did you mean 'focus'?"),
        ('tls = {certificate = "a"}', "certificate and key come together"),
    ],
)
def test_error_in_an_hl7_destination_is_reported(tmp_path: Path, lines: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        read_configuration(write_configuration(tmp_path, HL7 + lines))


def test_field_map_keeps_its_order_and_stays_hashable(tmp_path: Path) -> None:
    lines = '[destinations.map]\n"OBR-18" = "{accession_number}"\n"PV1-2" = "R"\n'
    (ris,) = read_configuration(write_configuration(tmp_path, HL7 + lines)).destinations
    assert ris.model_dump()["map"] == {"OBR-18": "{accession_number}", "PV1-2": "R"}
    assert {ris: "found by its value"}[ris]


def sections(section: type[BaseModel] = Configuration, at: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every table of the file with its path."""
    yield at, section
    for name, field in section.model_fields.items():
        for inner in classes(field.annotation):
            if issubclass(inner, BaseModel):
                yield from sections(inner, f"{at}.{name}")


def classes(annotation: Any) -> Iterator[type]:
    """Yield every class in an annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from classes(part)


def bound(section: type[BaseModel], name: str, *kinds: type) -> float | None:
    """Return the bound of that kind, such as `Le`, of a field."""
    metadata = list(section.model_fields[name].metadata)
    for part in get_args(section.model_fields[name].annotation):
        metadata += [m for field in getattr(part, "__metadata__", ()) for m in (field, *getattr(field, "metadata", ()))]
    values = [getattr(m, kind.__name__.lower()) for m in metadata for kind in kinds if isinstance(m, kind)]
    return values[0] if values else None


NUMBERS = [
    (at, section, name)
    for at, section in dict(sections()).items()
    for name, field in section.model_fields.items()
    if {int, float} & set(classes(field.annotation))
]


@pytest.mark.parametrize(("at", "section", "name"), NUMBERS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_number_has_both_bounds(at: str, section: type[BaseModel], name: str) -> None:
    assert bound(section, name, Ge, Gt) is not None, f"{at}.{name} has no lower bound"
    assert bound(section, name, Le, Lt) is not None, f"{at}.{name} has no upper bound"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "true", "'x'", str(10**400), str(-(10**400)), "[]"])
@pytest.mark.parametrize("key", ["retention.days", "retention.prune_below_mb", "receive.idle_s", "receive.instance_mb"])
def test_number_that_is_none_or_too_large_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=key.replace(".", ".*")) as caught:
        read_configuration(write_configuration(tmp_path, f"{key} = {value}\n"))
    assert "too large" in str(caught.value) or "too small" in str(caught.value) or "must be a" in str(caught.value)


def test_retention_of_more_than_a_century_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"retention\.days: is too large: write at most 36500"):
        read_configuration(write_configuration(tmp_path, "retention.days = 999999\n"))
    config = read_configuration(write_configuration(tmp_path, "retention.days = 36500\n"))
    now() - timedelta(days=config.retention.days)  # a date


@pytest.mark.parametrize(
    "content",
    [
        "a = " + "[" * 2000 + "]" * 2000,
        "a = " + "{b = " * 2000 + "1" + "}" * 2000,
        "a" + ".a" * 2000 + " = 1",
        "retention.days = " + "1" * 5000,
        'state_dir = "\ud800"',
    ],
)
def test_file_that_is_too_deep_or_too_long_is_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "osteon.toml"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigurationError, match=r"nested too deep|is not TOML|unknown key"):
        read_configuration(path)


def test_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text("receive.port = 104\n", encoding="utf-8-sig")
    assert read_configuration(path).receive.port == 104


HOSTS = [
    "192.0.2.10",
    "::1",
    "fe80::1%eth0",
    "pacs",
    "pacs.hospital.example",
    "PACS_1",
    "röntgen.example",
    "a.example.",
]
NO_HOSTS = [
    "",
    " ",
    "a b",
    "a..b",
    ".a",
    "-a",
    "a-",
    "*",
    "a/b",
    "pacs:104",
    "[::1]",
    "256.1.1.1",
    "xn--",
    "a" * 64,
    "a." * 130,
    "a\nb",
    "a\0b",
    "%",
]


@pytest.mark.parametrize("host", HOSTS)
def test_host_that_a_socket_takes_is_accepted_everywhere(host: str) -> None:
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo(host, 0)  # neither ValueError nor UnicodeError
    assert (
        Receive(host=host).host == Status(host=host, open=True).host == ClientTls(server_name=host).server_name == host
    )
    assert dicom(host=host).host == host
    address = f"[{host}]" if ":" in host else host
    assert fhir(base_url=f"https://{address}:8443/fhir").base_url.startswith("https://")


@pytest.mark.parametrize("host", NO_HOSTS)
def test_host_that_is_none_is_refused_everywhere(host: str) -> None:
    for make in (
        lambda: Receive(host=host),
        lambda: Status(host=host),
        lambda: Hl7Listener(host=host),
        lambda: ClientTls(server_name=host),
        lambda: dicom(host=host),
        lambda: hl7(host=host),
    ):
        with pytest.raises(ValidationError, match="is no host"):
            make()


ADDRESSES = [
    "http://127.0.0.1:8080/fhir",
    "https://fhir.hospital.example",
    "https://[2001:db8::1]/R4/",
    "https://röntgen.example/fhir?tenant=1",
    "HTTPS://server/a%20b",
]
NO_ADDRESSES = [
    "fhir.example",
    "ftp://a/",
    "https://",
    "https:///fhir",
    "https://:8080/",
    "https://[::1",
    "https://a:99999/",
    "https://a:0/",
    "https://a:b/",
    "https://a..b/",
    "https://xn--/",
    "https://a%b/",
    f"https://{'a' * 64}.example/",
    "https://256.1.1.1/",
    "https://a b/",
    "https://a/b c",
    "https://a/\n",
    "https://a\t/",
    "https://*/",
    f"https://a/{'b' * 2000}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_web_address_that_the_client_takes_is_accepted(address: str) -> None:
    assert httpx.Request("POST", fhir(base_url=address).base_url).url.host
    assert hl7(link=f"{address}/{{study_instance_uid}}"[:110]).link


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_web_address_that_is_none_is_refused_everywhere(address: str) -> None:
    with pytest.raises(ValidationError, match=r"is no web address|at most 2000"):
        fhir(base_url=address)
    with pytest.raises(ValidationError, match=r"is no web address|at most 110|control character"):
        hl7(link=address)


@pytest.mark.parametrize(
    "line",
    [
        'url = "https://user:TOPSECRET@h.example:99999/x"',
        'url = "https://user:TOPSECRET@h.example/x"',
        'url = "ftp://h/TOPSECRET"',
        'url = "https://h.example/hooks/TOPSECRET x"',
        'url = ["https://h/TOPSECRET"]',
        'url = "https://h/TOPSECRET"\nseverity = "x"',
        'url = "https://h/TOPSECRET',
    ],
)
def test_error_of_a_webhook_shows_no_part_of_its_address(tmp_path: Path, line: str) -> None:
    file = tmp_path / "osteon.toml"
    file.write_text(f"[alarms.webhook]\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(file)
    assert "TOPSECRET" not in f"{caught.value}"


@pytest.mark.parametrize("address", ["https://user:pw@a/", "https://user@a/", "https://a/#part"])
def test_address_with_a_secret_or_a_fragment_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="name no user, password"):
        fhir(base_url=address)


@pytest.mark.parametrize("token", ["a\nb", "a\r\nX: y", " ", "a b", "", "schlüssel", "a\0", "a\x7f", "a" * 8001])
def test_token_that_no_header_can_hold_is_refused(token: str) -> None:
    with pytest.raises(ValidationError):
        fhir(bearer=token)


def test_token_of_rfc_6750_is_sent_as_it_is() -> None:
    token = "aZ09-._~+/=="
    assert fhir(bearer=token).bearer == token


@pytest.mark.parametrize(
    "name", ["*", "pa*s", "?", "[a]", "", " ", " pacs", "pacs ", "-pacs", "a/b", "a\nb", "a" * 41, '"']
)
def test_name_of_a_destination_that_stands_for_others_is_refused(name: str) -> None:
    for make in (dicom, hl7, fhir):
        with pytest.raises(ValidationError):
            make(name=name)


@pytest.mark.parametrize("name", ["pacs", "PACS 2", "ris.1+x-y_z", "Röntgen"])
def test_plain_name_of_a_destination_is_accepted(name: str) -> None:
    assert dicom(name=name).name == name


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "",
        "mysql://a/b",
        "postgresql+nonsense://a/b",
        "postgresql://host",
        "postgresql://host:99999/osteon",
        "postgresql://host:port/osteon",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///osteon.db",
        "http://a/b",
        "postgresql+pg8000://osteon:s3cret@a/b\n",
    ],
)
def test_database_that_is_none_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="database_url: ") as caught:
        read_configuration(write_configuration(tmp_path, f"database_url = {json.dumps(url)}\n"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql+pg8000://osteon:s3cret@db:5432/osteon", "sqlite:////var/lib/osteon/a.db"])
def test_password_of_the_database_is_not_in_the_repr(tmp_path: Path, url: str) -> None:
    config = read_configuration(write_configuration(tmp_path, f"database_url = {json.dumps(url)}\n"))
    assert config.database == url
    assert "s3cret" not in repr(config)
    assert "s3cret" not in without_password(url)


def test_postgresql_without_a_driver_is_read_as_that_of_a_dependency(tmp_path: Path) -> None:
    """A database named like its kind, and a password with signs: both stay as they are."""
    written = 'database_url = "postgresql://osteon:s3cret%40@db:5432/postgresql"\n'
    config = read_configuration(write_configuration(tmp_path, written))
    assert config.database == "postgresql+pg8000://osteon:s3cret%40@db:5432/postgresql"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('analyse.ignore.stations = ["*"]', "matches every radiograph"),
        ('analyse.ignore.descriptions = ["?*"]', "matches every radiograph"),
        ('analyse.ignore.stations = [""]', "analyse.ignore.stations.0: is empty"),
        ('analyse.pack = ""', "analyse.pack: is empty"),
        ('analyse.pack = "a\\u0000"', "control character"),
        ('analyse.more_packs = ["a\\nb"]', "control character"),
        ('analyse.trusted_keys = ["/a\\u0000"]', "control character"),
        ('receive.tls = {certificate = "/a\\u0000", key = "b"}', "control character"),
        ('state_dir = "state"', "depends on the folder in which a role is started"),
        ('state_dir = "/a\\u0000"', "control character"),
        ("analyse.windows = [{center = nan, width = 1}]", "analyse.windows.0.center: must be a finite number"),
        ("analyse.windows = [{center = 0, width = inf}]", "analyse.windows.0.width: must be a finite number"),
    ],
)
def test_text_or_number_that_would_mislead_a_role_is_refused(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        read_configuration(write_configuration(tmp_path, line))


def test_system_of_patient_numbers_is_a_uri() -> None:
    for right in ("urn:oid:1.2.3", "https://hospital.example/patients"):
        assert fhir(patient_system=right).patient_system == right
    for wrong in ("", "patients", "urn:a b", "urn:a\n", "1:a"):
        with pytest.raises(ValidationError):
            fhir(patient_system=wrong)


def dicom(**values: Any) -> DicomDestination:
    usual = {"kind": "dicom", "name": "pacs", "host": "a", "port": 104, "called_ae_title": "PACS"}
    return DicomDestination.model_validate(usual | values)


def hl7(**values: Any) -> Hl7Destination:
    return Hl7Destination.model_validate({"kind": "hl7", "name": "ris", "host": "a", "port": 2575} | values)


def fhir(**values: Any) -> FhirDestination:
    return FhirDestination.model_validate({"kind": "fhir", "name": "fhir", "base_url": "http://127.0.0.1"} | values)


def web(**values: Any) -> DicomWebDestination:
    usual = {"kind": "dicomweb", "name": "web", "base_url": "https://pacs.example/dicom-web"}
    return DicomWebDestination.model_validate(usual | values)


def test_archive_by_dicomweb_has_one_way_to_sign_in() -> None:
    password, token = Path("/etc/osteon/password"), Path("/etc/osteon/token")
    assert web(user="osteon", password_file=password).password_file == password
    assert web(bearer_file=token).bearer_file == token and web().user is None
    for wrong, says in (
        ({"user": "osteon"}, "come together"),
        ({"password_file": password}, "come together"),
        ({"user": "osteon", "password_file": password, "bearer_file": token}, "a token or a password"),
        ({"user": "a:b", "password_file": password}, "pattern"),
        ({"bearer_file": "token"}, "begin it with /"),
        ({"proof": "commitment"}, "proof"),
        ({"base_url": "https://osteon:secret@pacs.example/"}, "name no user"),
    ):
        with pytest.raises(ValidationError, match=says):
            web(**wrong)
