"""One leader among any number of copies: whoever holds the database's lock, for as long as its connection lives."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from winnow.storage.engine import Database


@asynccontextmanager
async def leadership(database: Database) -> AsyncIterator[Callable[[], Awaitable[None]] | None]:
    """Yields None when another process leads; else a check to be called now and then while leading.

    The check raises DatabaseUnavailable once the connection, and with it the lock, is gone.
    """
    async with database.autocommit() as connection:
        if not (await fetch(connection, "try_to_lead"))[0].leading:
            yield None
            return

        async def still_leading() -> None:
            await connection.exec_driver_sql("SELECT 1")

        try:
            yield still_leading
        finally:
            if not connection.closed and not connection.invalidated:
                await fetch(connection, "stop_leading")
