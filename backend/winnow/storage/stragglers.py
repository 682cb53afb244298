"""Messages that are stored and that no ledger knows of: found by walking over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.storage.named import fetch

if TYPE_CHECKING:
    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How many messages were queued, and the last one that was looked at; None: the walk has come to the end."""

    queued: int
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkedPage:
    """Messages of a page that are in no conversation and in no queue, and the page's last one; None: there is none."""

    ids: tuple[int, ...]
    last: int | None


async def queue_strays(database: Database, *, after: int, limit: int, age_seconds: float) -> Looked:
    """Looks at messages without a score behind an id, and queues those that were not and are not just being stored."""
    async with database.transaction() as connection:
        row = (await fetch(connection, "queue_strays", after, limit, age_seconds))[0]
    return Looked(queued=row.queued, last=row.last if row.looked == limit else None)


async def unlinked_page(database: Database, *, after: int, limit: int) -> UnlinkedPage:
    """Of the messages behind an id, so many, those that are in no conversation and wait for nothing."""
    async with database.autocommit() as connection:
        row = (await fetch(connection, "unlinked_page", after, limit))[0]
    return UnlinkedPage(ids=tuple(row.ids), last=row.last)
