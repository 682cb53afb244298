"""Requests to one server stand in line: no more at once than it can use, no faster than it lets in."""

from __future__ import annotations

import asyncio
from bisect import insort
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from winnow.domain.pacing import RateLimits
from winnow.errors import ProviderBusy
from winnow.providers.gate import OwnGate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

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

    A prompt takes a server a hundred times as long as a text: it is as a large batch.
    """

    is_large: bool
    arrival: int
    is_prompt: bool = field(default=False, compare=False)


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """One who waits: where, at which gate, and until when (by the loop's clock) the gate has sent it away.

    `news` is the line's count of answers when it was: another answer may have opened the gate earlier.
    """

    place: Place
    gate: Gate
    held_until: float = float("-inf")
    news: int = 0


@dataclass(slots=True, kw_only=True)
class _Queue:
    """What all lines to one server share."""

    at_once: int | Callable[[], int] | None
    arrivals: Iterator[int] = field(default_factory=count)
    waiting: list[_Waiting] = field(default_factory=list)
    in_flight: int = 0
    prompts: int = 0
    news: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def seconds_held(self, one: _Waiting) -> float | None:
        """How long one has still to wait before it asks at its gate again; None: it may ask."""
        seconds = one.held_until - asyncio.get_running_loop().time()
        return seconds if seconds > 0 and one.news == self.news else None

    def is_next(self, one: _Waiting) -> bool:
        """Whether there is room for one more request, and nobody before this one who could make use of it."""
        for other in self.waiting:
            if other is one:
                break
            if other.gate is one.gate or self.seconds_held(other) is None:
                return False
        at_once = self.at_once() if callable(self.at_once) else self.at_once
        if at_once is None or self.in_flight < at_once:
            return True
        # Texts do not wait for minutes because all places are taken by prompts, unless a person said how many there be.
        return callable(self.at_once) and not one.place.is_prompt and self.in_flight == self.prompts

    def sent(self, place: Place) -> None:
        """A request of this place is in flight."""
        self.in_flight += 1
        self.prompts += place.is_prompt

    def over(self, place: Place) -> None:
        """It is no more."""
        self.in_flight -= 1
        self.prompts -= place.is_prompt


class Line:
    """At most `at_once` requests are in flight (None: any number; a function: as many as it says now), the first next.

    Each asks at the gate when it is its turn. A refusal with a short wish (`ProviderBusy`) is a rate limit: the gate is
    told, and the refused request keeps its place.

    Args:
        at_once: requests in flight; where it is a function, a text may go beside as many prompts.
        gate: to the server; None: one of this process alone, which knows no limits yet.
    """

    def __init__(self, *, at_once: int | Callable[[], int] | None = None, gate: Gate | None = None) -> None:
        self._queue = _Queue(at_once=at_once)
        self._gate = gate or OwnGate()

    def with_gate(self, gate: Gate) -> Line:
        """The same line for requests that have a gate of their own; one that is shut does not hold up those at others.

        Limits are mostly those of a model, while a server works the requests for all of its models.
        """
        other = Line(gate=gate)
        other._queue = self._queue
        return other

    def place(self, texts: int) -> Place:
        """The place of a batch that comes now."""
        return Place(is_large=texts >= SMALL_TEXTS, arrival=next(self._queue.arrivals))

    def place_of_prompt(self) -> Place:
        """The place of a prompt that comes now."""
        return Place(is_large=True, arrival=next(self._queue.arrivals), is_prompt=True)

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
            if not is_patient and self._seconds_ahead(place) > IMPATIENCE_SECONDS:
                raise ProviderBusy(LIMITED)
            sent_at = await self._turn(place, tokens, is_patient=is_patient)
            try:
                answer = await request()
            except ProviderBusy as refusal:
                if isinstance(refusal.limits, RateLimits):
                    await self._gate.told(refusal.limits)
                if not await self._gate.refused(refusal.retry_after_seconds, sent_at=sent_at) or not is_patient:
                    raise
            except Exception:
                await self._gate.answered()
                raise
            else:
                await self._gate.answered()
                return answer
            finally:
                self._queue.over(place)
                self._queue.news += 1
                self._queue.changed.set()

    @property
    def most_tokens(self) -> float | None:
        """The most that a request of several texts should have at the server's rate; None: any number."""
        return self._gate.most_tokens

    async def told(self, limits: RateLimits) -> None:
        """The server said what its limits are."""
        await self._gate.told(limits)

    def _seconds_ahead(self, place: Place) -> float:
        return self._gate.seconds_ahead(
            sum(1 for one in self._queue.waiting if one.gate is self._gate and one.place < place)
        )

    async def _turn(self, place: Place, tokens: int, *, is_patient: bool) -> float:
        """Returns when a request of this place is in flight; by the gate's clock, since when."""
        queue, mine = self._queue, _Waiting(place=place, gate=self._gate)
        insort(queue.waiting, mine, key=lambda one: one.place)
        try:
            while True:
                seconds = queue.seconds_held(mine)
                if seconds is None and queue.is_next(mine):
                    queue.sent(place)  # before the gate is asked, for that may take a moment
                    try:
                        entry = await self._gate.enter(tokens=tokens, is_large=place.is_large)
                    except BaseException:
                        queue.over(place)
                        raise
                    if not entry.wait_seconds:
                        return entry.at
                    queue.over(place)
                    seconds = entry.wait_seconds
                    mine.held_until, mine.news = asyncio.get_running_loop().time() + seconds, queue.news
                    queue.changed.set()  # who came meanwhile may be next, and has found the server in use
                    if not is_patient and seconds > IMPATIENCE_SECONDS:
                        raise ProviderBusy(LIMITED)
                queue.changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await queue.changed.wait()
        finally:
            queue.waiting.remove(mine)
            queue.changed.set()
