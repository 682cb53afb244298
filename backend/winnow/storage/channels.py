"""Channels as stored: what is in them, and what somebody chose for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - read at run time by pydantic users of the records
from typing import TYPE_CHECKING

from winnow.domain.messages import ChannelMode
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Row

    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRecord:
    """A channel.

    Attributes:
        source, channel: its identity.
        title: how its source names it, where that is not its identity.
        mode: what is done with its messages.
        local_only: its text is never sent to a model that is elsewhere.
        keep_days: how long its messages are kept; None: for ever.
        messages: stored.
        queued: of them those that no extraction has read.
        last_at: when the latest was said; None: there is none.
    """

    source: str
    channel: str
    title: str
    mode: ChannelMode
    local_only: bool
    keep_days: int | None
    messages: int
    queued: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is to be changed of a channel; None: nothing. `keep` says that `keep_days` is meant (None: for ever)."""

    mode: ChannelMode | None = None
    local_only: bool | None = None
    keep: bool = False
    keep_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A channel that holds messages older than so many days, and is not to."""

    source: str
    channel: str
    days: int


async def list_channels(database: Database, *, limit: int, offset: int = 0) -> list[ChannelRecord]:
    """The channel with the latest message first."""
    async with database.autocommit() as connection:
        return [_record(row) for row in await fetch(connection, "list_channels", limit, offset)]


async def read_channel(database: Database, source: str, channel: str) -> ChannelRecord:
    """One channel, with nothing in it if there is none."""
    async with database.autocommit() as connection:
        return _record((await fetch(connection, "read_channel", source, channel))[0])


async def find_channels(database: Database, source: str, name: str) -> list[str]:
    """The identities of the channels of this title or identity."""
    async with database.autocommit() as connection:
        return sorted(row.channel for row in await fetch(connection, "find_channels", source, name))


async def is_local_only(database: Database, source: str, channel: str) -> bool:
    """Whether its text may not be sent to a model that is elsewhere."""
    async with database.autocommit() as connection:
        return bool(await fetch(connection, "is_local_only", source, channel))


async def private_offers(
    database: Database, atom_ids: Sequence[int], topics: Sequence[str]
) -> tuple[set[int], set[str]]:
    """Those of the atoms, and of the topics by name, that are made of what a local-only channel said."""
    async with database.autocommit() as connection:
        atoms = await fetch(connection, "private_atoms", list(atom_ids))
        names = await fetch(connection, "private_topics", list(topics))
    return {row.id for row in atoms}, {row.name for row in names}


async def write_channel(database: Database, source: str, channel: str, choice: Choice) -> None:
    """Notes what somebody chose; what waits for extraction is parked, or comes forth again, by the mode."""
    mode = choice.mode and choice.mode.value
    async with database.transaction() as connection:
        await fetch(
            connection, "write_channel", source, channel, mode, choice.local_only, choice.keep_days, choice.keep
        )
        if mode:
            await fetch(connection, "park_channel", source, channel)


async def park_queue(database: Database) -> None:
    """Sees to it that what waits is parked where nothing is extracted from its channel, and nowhere else."""
    async with database.autocommit() as connection:
        await fetch(connection, "park_queue")


async def overdue_channels(database: Database) -> list[Overdue]:
    """Channels with messages that they should not have any more."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "overdue_channels")
    return [Overdue(source=row.source, channel=row.channel, days=row.days) for row in rows]


def _record(row: Row[Any]) -> ChannelRecord:
    given = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return ChannelRecord(**given | {"mode": ChannelMode(given["mode"])})
