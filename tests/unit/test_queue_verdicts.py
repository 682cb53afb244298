"""What becomes of a delivery follows from its error and its number alone."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskiq.exceptions import NoResultError, TaskRejectedError

from winnow.errors import QueueUnavailable, Transient, WorkerBusy
from winnow.queue.verdicts import Action, Verdict, judge

BACKOFF = (2.0, 10.0)


@pytest.mark.parametrize(
    ("error", "delivery", "stopping", "action"),
    [
        (None, 1, False, Action.ACKNOWLEDGE),
        (None, 9, True, Action.ACKNOWLEDGE),
        (NoResultError(), 1, False, Action.ACKNOWLEDGE),
        (ValueError("bug"), 1, False, Action.RETRY),
        (ValueError("bug"), 2, False, Action.RETRY),
        (ValueError("bug"), 3, False, Action.BURY),
        (ValueError("bug"), 3, True, Action.BURY),
        (TaskRejectedError(), 1, False, Action.BURY),
        (QueueUnavailable(), 2, False, Action.RETRY),
        (QueueUnavailable(), 3, False, Action.RENEW),
        (WorkerBusy(), 1, False, Action.RETRY),
        (WorkerBusy(), 2, False, Action.RENEW),
        (asyncio.CancelledError(), 1, True, Action.RETURN),
        (asyncio.CancelledError(), 3, True, Action.RENEW),
        (asyncio.CancelledError(), 1, False, Action.RETRY),
    ],
)
def test_the_action(error: BaseException | None, delivery: int, stopping: bool, action: Action) -> None:
    verdict = judge(error, delivery=delivery, backoff_seconds=BACKOFF, chance=0.5, stopping=stopping)
    assert verdict.action is action


@given(chance=st.floats(0, 1, exclude_max=True), delivery=st.integers(1, len(BACKOFF)))
def test_a_delay_is_between_half_and_the_whole_of_its_step(chance: float, delivery: int) -> None:
    verdict = judge(ValueError(), delivery=delivery, backoff_seconds=BACKOFF, chance=chance)
    assert BACKOFF[delivery - 1] / 2 <= verdict.delay_seconds <= BACKOFF[delivery - 1]


@pytest.mark.parametrize(("wish", "delay"), [(33, 33), (0, 0.1)])
def test_the_other_sides_wish_is_kept_but_never_a_loop(wish: float, delay: float) -> None:
    verdict = judge(Transient("busy", retry_after_seconds=wish), delivery=1, backoff_seconds=BACKOFF, chance=0)
    assert verdict == Verdict(Action.RETRY, delay_seconds=delay, reason="Transient: busy")


def test_without_steps_there_is_one_try() -> None:
    assert judge(ValueError(), delivery=1, backoff_seconds=(), chance=0).action is Action.BURY
