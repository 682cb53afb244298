"""The way to a server: who may ask it now, by a pace that this process keeps alone, or shares with all others."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from typing_extensions import override

from winnow.domain.pacing import Pace
from winnow.errors import WinnowError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from winnow.domain.pacing import RateLimits

Made = TypeVar("Made")

# A server without limits is asked without asking the others first; that it has some now, is found within so long, or by
# its own refusal.
LOOK_EVERY_SECONDS = 5.0
# What is left of a limit is news only when it is little.
LITTLE_LEFT = 0.5


@dataclass(frozen=True, slots=True)
class Entry:
    """The gate's answer: seconds to wait before asking again (0: go, it is counted), and when by its clock."""

    wait_seconds: float
    at: float


class Gate(Protocol):
    """Lets requests through at the server's pace."""

    async def enter(self, *, tokens: int, is_large: bool) -> Entry:
        """May a request of about so many tokens go now?"""
        ...

    async def refused(self, wish: float | None, *, sent_at: float) -> bool:
        """The server was busy, with this wish in seconds; False: that is no rate limit, and the caller's business."""
        ...

    async def answered(self) -> None:
        """The server answered, or failed for another reason."""
        ...

    async def told(self, limits: RateLimits) -> None:
        """The server said what its limits are."""
        ...

    @property
    def most_tokens(self) -> float | None:
        """The most that a request of several texts should have; None: any number."""
        ...

    def seconds_ahead(self, before: int) -> float:
        """How long a request with so many `before` it will be kept waiting, as far as can be told."""
        ...


class OwnGate(Gate):
    """The pace of this process alone."""

    def __init__(self, pace: Pace | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace or Pace()
        self._clock = clock

    @override
    async def enter(self, *, tokens: int, is_large: bool) -> Entry:
        """By the state at hand."""
        return _enter(self._pace, self._clock(), tokens=tokens, is_large=is_large)

    @override
    async def refused(self, wish: float | None, *, sent_at: float) -> bool:
        """Slows this process down."""
        return self._pace.refused(self._clock(), wish=wish, sent_at=sent_at)

    @override
    async def answered(self) -> None:
        """The server is not only refusing."""
        self._pace.answered()

    @property
    @override
    def most_tokens(self) -> float | None:
        """By the state at hand."""
        return self._pace.most_tokens

    @override
    async def told(self, limits: RateLimits) -> None:
        """Keeps to them."""
        self._pace.told(limits, self._clock())

    @override
    def seconds_ahead(self, before: int) -> float:
        """By the state at hand."""
        return _seconds_ahead(self._pace, self._clock(), before)


class SharedPace(Protocol):
    """Where the pace of all processes is kept."""

    def held(self) -> AbstractAsyncContextManager[tuple[Pace, float]]:
        """The pace, and the moment by the clock it goes by; what is made of it holds for everybody.

        Raises:
            WinnowError: it is not to be had.
        """
        ...


class SharedGate(Gate):
    """The pace that all processes keep together. While it is not to be had, each goes on by what it last saw of it.

    Args:
        shared: where it is.
        own: with the limits that a person set, until the shared one was seen.
        clock: of this process.
    """

    def __init__(
        self, shared: SharedPace, *, own: Pace | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._seen = own or Pace()
        self._ahead_seconds = 0.0  # of the shared clock before ours
        self._looked_at = float("-inf")
        self._away_until = float("-inf")

    @override
    async def enter(self, *, tokens: int, is_large: bool) -> Entry:
        """Asks the others only where there are limits."""
        if not self._seen.is_limited and self._clock() - self._looked_at < LOOK_EVERY_SECONDS:
            return Entry(0.0, self._now())
        return await self._change(lambda pace, now: _enter(pace, now, tokens=tokens, is_large=is_large))

    @override
    async def refused(self, wish: float | None, *, sent_at: float) -> bool:
        """Slows everybody down."""
        return await self._change(lambda pace, now: pace.refused(now, wish=wish, sent_at=sent_at))

    @override
    async def answered(self) -> None:
        """Is news only after refusals."""
        if self._seen.refused_since is not None:
            await self._change(lambda pace, _: pace.answered())

    @property
    @override
    def most_tokens(self) -> float | None:
        """By the state when it was last seen."""
        return self._seen.most_tokens

    @override
    async def told(self, limits: RateLimits) -> None:
        """Is news where a limit is another one than before, or little is left of it."""
        if _is_news(limits, self._seen):
            await self._change(lambda pace, now: pace.told(limits, now))

    @override
    def seconds_ahead(self, before: int) -> float:
        """By the state when it was last seen."""
        return _seconds_ahead(self._seen, self._now(), before)

    async def _change(self, change: Callable[[Pace, float], Made]) -> Made:
        """Makes it of the shared pace; while that is away, which is not asked each time, of the one last seen."""
        if self._clock() >= self._away_until:
            try:
                async with self._shared.held() as (pace, now):
                    made = change(pace, now)
            except WinnowError:
                self._away_until = self._clock() + LOOK_EVERY_SECONDS
            else:
                self._seen, self._looked_at = replace(pace), self._clock()
                self._ahead_seconds = now - self._looked_at
                return made
        return change(self._seen, self._now())

    def _now(self) -> float:
        return self._clock() + self._ahead_seconds


def _enter(pace: Pace, now: float, *, tokens: int, is_large: bool) -> Entry:
    wait = pace.seconds_to_wait(now, tokens=tokens, is_large=is_large)
    if not wait:
        pace.sent(now, tokens=tokens)
    return Entry(wait, now)


def _seconds_ahead(pace: Pace, now: float, before: int) -> float:
    return max(pace.open_at - now + pace.spacing_seconds * before, pace.seconds_to_wait(now))


def _is_news(limits: RateLimits, seen: Pace) -> bool:
    return any(
        limit is not None and (limit != known or (left is not None and left < LITTLE_LEFT * limit))
        for limit, left, known in (
            (limits.requests, limits.requests_left, seen.requests_per_minute),
            (limits.tokens, limits.tokens_left, seen.tokens_per_minute),
        )
    )
