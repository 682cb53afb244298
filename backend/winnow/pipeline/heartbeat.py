"""Keeping a lease while something slow is done."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from winnow.errors import WinnowError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

log = structlog.get_logger(__name__)


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
