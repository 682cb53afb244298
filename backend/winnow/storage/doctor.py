"""What the database says of its own health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.storage.embeddables import EMBEDDABLES
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from winnow.storage.engine import Database

# Of every embeddable table; the migrations make them.
TRIGGERS = ["text_changed", "rows_deleted", "table_truncated", "rows_inserted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """Versions, settings (None: not to be seen), and what is wrong.

    Attributes:
        now: seconds since 1970 by the server's clock.
        bytes: the database's size.
        idle_seconds: for how long the oldest transaction has been left open; None: there is none.
        broken_indexes: by name.
        triggers_off: those that are switched off, as `trigger of table`.
        triggers_missing: the same of those that should be there.
    """

    version: str
    pgvector: str | None
    fsync: str | None
    full_page_writes: str | None
    synchronous_commit: str | None
    autovacuum: str | None
    encoding: str
    max_connections: int
    connections: int
    now: float
    bytes: int
    idle_seconds: float | None
    broken_indexes: tuple[str, ...]
    triggers_off: tuple[str, ...]
    triggers_missing: tuple[str, ...]


async def database_facts(database: Database) -> DatabaseFacts:
    """One look. Raises `DatabaseUnavailable`."""
    async with database.autocommit() as connection:
        (row,) = await fetch(connection, "database_facts")
        broken = await fetch(connection, "broken_indexes")
        tables = [embeddable.table for embeddable in EMBEDDABLES.values()]
        idle = await fetch(connection, "idle_triggers", tables, TRIGGERS)
    return DatabaseFacts(
        **row._mapping,  # noqa: SLF001 - SQLAlchemy's public name
        broken_indexes=tuple(index.name for index in broken),
        triggers_off=tuple(f"{trigger.name} of {trigger.table}" for trigger in idle if not trigger.missing),
        triggers_missing=tuple(f"{trigger.name} of {trigger.table}" for trigger in idle if trigger.missing),
    )
