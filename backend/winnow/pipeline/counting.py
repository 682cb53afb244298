"""Events that may be very many, counted in memory and written down together."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from winnow.errors import WinnowError

if TYPE_CHECKING:
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

TOGETHER_SECONDS = 1.0
AGAIN_SECONDS = 10.0


class GatheredCounts:
    """Counts that reach the database (`counters`) a second after the first of them, one write a name.

    They are figures, not rows: a process that is killed takes its last second's along.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: Counter[str] = Counter()
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    def add(self, name: str, times: int = 1) -> None:
        """Counts; returns at once."""
        self._counts[name] += times
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="counts")

    async def close(self) -> None:
        """Writes what is not written yet, if the database is there."""
        self._closing.set()
        if self._writing is not None:
            await self._writing

    async def _write_all(self) -> None:
        pause = TOGETHER_SECONDS
        while self._counts:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._closing.wait()
            pause = TOGETHER_SECONDS if await self._write() else AGAIN_SECONDS
            if self._closing.is_set():
                return

    async def _write(self) -> bool:
        taken, self._counts = self._counts, Counter()
        try:
            for name in list(taken):
                await self._database.count(name, taken[name])
                del taken[name]
        except WinnowError as error:
            self._counts.update(taken)
            log.warning("counts.wait", reason=str(error))
            return False
        return True
