"""Messages as stored: in, scored, read again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - read at run time by pydantic users of the records
from typing import TYPE_CHECKING

from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.messages import IncomingMessage
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscoredMessage:
    """A message that has no importance yet."""

    id: int
    author: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScore:
    """A message's importance (0 to 1) and class."""

    id: int
    importance: float
    signal: str


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What became of one message: its id, whether it is new, and whether another text stands under its identity."""

    id: int
    new: bool
    differs: bool


async def insert_messages(work: UnitOfWork, messages: Sequence[IncomingMessage]) -> list[StoredMessage]:
    """Stores the new ones among the messages and queues them for extraction; tells of each, in the order given."""
    if not messages:
        return []
    names = ("source", "channel", "external_id", "author", "text", "sent_at", "reply_to", "thread")
    columns = [[getattr(message, name) for message in messages] for name in names]
    if len(messages) > 1:  # one alone waits for nobody in a circle
        await work.fetch("lock_channels", *columns[:2])
    rows = await work.fetch("insert_messages", *columns)
    if any(row.id is None for row in rows):
        rows = await work.fetch("insert_messages", *columns)
    seen: set[int] = set()
    told = []
    for row in rows:
        told.append(StoredMessage(row.id, new=row.new and row.id not in seen, differs=row.differs))
        seen.add(row.id)
    return told


async def unscored_messages(database: Database, ids: Sequence[int]) -> list[UnscoredMessage]:
    """Those of the ids that have no importance yet."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "unscored_messages", list(ids))
    return [UnscoredMessage(id=row.id, author=row.author, text=row.text) for row in rows]


async def write_scores(database: Database, scores: Sequence[StoredScore]) -> None:
    """Stores the importances of messages that have none; the vectors beside them stay where they are."""
    async with database.transaction() as connection:
        await fetch(
            connection,
            "write_scores",
            [score.id for score in scores],
            [score.importance for score in scores],
            [score.signal for score in scores],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """A message as people read it."""

    id: int
    channel: str
    author: str
    text: str
    sent_at: datetime
    topic: str | None


async def messages_by_id(database: Database, ids: Sequence[int]) -> dict[int, MessageRecord]:
    """The messages of these ids that exist."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "messages_found", list(ids))
    return {row.id: MessageRecord(**row._mapping) for row in rows}  # noqa: SLF001 - SQLAlchemy's public name


async def list_messages(database: Database, *, channel: str | None, before: int, limit: int) -> list[MessageRecord]:
    """Newest first, those with an id below `before`."""
    async with database.autocommit() as connection:
        ids = [row.id for row in await fetch(connection, "list_messages", channel, before, limit)]
    found = await messages_by_id(database, ids)
    return [found[identity] for identity in ids if identity in found]
