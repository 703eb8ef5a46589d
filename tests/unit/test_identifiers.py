"""UIDs are checked before they become anything else, and derived ones are stable."""

import pytest

from appliance.domain.identifiers import derived_uid, is_valid_uid


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.1.1", "2.25.0", "0.0", "1." + "2" * 62, "1.02", "1.2.", ".1.2", "1..2", "1"]
)
def test_uid_of_digits_and_dots_is_accepted(uid: str) -> None:
    assert is_valid_uid(uid)


@pytest.mark.parametrize(
    "uid", ["", ".", "..", "/tmp/evil", "1.2\n", "1.2 ", "1.2/../3", "1.2\\1.3", "1." + "2" * 63, "१.२", "1.2.x"]
)
def test_invalid_uid_is_refused(uid: str) -> None:
    assert not is_valid_uid(uid)


def test_derived_uids_are_valid_stable_and_distinct() -> None:
    assert derived_uid("a", 1) == derived_uid("a", 1) == "2.25.273638706971839132585685089708204327267"
    assert derived_uid("a", 1) != derived_uid("a", 2)
    assert is_valid_uid(derived_uid("a"))
