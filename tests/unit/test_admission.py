"""Who may come in, what is offered, and how many at a time."""

import pytest
from pydicom.uid import UID
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import build_context

from appliance.config import Receive
from appliance.dicom.scp.admission import SPARE, SPARE_ALL, Admission, Places, Refusal, title_of
from appliance.dicom.transfer_syntaxes import ACCEPTED, RADIOGRAPHS, is_companion, taken
from appliance.network import plain_address

CT = "1.2.840.10008.5.1.4.1.1.2"
LITTLE, BIG, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50"


def refusal(admission: Admission, address: str, called: str = "OSTEON", calling: str = "ROOM1") -> Refusal | None:
    return admission.refusal(address, called=called, calling=calling)


def request(*contexts: tuple[str, list[str]]) -> A_ASSOCIATE:
    made = A_ASSOCIATE()
    made.called_ae_title, made.calling_ae_title = "OSTEON", "ROOM1"
    made.application_context_name = "1.2.840.10008.3.1.1.1"
    for number, (abstract, syntaxes) in enumerate(contexts):
        context = build_context(abstract, syntaxes)
        context.context_id = 2 * number + 1
        made.presentation_context_definition_list.append(context)
    return made


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("::ffff:192.0.2.7", True),  # IPv4 over an IPv6 socket
        ("2001:db8::7", True),
        ("fe80::1%eth0", False),
        ("127.0.0.1", False),
    ],
)
def test_addresses_and_networks(address: str, known: bool) -> None:
    config = Receive.model_validate({"peers": [{"address": "192.0.2.0/24"}, {"address": "2001:db8::/32"}]})
    admission = Admission(config)
    assert admission.is_known(address) is known
    assert (refusal(admission, address) is None) is known


def test_closed_by_default_outside_loopback() -> None:
    admission = Admission(Receive())
    assert admission.is_known("127.0.0.1")
    assert admission.is_known("::1")
    assert not admission.is_known("10.0.0.1")


def test_an_address_lists_several_calling_titles() -> None:
    peers = [{"address": "192.0.2.7", "ae_title": title} for title in ("CT9", "ROOM1")]
    assert refusal(Admission(Receive.model_validate({"peers": peers})), "192.0.2.7") is None
    refused = refusal(Admission(Receive.model_validate({"peers": peers[:1]})), "192.0.2.7")
    assert refused is not None
    assert refused.code == "calling_ae_title"
    assert "'ROOM1' is not listed for 192.0.2.7" in refused.reason


@pytest.mark.parametrize(
    ("field", "title"),
    [
        (b"ROOM1           ", "ROOM1"),
        (b"ROOM1\0\0\0\0\0\0\0\0\0\0\0", "ROOM1"),
        (b" ROOM 1 \0       ", "ROOM 1"),
        (bytes(16), ""),
        (b"R\xd6NTGEN\t\\       ", "R\\xd6NTGEN\\t\\\\"),
    ],
)
def test_a_title_without_its_padding_and_what_may_not_be_in_it_escaped(field: bytes, title: str) -> None:
    assert title_of(field) == title


@pytest.mark.parametrize("calling", ["", "R\\xd6NTGEN", "A\\tB"])
def test_a_calling_title_that_is_none_is_rejected_where_any_would_do(calling: str) -> None:
    refused = refusal(Admission(Receive()), "127.0.0.1", calling=calling)
    assert refused is not None
    assert (refused.code, refused.diagnostic) == ("calling_ae_title", 3)
    assert f"'{calling}'" in refused.reason


def test_only_what_is_proposed_is_offered() -> None:
    proposal = request((RADIOGRAPHS[0], [JPEG, LITTLE]), (CT, [JPEG, BIG]), ("1.2.840.10008.5.1.4.31", [LITTLE]))
    assert Admission(Receive()).contexts(proposal) == {RADIOGRAPHS[0]: [LITTLE, JPEG], CT: [BIG, JPEG]}
    assert Admission(Receive(companions=False)).contexts(proposal) == {RADIOGRAPHS[0]: [LITTLE, JPEG]}


def test_one_abstract_syntax_in_several_contexts_is_offered_with_all() -> None:
    proposal = request((RADIOGRAPHS[0], [JPEG]), (RADIOGRAPHS[0], [LITTLE]))
    assert Admission(Receive()).contexts(proposal) == {RADIOGRAPHS[0]: [LITTLE, JPEG]}


def test_the_list_is_whole() -> None:
    """Each of the Standard's syntaxes in which a radiograph occurs, once."""
    names = {syntax.rpartition(".")[2] for syntax in ACCEPTED if ".1.2.4." in syntax}
    assert names == {"50", "51", "57", "70", "80", "81", "90", "91", "201", "202", "203"}
    assert len(set(ACCEPTED)) == len(ACCEPTED) == 16
    assert all(UID(syntax).is_transfer_syntax for syntax in ACCEPTED)


def test_what_is_no_storage_class_is_no_companion() -> None:
    assert is_companion(CT)
    assert is_companion("1.3.12.2.1107.5.9.1")
    assert not is_companion("1.2.840.10008.5.1.4.1.2.2.1")
    assert not is_companion(RADIOGRAPHS[0])
    assert taken("1.2.840.10008.1.1", [LITTLE], companions=True) == []


def test_places_are_counted_and_come_back() -> None:
    places = Places(3, 2)
    assert places.admit("a") is places.admit("a") is None
    refused = places.admit("a")
    assert refused is not None
    assert (refused.result, refused.source, refused.diagnostic) == (2, 3, 2)
    assert places.admit("b") is None
    assert places.admit("c") is not None, "three altogether"
    places.release("a")
    assert places.admit("c") is None
    assert places.associations == 3


def test_connections_are_bounded_by_address_by_stranger_and_altogether() -> None:
    places = Places(3, 2)
    assert [places.arrive("a", known=True) for _ in range(2 + SPARE + 1)] == [True] * (2 + SPARE) + [False]
    assert sum(places.arrive(f"s{n}", known=False) for n in range(100)) == SPARE
    assert sum(places.arrive(f"k{n}", known=True) for n in range(100)) == 3 + SPARE_ALL - (2 + SPARE) - SPARE
    places.leave("s0", known=False)
    assert places.arrive("s9", known=False)


def test_an_address_without_its_zone() -> None:
    assert str(plain_address("fe80::1%eth0")) == "fe80::1"
