"""One leader among any number of copies: whoever holds the database's lock, for as long as its connection lives."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from winnow.storage.engine import Database

# What the triggers of revision 0003 notify of; the payload is the kind.
ROWS_WRITTEN = "winnow_rows"


@asynccontextmanager
async def leadership(
    database: Database, *, on_rows_written: Callable[[str], None]
) -> AsyncIterator[Callable[[], Awaitable[None]] | None]:
    """Yields None when another process leads; else a check to be called now and then while leading.

    The check raises DatabaseUnavailable once the connection, and with it the lock, is gone. While leading,
    `on_rows_written` is called with a kind whenever somebody who is not Winnow has written rows of it; calls may get
    lost.
    """
    async with database.autocommit() as connection:
        if not (await fetch(connection, "try_to_lead"))[0].leading:
            yield None
            return

        async def still_leading() -> None:
            await connection.exec_driver_sql("SELECT 1")

        def notified(_connection: object, _pid: int, _channel: str, payload: Any) -> None:
            on_rows_written(str(payload))

        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.add_listener(ROWS_WRITTEN, notified)
        try:
            yield still_leading
        finally:
            if not connection.closed and not connection.invalidated and not driver.is_closed():
                await driver.remove_listener(ROWS_WRITTEN, notified)
                await fetch(connection, "stop_leading")
