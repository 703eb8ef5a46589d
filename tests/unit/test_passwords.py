"""Passwords and the limit on attempts."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY

from appliance.errors import Rejected
from appliance.status.throttle import MOST_KEYS, Throttle
from appliance.storage import passwords
from appliance.storage.passwords import decoy, hash_password, is_password


def test_hash_has_the_parameters_of_the_rfc_and_a_salt() -> None:
    decoy.cache_clear()  # other tests made it with a quick hasher
    hashes = {hash_password("correct horse battery", "anna") for _ in range(2)}
    assert len(hashes) == 2
    for one in (*hashes, decoy()):
        assert extract_parameters(one) == RFC_9106_LOW_MEMORY
    assert "correct" not in str(hashes)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that take no time."""
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    decoy.cache_clear()


@pytest.mark.usefixtures("quick")
def test_password_fits_its_own_hash_only() -> None:
    made = hash_password("Schlüssel zum Büro", "anna")
    assert is_password("Schlüssel zum Büro", made)
    assert is_password("Schlu\u0308ssel zum Bu\u0308ro", made)  # the same letters from another keyboard
    assert not is_password("Schlüssel zum Büro ", made)
    assert not is_password("Schlüssel zum Büro", "no hash")
    assert not is_password("Schlüssel zum Büro", None)


@pytest.mark.usefixtures("quick")
def test_name_without_an_account_is_compared_with_a_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002  argon2's name
            compared.append(str(hash))
            return super().verify(hash, password)

    made = hash_password("correct horse battery", "anna")
    monkeypatch.setattr(passwords, "_HASHER", Counting(time_cost=1, memory_cost=64, parallelism=1))
    assert not is_password("a wrong password", made)
    assert not is_password("a wrong password", None)
    assert [extract_parameters(one) for one in compared] == [extract_parameters(made)] * 2
    assert compared == [made, decoy()]


@pytest.mark.parametrize(
    "password", ["", "short", "x" * 201, "aaaaaaaaaaaaaaaa", "abababababababab", "anna-is-the-best"]
)
def test_weak_password_is_refused(password: str) -> None:
    with pytest.raises(Rejected, match="weak_password"):
        hash_password(password, "Anna")


def test_throttle_admits_so_many_attempts_of_a_key_in_its_time() -> None:
    moment = [0.0]
    throttle = Throttle(2, 60.0, clock=lambda: moment[0])
    assert [throttle.admit("a"), throttle.admit("a"), throttle.admit("b")] == [0, 0, 0]
    moment[0] = 20.5
    assert throttle.admit("a") == 40
    moment[0] = 60.0
    assert throttle.admit("a") == 0
    throttle.admit("a")
    assert throttle.admit("a") > 0
    throttle.forget("a")
    assert throttle.admit("a") == 0


def test_throttle_remembers_a_bounded_number_of_keys() -> None:
    throttle = Throttle(1, 60.0)
    throttle.admit("first")
    for number in range(MOST_KEYS - 1):
        throttle.admit(number)
    assert throttle.admit("first") > 0  # used just now: it stays
    throttle.admit("another")
    assert throttle.admit(0) == 0
    assert len(throttle._attempts) == MOST_KEYS
