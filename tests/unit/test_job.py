"""The state table over every pair, and the back-off's bounds."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from appliance.domain.job import TABLE, Backoff, Event, ImpossibleTransition, State, next_state

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_is_in_the_table_or_impossible(state: State, event: Event) -> None:
    if (state, event) in TABLE:
        assert next_state(state, event) is TABLE[state, event]
    else:
        with pytest.raises(ImpossibleTransition, match=state.value):
            next_state(state, event)


def test_what_is_dropped_stays_so_and_what_is_done_only_a_person_takes_up_again() -> None:
    assert not [pair for pair in TABLE if pair[0] is State.DROPPED]
    assert [event for state, event in TABLE if state is State.DONE] == [Event.RETRY]


def test_only_a_lease_makes_leased_and_every_state_is_reachable() -> None:
    assert {e for (_, e), to in TABLE.items() if to is State.LEASED} == {Event.LEASE}
    assert {State.QUEUED, *TABLE.values()} == set(State)


@pytest.mark.parametrize(("attempts", "ceiling_s"), [(1, 2), (2, 4), (5, 32), (10, 600), (10_000, 600)])
def test_backoff_grows_to_its_ceiling_with_jitter_of_half(attempts: int, ceiling_s: float) -> None:
    backoff = Backoff()
    assert backoff.after(attempts, NOW, draw=0.0) == NOW + timedelta(seconds=ceiling_s / 2)
    assert NOW < backoff.after(attempts, NOW) <= NOW + timedelta(seconds=ceiling_s)
