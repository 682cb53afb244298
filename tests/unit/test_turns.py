"""Extractions that take minutes leave half of each lane to others."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from winnow.domain.jobs import Lane
from winnow.errors import WorkerBusy
from winnow.pipeline.turns import AGAIN_SECONDS, Turns, half_of


@pytest.mark.parametrize(("concurrency", "turns"), [(1, 1), (2, 1), (4, 2), (8, 4)])
def test_half_of_a_lane_and_at_least_one_has_a_turn(concurrency: int, turns: int) -> None:
    made = half_of({Lane.LIVE: 8, Lane.BULK: concurrency})
    with ExitStack() as taken:
        for _ in range(turns):
            taken.enter_context(made.taken(Lane.BULK))
        with pytest.raises(WorkerBusy) as refused, made.taken(Lane.BULK):
            pass
        assert refused.value.retry_after_seconds == AGAIN_SECONDS
        with made.taken(Lane.LIVE):
            pass


def test_a_turn_comes_free_however_it_ends() -> None:
    turns = Turns({Lane.LIVE: 1})
    with pytest.raises(ZeroDivisionError), turns.taken(Lane.LIVE):
        raise ZeroDivisionError
    with turns.taken(Lane.LIVE):
        pass


def test_a_lane_without_a_limit_has_none() -> None:
    turns = Turns({})
    with turns.taken(Lane.LIVE), turns.taken(Lane.LIVE), turns.taken(Lane.LIVE):
        pass
