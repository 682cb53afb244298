"""How many requests a server is given at once, found by measuring what more of them bring."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from winnow.errors import ProviderBusy, ProviderTimeout
from winnow.providers.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from winnow.providers.endpoint import Answer

Made = TypeVar("Made")

# One more must bring this much more; less is noise, or a server that only lets requests wait.
LEAST_GAIN = 0.03
LEAST_ANSWERS = 8
LEAST_ROUNDS = 2
# What has brought nothing is tried again when the server may have changed, ever later.
FIRST_HOLD_SECONDS = 30.0
LONGEST_HOLD_SECONDS = 600.0


@dataclass(slots=True)
class _Window:
    """A measurement: answers that are passed over, when it was opened, and what came since."""

    skip: int = 0
    opened_at: float | None = None
    work: float = 0.0
    answers: int = 0


class Concurrency:
    """The number of requests in flight: one more while that raises the throughput, half as many when it is too much.

    It is measured only while as many are in flight as may be: fewer say nothing about more. Between 1 and `most`.
    """

    def __init__(self, *, start: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = start
        self._most = most
        self._clock = clock
        self._in_flight = 0
        self._throughput_before: float | None = None
        self._hold_seconds = FIRST_HOLD_SECONDS
        self._held = 0  # so many at once are not tried again before that
        self._holds_until = float("-inf")
        self._halved_at = float("-inf")
        self._full_at = float("-inf")
        self._window = _Window()

    def __call__(self) -> int:
        """How many may be in flight now."""
        return self._at_once

    async def measured(self, request: Callable[[], Awaitable[Made]], *, work: float) -> Made:
        """Makes a request of so much of any one unit of work.

        A limited rate (busy, with a wish when to come again) is no overload: the line keeps to it by spacing requests.
        """
        sent_at = self.started()
        try:
            answer = await request()
        except (ProviderBusy, ProviderTimeout) as error:
            if error.retry_after_seconds:
                self.failed()
            else:
                self.overloaded(sent_at)
            raise
        except BaseException:
            self.failed()
            raise
        self.answered(work, sent_at)
        return answer

    def started(self) -> float:
        """A request is sent; returns when."""
        self._in_flight += 1
        now = self._clock()
        if self._in_flight >= self._at_once:
            self._full_at = now
        return now

    def answered(self, work: float, sent_at: float) -> None:
        """A request that was sent then was answered, with so much of any one unit of work."""
        self._in_flight -= 1
        if self._full_at < sent_at:
            self._window = _Window(skip=self._window.skip)
        elif self._at_once < self._most or self._throughput_before is not None:
            self._measure(work)

    def failed(self) -> None:
        """A request ended otherwise, and says nothing of the server's strength."""
        self._in_flight -= 1
        self._window = _Window(skip=self._window.skip)

    def overloaded(self, sent_at: float) -> None:
        """A request that was sent then was one too many; those sent before the last halving say it no second time."""
        self.failed()
        if sent_at < self._halved_at:
            return
        self._halved_at = self._clock()
        self._held = self._at_once
        self._holds_until = self._halved_at + FIRST_HOLD_SECONDS
        self._at_once = max(1, self._at_once // 2)
        self._throughput_before = None
        self._window = _Window(skip=self._in_flight)  # they had more company

    def _measure(self, work: float) -> None:
        now, window = self._clock(), self._window
        if window.skip:
            window.skip -= 1
            return
        if window.opened_at is None:
            window.opened_at = now
            return
        window.work += work
        window.answers += 1
        # Whole rounds: requests that are sent together are often answered together.
        rounds = max(LEAST_ROUNDS, -(-LEAST_ANSWERS // self._at_once))
        if window.answers >= rounds * self._at_once and now > window.opened_at:
            self._decide(window.work / (now - window.opened_at), now)

    def _decide(self, throughput: float, now: float) -> None:
        before, self._throughput_before = self._throughput_before, None
        self._window = _Window()
        if before is not None and throughput < before * (1 + LEAST_GAIN):
            self._held = self._at_once
            self._holds_until = now + self._hold_seconds
            self._at_once -= 1
            self._hold_seconds = min(2 * self._hold_seconds, LONGEST_HOLD_SECONDS)
        elif self._at_once < self._most and (self._at_once + 1 != self._held or now >= self._holds_until):
            self._throughput_before = throughput
            self._at_once += 1
            self._window = _Window(skip=self._at_once)  # the next answers are to requests that had less company
            if before is not None:
                self._hold_seconds = FIRST_HOLD_SECONDS


class Measured(Endpoint):
    """An endpoint whose requests tell a `Concurrency` what the server makes of them; work is counted in characters."""

    def __init__(self, endpoint: Endpoint, concurrency: Concurrency) -> None:
        self._endpoint = endpoint
        self._concurrency = concurrency

    @property
    @override
    def shown(self) -> str:
        """As the endpoint inside."""
        return self._endpoint.shown

    @override
    async def ask(self, texts: list[str]) -> Answer:
        """As the endpoint inside."""
        request = partial(self._endpoint.ask, texts)
        return await self._concurrency.measured(request, work=sum(map(len, texts)))

    @override
    async def close(self) -> None:
        """As the endpoint inside."""
        await self._endpoint.close()
