"""The draw of a sample: the share of patients, independent of their order, and of the secret."""

import math
import secrets

from appliance.rollout.sampling import is_drawn, rank

SECRET = "0f" * 32
PATIENTS = [f"patient {number}" for number in range(20_000)]


def drawn(secret: str, share: float) -> set[str]:
    return {patient for patient in PATIENTS if is_drawn(secret, patient, share)}


def test_share_of_the_patients_is_drawn_within_four_standard_deviations() -> None:
    for share in (0.01, 0.2, 0.5, 0.9):
        expected = share * len(PATIENTS)
        assert abs(len(drawn(SECRET, share)) - expected) < 4 * math.sqrt(expected * (1 - share))


def test_share_of_one_draws_every_patient_and_a_larger_share_keeps_those_of_a_smaller_one() -> None:
    assert drawn(SECRET, 1.0) == set(PATIENTS)
    assert drawn(SECRET, 0.1) < drawn(SECRET, 0.2)


def test_other_secret_draws_other_patients_independently() -> None:
    one, other = drawn(SECRET, 0.5), drawn(secrets.token_hex(32), 0.5)
    assert abs(len(one & other) - len(PATIENTS) / 4) < 4 * math.sqrt(len(PATIENTS) * 3 / 16)


def test_rank_of_a_radiograph_depends_on_the_secret_and_on_nothing_else() -> None:
    assert rank(SECRET, "1.2.3") == rank(SECRET, "1.2.3")
    assert len({rank(SECRET, "1.2.3"), rank("f0" * 32, "1.2.3"), rank(SECRET, "1.2.4")}) == 3
    firsts = sum(rank(SECRET, f"1.{study}.1") < rank(SECRET, f"1.{study}.2") for study in range(2000))
    assert abs(firsts - 1000) < 4 * math.sqrt(500)
