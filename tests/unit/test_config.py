"""The configuration: defaults, the example file, and every error at once with its key and a suggestion."""

import re
from pathlib import Path

import pytest

from appliance.config import Configuration, ConfigurationError, Hl7Listener, read_configuration


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
    assert [d.kind for d in config.destinations] == ["dicom", "hl7", "fhir"]


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
        ('link = "viewer"', "destinations.0.link: is no web address: begin it with http:// or https://"),
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
