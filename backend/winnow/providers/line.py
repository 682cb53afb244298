"""Requests to one server stand in line: no more at once than it can use, no faster than it lets in."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from winnow.errors import ProviderBusy
from winnow.providers.gate import OwnGate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from winnow.domain.pacing import RateLimits
    from winnow.providers.gate import Gate

Answer = TypeVar("Answer")

SMALL_TEXTS = 20
# Who has somebody waiting for the answer can rather do without it.
IMPATIENCE_SECONDS = 0.5
LIMITED = "the model server limits the rate just now"


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

    Each asks at the gate when it is its turn. A refusal with a short wish (`ProviderBusy`) is a rate limit: the gate is
    told, and the refused request keeps its place.

    Args:
        at_once: requests in flight.
        gate: to the server; None: one of this process alone, which knows no limits yet.
    """

    def __init__(self, *, at_once: int | Callable[[], int] | None = None, gate: Gate | None = None) -> None:
        self._at_once = at_once
        self._gate = gate or OwnGate()
        self._arrivals = count()
        self._waiting: list[Place] = []
        self._in_flight = 0
        self._changed = asyncio.Event()

    def place(self, texts: int) -> Place:
        """The place of a batch that comes now."""
        return Place(is_large=texts >= SMALL_TEXTS, arrival=next(self._arrivals))

    async def ask(
        self, place: Place, request: Callable[[], Awaitable[Answer]], *, tokens: int = 0, is_patient: bool = True
    ) -> Answer:
        """Makes the request when it is its turn; again, if it comes too early for the server's rate and is patient.

        Args:
            place: of its batch.
            request: makes it.
            tokens: about so many are in it.
            is_patient: wait while the server limits the rate, and do not rather go without.

        Raises:
            ProviderBusy: the server wants to be left alone for longer, has only refused for ten seconds, or would keep
                one waiting who is not patient.
            WinnowError: whatever the request raises.
        """
        while True:
            if not is_patient and self._gate.seconds_ahead(bisect_left(self._waiting, place)) > IMPATIENCE_SECONDS:
                raise ProviderBusy(LIMITED)
            sent_at = await self._turn(place, tokens, is_patient=is_patient)
            try:
                answer = await request()
            except ProviderBusy as refusal:
                if not await self._gate.refused(refusal.retry_after_seconds, sent_at=sent_at) or not is_patient:
                    raise
            except Exception:
                await self._gate.answered()
                raise
            else:
                await self._gate.answered()
                return answer
            finally:
                self._in_flight -= 1
                self._changed.set()

    @property
    def most_tokens(self) -> float | None:
        """The most that a request of several texts should have at the server's rate; None: any number."""
        return self._gate.most_tokens

    async def told(self, limits: RateLimits) -> None:
        """The server said what its limits are."""
        await self._gate.told(limits)

    async def _turn(self, place: Place, tokens: int, *, is_patient: bool) -> float:
        """Returns when a request of this place is in flight; by the gate's clock, since when."""
        insort(self._waiting, place)
        try:
            while True:
                seconds = None
                if self._is_next(place):
                    self._in_flight += 1  # before the gate is asked, for that may take a moment
                    try:
                        entry = await self._gate.enter(tokens=tokens, is_large=place.is_large)
                    except BaseException:
                        self._in_flight -= 1
                        raise
                    if not entry.wait_seconds:
                        return entry.at
                    self._in_flight -= 1
                    self._changed.set()  # who came meanwhile may be first, and has found the server in use
                    seconds = entry.wait_seconds
                    if not is_patient and seconds > IMPATIENCE_SECONDS:
                        raise ProviderBusy(LIMITED)
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._changed.wait()
        finally:
            self._waiting.remove(place)
            self._changed.set()

    def _is_next(self, place: Place) -> bool:
        at_once = self._at_once() if callable(self._at_once) else self._at_once
        return self._waiting[0] is place and (at_once is None or self._in_flight < at_once)
