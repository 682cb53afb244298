"""Requests to one server stand in line: no more at once than it can use, no faster than it lets in."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, insort
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from winnow.errors import ProviderBusy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Answer = TypeVar("Answer")

SMALL_TEXTS = 20
# A rate limit lets the next request in after moments; longer wishes are for the caller to decide about.
LONGEST_WISH_SECONDS = 2.0
# A server that has only refused for so long limits no rate: it is ill. Refusals further apart have nothing to do with
# each other.
PATIENCE_SECONDS = 10.0
CHAIN_SECONDS = 5.0
# Who has somebody waiting for the answer can rather do without it.
IMPATIENCE_SECONDS = 0.5
# A wish is the rest of an interval, of a whole second, or of a minute: it says when, and little of how fast. So the
# pace is felt for: slower by a half with each refusal, a fifth faster after a while without one.
LEAST_STEP_SECONDS = 0.02
LONGEST_SPACING_SECONDS = 1.0
EASING_SECONDS = 5.0
EASED = 0.8
LEAST_SPACING_SECONDS = 0.005
# What a busy loop is late is made good at the next request, and nothing more: an idle line saves up no requests.
LATENESS_SECONDS = 0.02


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a batch stands in the line: small ones before large ones (somebody waits for them), then by arrival.

    All requests of a batch have its place, so batches end one after the other, and their results are stored while the
    next one is asked for. If they took turns, all would end at once, and the server would wait for us.
    """

    is_large: bool
    arrival: int


class Line:
    """At most `at_once` requests are in flight (None: any number; a function: as many as it says now), the first next.

    A refusal with a short wish (`ProviderBusy`) is a rate limit: nobody asks before its time, the refused request keeps
    its place, and from then on requests are spaced.
    """

    def __init__(
        self, *, at_once: int | Callable[[], int] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._at_once = at_once
        self._clock = clock
        self._arrivals = count()
        self._waiting: list[Place] = []
        self._in_flight = 0
        self._changed = asyncio.Event()
        self._open_at = 0.0
        self._spacing_seconds = 0.0
        self._paced_at = 0.0
        self._refused_at = 0.0
        self._refused_since: float | None = None

    def place(self, texts: int) -> Place:
        """The place of a batch that comes now."""
        return Place(is_large=texts >= SMALL_TEXTS, arrival=next(self._arrivals))

    async def ask(self, place: Place, request: Callable[[], Awaitable[Answer]], *, is_patient: bool = True) -> Answer:
        """Makes the request when it is its turn; again, if it comes too early for the server's rate and is patient.

        Raises:
            ProviderBusy: the server wants to be left alone for longer, has only refused for ten seconds, or would keep
                one waiting who is not patient.
            WinnowError: whatever the request raises.
        """
        while True:
            if not is_patient and self._seconds_ahead(place) > IMPATIENCE_SECONDS:
                raise ProviderBusy("the model server limits the rate just now")
            await self._turn(place)
            with self._flight() as sent_at:
                try:
                    answer = await request()
                except ProviderBusy as refusal:
                    if not self._note_refusal(refusal, sent_at) or not is_patient:
                        raise
                except Exception:
                    self._refused_since = None
                    raise
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
        at_once = self._at_once() if callable(self._at_once) else self._at_once
        if self._waiting[0] is not place or (at_once is not None and self._in_flight >= at_once):
            return None
        return max(0.0, self._open_at - self._clock())

    def _seconds_ahead(self, place: Place) -> float:
        """How long the rate limit will keep a place waiting, as far as can be told."""
        return self._open_at - self._clock() + self._spacing_seconds * bisect_left(self._waiting, place)

    @contextmanager
    def _flight(self) -> Iterator[float]:
        now = self._clock()
        if self._spacing_seconds and now - self._paced_at > EASING_SECONDS:
            self._paced_at = now
            eased = self._spacing_seconds * EASED
            self._spacing_seconds = eased if eased >= LEAST_SPACING_SECONDS else 0.0
        self._open_at = now - min(now - self._open_at, LATENESS_SECONDS) + self._spacing_seconds
        self._in_flight += 1
        try:
            yield now
        finally:
            self._in_flight -= 1
            self._changed.set()

    def _note_refusal(self, refusal: ProviderBusy, sent_at: float) -> bool:
        """Holds the line up and slows it down; False: this is no rate limit, and the caller's business."""
        now, wish = self._clock(), refusal.retry_after_seconds
        if not wish or wish > LONGEST_WISH_SECONDS:
            self._refused_since = None
            return False
        is_first_of_its_flight = sent_at >= self._refused_at
        if self._refused_since is None or now - self._refused_at > CHAIN_SECONDS:
            self._refused_since = now
        self._refused_at = now
        if now + wish - self._refused_since > PATIENCE_SECONDS:
            self._spacing_seconds, self._open_at = 0.0, now  # whoever still waits shall hear it at once
            return False
        if is_first_of_its_flight:
            step = min(wish, max(LEAST_STEP_SECONDS, self._spacing_seconds / 2))
            self._spacing_seconds = min(self._spacing_seconds + step, LONGEST_SPACING_SECONDS)
            self._paced_at = now
        self._open_at = max(self._open_at, now + wish)
        return True
