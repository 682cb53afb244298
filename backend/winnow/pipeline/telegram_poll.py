"""Long polling: a Telegram bot's updates fetched, for those without a public address."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from winnow.domain.backoff import backoff_seconds
from winnow.errors import TelegramUnavailable, Transient
from winnow.sources.telegram import READ_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from winnow.pipeline.telegram import Outcome, TelegramUpdates
    from winnow.sources.telegram_api import BotApi

Result = TypeVar("Result")

WAIT_SECONDS = 50  # the most that Telegram takes
LONGEST_PAUSE_SECONDS = 60.0
STORING_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why nothing comes just now, and when it is tried again."""

    reason: str
    again_in_seconds: float


@dataclass(slots=True, kw_only=True)
class Polled:
    """What a polling has brought so far, by what became of it; `latest` is what the last answer brought.

    `trouble` is of the last try; None when that was well.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    latest: Counter[Outcome] = field(default_factory=Counter)
    latest_at: datetime | None = None
    trouble: Trouble | None = None


async def poll(
    api: BotApi,
    updates: TelegramUpdates,
    stop: asyncio.Event,
    *,
    report: Callable[[Polled], None],
    wait_seconds: int = WAIT_SECONDS,
) -> Polled:
    """Fetches updates and stores them, until told to stop.

    Telegram forgets updates when those behind them are asked for, which is done only once they are committed: what a
    process had in hand when it died comes again, and changes nothing. Servers that are away are waited for.

    Args:
        api: the bot.
        updates: takes them in.
        stop: set to end it; what is being stored then has five seconds.
        report: called after each answer and each failure.
        wait_seconds: how long Telegram keeps a question when there is nothing to tell.

    Raises:
        SetupFault: the token is wrong, a webhook is set, or the database does not let us in.
    """
    polled, offset, failures = Polled(), None, 0
    while not stop.is_set():
        try:
            asking = api.updates(offset=offset, kinds=READ_KINDS, wait_seconds=wait_seconds)
            given = await _unless(stop, asking)
            if given is None:
                break
            following = _offset_after(given)
            outcomes = await _unless(stop, updates.take(given), grace_seconds=STORING_SECONDS)
            if outcomes is None:
                break
        except Transient as error:
            pause = _pause_seconds(failures, error.retry_after_seconds)
            polled.trouble = Trouble(reason=str(error), again_in_seconds=pause)
            failures += 1
            report(polled)
            await _unless(stop, asyncio.sleep(pause))
            continue
        offset, failures, polled.trouble = following or offset, 0, None
        polled.latest = Counter(outcomes)
        polled.outcomes += polled.latest
        if outcomes:
            polled.latest_at = datetime.now(UTC)
        report(polled)
    return polled


def _offset_after(given: Sequence[object]) -> int | None:
    """The number behind the last of these updates; None when there are none.

    Raises:
        TelegramUnavailable: none of them has a number, so they would come again for ever.
    """
    numbers = [one.get("update_id") for one in given if isinstance(one, dict)]
    known = [number for number in numbers if isinstance(number, int)]
    if given and not known:
        raise TelegramUnavailable("Telegram's server gives updates without numbers")
    return max(known) + 1 if known else None


def _pause_seconds(failures: int, wish: float | None) -> float:
    """A person waits for these messages, so a minute at most; Telegram's own wish comes first."""
    return max(wish or 0.0, min(LONGEST_PAUSE_SECONDS, backoff_seconds(failures)))


async def _unless(
    stop: asyncio.Event, work: Coroutine[None, None, Result], *, grace_seconds: float = 0.0
) -> Result | None:
    """The work's result; None when told to stop first and it has not ended in the seconds that it has then."""
    working = asyncio.create_task(work, name="polling")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and grace_seconds:
            await asyncio.wait({working}, timeout=grace_seconds)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
