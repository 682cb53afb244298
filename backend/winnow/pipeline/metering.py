"""Uses that are too small for a row each, summed up in this process: one row a minute for all of a sort."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from typing_extensions import override

from winnow.domain.usage import Noting
from winnow.storage.usage import note_use

if TYPE_CHECKING:
    from winnow.domain.usage import Use
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 60.0


class Meter(Noting):
    """Holds uses for at most a minute; a process that is killed loses those of its last one.

    A database that is away keeps them here for longer: they are written with those of the next minute.
    """

    def __init__(self, database: Database, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._database = database
        self._flush_seconds = flush_seconds
        self._held: dict[Use, Use] = {}
        self._waiting: asyncio.Task[None] | None = None

    @override
    def add(self, use: Use) -> None:
        """Adds one use to those of its sort."""
        self._held[use.sort] = self._held[use.sort] + use if use.sort in self._held else use
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(self._flush_later(), name="note uses of models")

    async def flush(self) -> None:
        """Writes down what is held, one row for each sort."""
        for sort in list(self._held):
            use = self._held.pop(sort)
            try:
                await note_use(self._database, use)
            except Exception as error:  # noqa: BLE001 - a disk that is full, or a server that may only be read, ends no search
                self._held[sort] = use + self._held[sort] if sort in self._held else use
                log.warning("usage.not_noted", reason=str(error))
                return

    async def close(self) -> None:
        """Writes down the last of it; what the database does not take now is lost."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
        await self.flush()

    async def _flush_later(self) -> None:
        while self._held:
            await asyncio.sleep(self._flush_seconds)
            await self.flush()
