"""Keeping a lease while something slow is done."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from winnow.errors import WinnowError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

log = structlog.get_logger(__name__)


class Hold:
    """For how long a lease holds, by our own clock. If it ran out while we stood still, renewing does not mend it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    @property
    def lasts(self) -> bool:
        """Whether nobody else can have taken what is leased."""
        return time.monotonic() < self._until

    def renewed(self) -> None:
        """The lease begins anew, if it still was one."""
        if self.lasts:
            self._until = time.monotonic() + self._seconds


@asynccontextmanager
async def heartbeat(renew: Callable[[], Awaitable[None]], *, every_seconds: float) -> AsyncIterator[None]:
    """Calls `renew` again and again until the block ends; a missed beat is logged, the next may still be in time."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await renew()
            except WinnowError as error:
                log.warning("heartbeat.missed", reason=str(error))

    task = asyncio.create_task(beat(), name="heartbeat")
    try:
        yield
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)  # our own cancellation passes through
        if isinstance(outcome, Exception):
            raise outcome
