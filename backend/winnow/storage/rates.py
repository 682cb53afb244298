"""The pace of a server, shared by all processes: one row, and nobody asks before it says so."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from winnow.domain.pacing import Pace
from winnow.errors import DatabaseUnavailable
from winnow.storage.named import fetch
from winnow.storage.refusals import reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.storage.engine import Database

# As `write_rate` takes them.
STORED = (
    "requests_per_minute",
    "tokens_per_minute",
    "requests_at",
    "tokens_at",
    "open_at",
    "spacing_seconds",
    "paced_at",
    "refused_at",
    "refused_since",
)


class RateStore:
    """The row of a server's pace.

    Args:
        database: where.
        name: of the provider and its key.
        requests_per_minute: the most that a person wants; None: what the server says.
        tokens_per_minute: the same of tokens.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self._database = database
        self._name = name
        self._most_requests, self._most_tokens = requests_per_minute, tokens_per_minute

    @asynccontextmanager
    async def held(self) -> AsyncIterator[tuple[Pace, float]]:
        """The pace and the moment by the database's clock; what the block makes of the pace holds for everybody.

        Raises:
            DatabaseUnavailable, DatabaseBusy, SetupFault: it is not to be had, for whatever reason.
        """
        try:
            async with self._transaction() as held:
                yield held
        except DBAPIError as error:  # a read-only database, a table that is not ours
            raise DatabaseUnavailable(f"the shared pace cannot be kept ({reason_of(error)})") from error

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[tuple[Pace, float]]:
        async with self._database.transaction() as connection:
            await fetch(connection, "hurry")
            rows = await fetch(connection, "lock_rate", self._name)
            if not rows:  # a new one, or PostgreSQL has crashed, which empties an unlogged table
                await fetch(connection, "know_rate", self._name)
                rows = await fetch(connection, "lock_rate", self._name)
            (row,) = rows
            before: dict[str, Any] = {name: getattr(row, name) for name in STORED}
            pace = Pace(
                **before,
                most_requests_per_minute=self._most_requests,
                most_tokens_per_minute=self._most_tokens,
            )
            yield pace, row.now
            after = {name: getattr(pace, name) for name in STORED}
            if after != before:
                await fetch(connection, "write_rate", self._name, *after.values())
