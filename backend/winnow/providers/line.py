"""Requests to one server stand in line: no more at once than it can use, no faster than it lets in."""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from winnow.errors import ProviderBusy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Answer = TypeVar("Answer")

# A rate limit lets the next request in after moments; longer wishes are for the caller to decide about.
LONGEST_WISH_SECONDS = 2.0
# A server that has only refused for so long limits no rate: it is ill.
PATIENCE_SECONDS = 10.0
# Beyond this a pace is a guess: such servers count by the minute, and let many in at its end.
LONGEST_SPACING_SECONDS = 1.0
# The limit may have been raised, or the other one who used it up may have gone.
EASING_SECONDS = 10.0
LEAST_SPACING_SECONDS = 0.005


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a batch stands in the line: a small one before a large one (somebody waits for it), else by arrival.

    All requests of a batch have its place, so batches end one after the other, and their results are stored while the
    next one is asked for. If they took turns, all would end at once, and the server would wait for us.
    """

    texts: int
    arrival: int


class Line:
    """At most `at_once` requests are in flight (None: any number), the first in line next.

    A refusal with a short wish (`ProviderBusy`) is a rate limit: nobody asks before its time, the refused request keeps
    its place, and from then on requests are spaced as the server's wishes have shown it can take them.
    """

    def __init__(self, *, at_once: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._clock = clock
        self._arrivals = count()
        self._waiting: list[Place] = []
        self._in_flight = 0
        self._changed = asyncio.Event()
        self._open_at = 0.0
        self._spacing_seconds = 0.0
        self._refused_at = 0.0
        self._refused_since: float | None = None

    def place(self, texts: int) -> Place:
        """The place of a batch that comes now."""
        return Place(texts=texts, arrival=next(self._arrivals))

    async def ask(self, place: Place, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """Makes the request when it is its turn; again, if it comes too early for the server's rate.

        Raises:
            ProviderBusy: the server wants to be left alone for longer, or has answered nobody for ten seconds.
            WinnowError: whatever the request raises.
        """
        while True:
            await self._turn(place)
            with self._flight() as sent_at:
                try:
                    answer = await request()
                except ProviderBusy as error:
                    self._wait_for(error, sent_at)
                else:
                    self._refused_since = None
                    return answer

    async def _turn(self, place: Place) -> None:
        insort(self._waiting, place)
        try:
            while (seconds := self._seconds_to_turn(place)) != 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._changed.wait()
        finally:
            self._waiting.remove(place)
            self._changed.set()

    def _seconds_to_turn(self, place: Place) -> float | None:
        """None: as long as nothing changes."""
        if self._waiting[0] is not place or self._in_flight == self._at_once:
            return None
        return max(0.0, self._open_at - self._clock())

    @contextmanager
    def _flight(self) -> Iterator[float]:
        now = self._clock()
        self._ease(now)
        # By the plan and not by the clock: a request that is sent late does not make all after it late.
        self._open_at = max(self._open_at, now - self._spacing_seconds) + self._spacing_seconds
        self._in_flight += 1
        try:
            yield now
        finally:
            self._in_flight -= 1
            self._changed.set()

    def _ease(self, now: float) -> None:
        if self._spacing_seconds and now - self._refused_at > EASING_SECONDS:
            self._refused_at = now
            eased = self._spacing_seconds / 2
            self._spacing_seconds = eased if eased >= LEAST_SPACING_SECONDS else 0.0

    def _wait_for(self, refusal: ProviderBusy, sent_at: float) -> None:
        now, wish = self._clock(), refusal.retry_after_seconds
        if not wish or wish > LONGEST_WISH_SECONDS:
            raise refusal
        self._refused_since = now if self._refused_since is None else self._refused_since
        if now + wish - self._refused_since > PATIENCE_SECONDS:
            self._refused_since = None
            raise refusal
        if sent_at >= self._refused_at:  # of requests that were in flight together, one tells of the pace
            spacing = self._spacing_seconds + wish
            self._spacing_seconds = spacing if spacing <= LONGEST_SPACING_SECONDS else self._spacing_seconds
            self._refused_at = now
        self._open_at = max(self._open_at, now + wish)
