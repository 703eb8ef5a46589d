"""The state table over every pair, and the bounds of the back-off."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from appliance.domain.job import INITIAL, TABLE, Backoff, Event, ImpossibleTransition, Settling, State, next_state

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_pair_of_state_and_event_is_in_the_table_or_impossible(state: State, event: Event) -> None:
    if (state, event) in TABLE:
        assert next_state(state, event) is TABLE[state, event]
    else:
        with pytest.raises(ImpossibleTransition, match=state.value):
            next_state(state, event)


def test_dropped_job_is_revived_by_a_new_result_or_as_a_withdrawal_only() -> None:
    assert [event for state, event in TABLE if state is State.DROPPED] == [Event.REINSTATE, Event.NEW_RESULT]


def test_done_job_is_revived_by_a_person_or_a_new_result_only() -> None:
    assert {event for state, event in TABLE if state is State.DONE} == {Event.RETRY, Event.NEW_RESULT}


def test_new_result_queues_a_study_in_every_state_that_a_study_can_have() -> None:
    """A study is never declined, so `NOT_ANALYSED` is no state of a study."""
    assert {s: TABLE.get((s, Event.NEW_RESULT)) for s in State} == {
        state: None if state is State.NOT_ANALYSED else State.QUEUED for state in State
    }


def test_leased_state_is_reached_by_a_lease_only() -> None:
    assert {event for (_, event), after in TABLE.items() if after is State.LEASED} == {Event.LEASE}


def test_every_state_is_reachable() -> None:
    assert {INITIAL, *TABLE.values()} == set(State)


@pytest.mark.parametrize(("attempts", "ceiling_s"), [(1, 2), (2, 4), (5, 32), (10, 600), (10_000, 600)])
def test_backoff_grows_to_its_ceiling_with_a_jitter_of_half(attempts: int, ceiling_s: float) -> None:
    backoff = Backoff()
    assert backoff.after(attempts, NOW, draw=0.0) == NOW + timedelta(seconds=ceiling_s / 2)
    assert NOW < backoff.after(attempts, NOW) <= NOW + timedelta(seconds=ceiling_s)


def test_study_is_due_after_a_quiet_time_but_not_later_than_the_longest_wait() -> None:
    settling = Settling(settle_s=60, longest_s=100)
    assert settling.due(NOW, NOW) == NOW + timedelta(seconds=60)
    assert settling.due(NOW + timedelta(seconds=70), NOW) == NOW + timedelta(seconds=100)
