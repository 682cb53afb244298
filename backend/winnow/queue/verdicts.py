"""What becomes of a delivered task: a pure decision, carried out by the receiver."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from taskiq.exceptions import NoResultError, TaskRejectedError

from .errors import Transient, WorkerBusy

if TYPE_CHECKING:
    from collections.abc import Sequence


# A server that says "again in 0 seconds" must not turn a worker into a loop.
_LEAST_WISH_SECONDS = 0.1


class Action(Enum):
    """How a delivery is settled."""

    ACKNOWLEDGE = "acknowledge"  # done: off the stream
    RETRY = "retry"  # again after a delay
    RENEW = "renew"  # a fresh copy takes its place, its deliveries counted from one
    RETURN = "return"  # again at once, by somebody else
    BURY = "bury"  # to the dead letters


@dataclass(frozen=True, slots=True)
class Verdict:
    """The action, the wait before the next try (RETRY only) and the reason, empty for a success."""

    action: Action
    delay_seconds: float = 0
    reason: str = ""


def judge(
    error: BaseException | None,
    *,
    delivery: int,
    backoff_seconds: Sequence[float],
    chance: float,
    stopping: bool = False,
) -> Verdict:
    """Decides on the `delivery`-th delivery of a task (from 1) that ended with `error`, None for success.

    A task is tried once more than `backoff_seconds` has steps. `chance` in [0, 1) is the jitter: a delay is between
    half and the whole of its step. Weather (`Transient`) and a worker that stops are no fault of the task: it outlives
    any number of them. The other side's own wish (`retry_after_seconds`) is kept. One that only waits for its turn uses
    up no deliveries: they are left for workers that die with it.
    """
    if error is None or isinstance(error, NoResultError):
        return Verdict(Action.ACKNOWLEDGE)
    reason = describe(error)
    last = delivery > len(backoff_seconds)
    if stopping and isinstance(error, asyncio.CancelledError):
        return Verdict(Action.RENEW if last else Action.RETURN, reason=reason)
    if isinstance(error, TaskRejectedError):
        return Verdict(Action.BURY, reason=reason)
    if last or (isinstance(error, WorkerBusy) and delivery > 1):
        return Verdict(Action.RENEW if isinstance(error, Transient) else Action.BURY, reason=reason)
    wish = error.retry_after_seconds if isinstance(error, Transient) else None
    delay = backoff_seconds[delivery - 1] * (0.5 + chance / 2) if wish is None else max(wish, _LEAST_WISH_SECONDS)
    return Verdict(Action.RETRY, delay_seconds=delay, reason=reason)


def describe(error: BaseException) -> str:
    """The error's kind and message in one line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
