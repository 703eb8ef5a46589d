"""Batch policy: which radiographs may be analysed together."""

from __future__ import annotations

import pytest

from appliance.service.batching import BATCH_PX, Candidate, may_join

FIRST = Candidate(sop_instance_uid="1.2.1", size_px=1000, must_be_alone=False)
SECOND = Candidate(sop_instance_uid="1.2.2", size_px=1000, must_be_alone=False)


def candidate(uid: str = "1.2.3", size_px: int | None = 1000, *, must_be_alone: bool = False) -> Candidate:
    return Candidate(sop_instance_uid=uid, size_px=size_px, must_be_alone=must_be_alone)


def test_decoded_radiograph_joins_a_batch() -> None:
    assert may_join([FIRST, SECOND], candidate())


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(candidate(size_px=None), id="not decoded yet"),
        pytest.param(candidate(must_be_alone=True), id="failed before"),
        pytest.param(candidate(uid="1.2.1"), id="later version of the first"),
        pytest.param(candidate(uid="1.2.2"), id="later version of the second"),
        pytest.param(candidate(size_px=BATCH_PX - 1999), id="too many pixels"),
    ],
)
def test_radiograph_does_not_join(refused: Candidate) -> None:
    assert not may_join([FIRST, SECOND], refused)


def test_batch_may_have_exactly_batch_px_pixels() -> None:
    assert may_join([FIRST, SECOND], candidate(size_px=BATCH_PX - 2000))


def test_undecodable_radiograph_joins_since_it_takes_no_memory() -> None:
    assert may_join([candidate("1.2.4", BATCH_PX)], candidate(size_px=0))


@pytest.mark.parametrize(
    "batch", [[candidate("1.2.1", must_be_alone=True)], [FIRST, candidate("1.2.2", must_be_alone=True)]]
)
def test_no_radiograph_joins_one_that_must_be_alone(batch: list[Candidate]) -> None:
    assert not may_join(batch, candidate())
