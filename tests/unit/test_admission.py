"""Admission: listed addresses and AE titles, supported presentation contexts, and limits."""

from collections.abc import Callable

import pytest
from pydicom.uid import UID
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import build_context

from appliance.config import Receive
from appliance.dicom.scp.admission import SPARE, SPARE_ALL, Admission, Place, Refusal, Slots, decode_ae_title
from appliance.dicom.transfer_syntaxes import ACCEPTED, RADIOGRAPHS, accepted_syntaxes, is_companion
from appliance.network import plain_address

CT = "1.2.840.10008.5.1.4.1.1.2"
LITTLE, BIG, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50"


def check(admission: Admission, address: str, called: str = "OSTEON", calling: str = "ROOM1") -> Refusal | None:
    return admission.check_titles(address, called=called, calling=calling)


def request_of(*contexts: tuple[str, list[str]]) -> A_ASSOCIATE:
    request = A_ASSOCIATE()
    request.called_ae_title = "OSTEON"
    request.calling_ae_title = "ROOM1"
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    for number, (abstract, syntaxes) in enumerate(contexts):
        context = build_context(abstract, syntaxes)
        context.context_id = 2 * number + 1
        request.presentation_context_definition_list.append(context)
    return request


@pytest.mark.parametrize(
    ("address", "is_listed"),
    [
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("::ffff:192.0.2.7", True),  # IPv4 over an IPv6 socket
        ("2001:db8::7", True),
        ("fe80::1%eth0", False),
        ("127.0.0.1", False),
    ],
)
def test_address_within_a_listed_network_is_admitted(address: str, is_listed: bool) -> None:
    config = Receive.model_validate({"peers": [{"address": "192.0.2.0/24"}, {"address": "2001:db8::/32"}]})
    admission = Admission(config)
    assert admission.is_listed(address) is is_listed
    assert (check(admission, address) is None) is is_listed


def test_default_configuration_admits_loopback_only() -> None:
    admission = Admission(Receive())
    assert admission.is_listed("127.0.0.1")
    assert admission.is_listed("::1")
    assert not admission.is_listed("10.0.0.1")


def test_address_listed_with_several_calling_titles_admits_each() -> None:
    peers = [{"address": "192.0.2.7", "ae_title": title} for title in ("CT9", "ROOM1")]
    assert check(Admission(Receive.model_validate({"peers": peers})), "192.0.2.7") is None
    refusal = check(Admission(Receive.model_validate({"peers": peers[:1]})), "192.0.2.7")
    assert refusal is not None
    assert refusal.code == "calling_ae_title"
    assert "'ROOM1' is not listed for 192.0.2.7" in refusal.reason


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
def test_ae_title_field_is_decoded_without_padding_and_escaped(field: bytes, title: str) -> None:
    assert decode_ae_title(field) == title


@pytest.mark.parametrize("calling", ["", "R\\xd6NTGEN", "A\\tB"])
def test_invalid_calling_title_is_rejected_where_any_title_is_allowed(calling: str) -> None:
    refusal = check(Admission(Receive()), "127.0.0.1", calling=calling)
    assert refusal is not None
    assert (refusal.code, refusal.diagnostic) == ("calling_ae_title", 3)
    assert f"'{calling}'" in refusal.reason


def test_supported_contexts_are_a_subset_of_the_proposed_ones() -> None:
    request = request_of((RADIOGRAPHS[0], [JPEG, LITTLE]), (CT, [JPEG, BIG]), ("1.2.840.10008.5.1.4.31", [LITTLE]))
    with_companions = {RADIOGRAPHS[0]: [LITTLE, JPEG], CT: [BIG, JPEG]}
    assert Admission(Receive()).supported_contexts(request) == with_companions
    assert Admission(Receive(companions=False)).supported_contexts(request) == {RADIOGRAPHS[0]: [LITTLE, JPEG]}


def test_abstract_syntax_in_several_contexts_is_supported_with_all_their_transfer_syntaxes() -> None:
    request = request_of((RADIOGRAPHS[0], [JPEG]), (RADIOGRAPHS[0], [LITTLE]))
    assert Admission(Receive()).supported_contexts(request) == {RADIOGRAPHS[0]: [LITTLE, JPEG]}


