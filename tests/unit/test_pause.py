"""When a destination that answers and takes nothing is left alone."""

from appliance.domain.pause import pauses_at


def test_pauses_come_at_once_for_four_failures_and_then_after_more_and_more() -> None:
    assert [n for n in range(100) if pauses_at(n)] == [4, 8, 16, 32, 48, 64, 80, 96]