def test_accepted_transfer_syntaxes_are_all_in_which_a_radiograph_occurs() -> None:
    names = {syntax.rpartition(".")[2] for syntax in ACCEPTED if ".1.2.4." in syntax}
    assert names == {"50", "51", "57", "70", "80", "81", "90", "91", "201", "202", "203"}
    assert len(set(ACCEPTED)) == len(ACCEPTED) == 16
    assert all(UID(syntax).is_transfer_syntax for syntax in ACCEPTED)


def test_companion_is_any_other_storage_class() -> None:
    assert is_companion(CT)
    assert is_companion("1.3.12.2.1107.5.9.1")
    assert not is_companion("1.2.840.10008.5.1.4.1.2.2.1")
    assert not is_companion(RADIOGRAPHS[0])
    assert accepted_syntaxes("1.2.840.10008.1.1", [LITTLE], companions=True) == []


def test_association_slots_are_limited_and_returned() -> None:
    slots = Slots(3, 2)
    first = take(slots, "a")
    assert isinstance(first, Place) and isinstance(take(slots, "a"), Place)
    refusal = take(slots, "a")
    assert isinstance(refusal, Refusal) and "associations_per_peer" in refusal.reason
    assert (refusal.result, refusal.source, refusal.diagnostic) == (2, 3, 2)
    assert isinstance(take(slots, "b"), Place)
    assert isinstance(take(slots, "c"), Refusal), "three in total"
    slots.release_association(first)
    assert isinstance(take(slots, "c"), Place)
    assert slots.associations == 3


def take(slots: Slots, address: str, wake: Callable[[], None] = lambda: None) -> Place | Refusal:
    return slots.take_association(address, wake)


def silent_place(slots: Slots, address: str, silent_s: float, woken: list[str]) -> Place:
    """Take a place whose association has been silent for so long."""
    place = take(slots, address, lambda: woken.append(f"{address} {silent_s:g}"))
    assert isinstance(place, Place)
    place.begin_silence()
    assert place.silent_since is not None
    place.silent_since -= silent_s
    return place


def test_association_that_is_silent_for_longest_gives_way_to_another() -> None:
    slots, woken = Slots(4, 3), list[str]()
    other = silent_place(slots, "b", 90, woken)
    places = [silent_place(slots, "a", silent_s, woken) for silent_s in (20, 60, 5)]
    assert isinstance(take(slots, "c"), Place)
    assert woken == ["a 60"] and places[1].has_given_way, "of the address with the most"
    assert slots.associations == 4
    slots.release_association(places[1])  # has no effect: its place belongs to another
    assert slots.associations == 4
    assert not places[1].end_silence() and places[0].end_silence() and not other.has_given_way


def test_address_with_its_share_of_associations_displaces_only_its_own() -> None:
    slots, woken = Slots(9, 2), list[str]()
    silent_place(slots, "b", 90, woken)
    silent_place(slots, "a", 20, woken)
    silent_place(slots, "a", 1, woken)
    assert isinstance(take(slots, "a"), Place) and woken == ["a 20"]
    assert isinstance(take(slots, "a"), Refusal), "none of its own is silent for long enough"


def test_association_within_a_message_does_not_give_way() -> None:
    slots = Slots(1, 1)
    place = silent_place(slots, "a", 60, [])
    assert place.end_silence()
    assert isinstance(take(slots, "b"), Refusal) and not place.has_given_way


def test_connection_slots_are_limited_by_address_by_stranger_and_in_total() -> None:
    slots = Slots(3, 2)
    assert [slots.take_connection("a", listed=True) for _ in range(2 + SPARE + 1)] == [True] * (2 + SPARE) + [False]
    assert sum(slots.take_connection(f"s{n}", listed=False) for n in range(100)) == SPARE
    others = 3 + SPARE_ALL - (2 + SPARE) - SPARE
    assert sum(slots.take_connection(f"k{n}", listed=True) for n in range(100)) == others
    slots.release_connection("s0", listed=False)
    assert slots.take_connection("s9", listed=False)


def test_plain_address_has_no_zone() -> None:
    assert str(plain_address("fe80::1%eth0")) == "fe80::1"
