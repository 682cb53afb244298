"""Messages as stored: in, scored, read again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping  # noqa: TC003 - read at run time by pydantic users of the records
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - read at run time by pydantic users of the records
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from winnow.domain.messages import MessageState
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from winnow.domain.messages import Details, IncomingMessage
    from winnow.domain.scoring import Score
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork

MESSAGE_COLUMNS = (
    *("source", "channel", "external_id", "author", "text", "sent_at", "reply_to", "thread"),
    *("author_id", "channel_title", "edited_at"),
)

# Telegram tells seconds; below them stands in which order edits of one second came (sources/telegram.py).
SECONDS_ONLY = "telegram"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscoredMessage:
    """A message that has no importance yet; `local_only`: its text may not leave for a remote provider."""

    id: int
    author: str
    text: str
    details: Details | None
    local_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScore:
    """A message's score, and the text that it is the score of."""

    id: int
    text: str
    score: Score


class Fate(StrEnum):
    """What became of a message that was handed in.

    `NEW` is stored. `KNOWN` was stored before, `OLDER` too, with a text that was edited later. `EDITED` is stored with
    an older text, `DIFFERS` with another one, and nobody says which is newer. `OFF` (its channel is not watched, or
    keeps nothing so old) and `FORGOTTEN` (on purpose, before) are left out.
    """

    NEW = "new"
    KNOWN = "known"
    OLDER = "older"
    EDITED = "edited"
    DIFFERS = "differs"
    OFF = "off"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What became of one message, and its id, which what was left out may not have."""

    id: int | None
    fate: Fate


async def insert_messages(
    work: UnitOfWork, messages: Sequence[IncomingMessage], scores: Sequence[Score | None]
) -> list[StoredMessage]:
    """Stores the new ones among the messages, each with its score, and queues them for extraction.

    None for a score: a model gives it later. Tells of each, in the order given. Of several with one identity the first
    is stored.
    """
    if not messages:
        return []
    columns: list[list[Any]] = [[getattr(message, name) for message in messages] for name in MESSAGE_COLUMNS]
    columns.append([as_json(message.details) for message in messages])
    columns += score_columns(scores)
    if len(messages) > 1:  # one alone waits for nobody in a circle
        await work.fetch("lock_channels", *columns[:2])
    rows = await work.fetch("insert_messages", *columns)
    if any(row.fate == "taken" for row in rows):
        rows = await work.fetch("insert_messages", *columns)
    seen: set[int] = set()
    told = []
    for row in rows:
        fate = Fate.KNOWN if row.fate == Fate.NEW and row.id in seen else Fate(row.fate)
        told.append(StoredMessage(row.id, fate))
        seen.add(row.id)
    return told


def as_json(value: Mapping[str, object]) -> str | None:
    """As a jsonb parameter takes it; what is empty is NULL."""
    return orjson.dumps(value).decode() if value else None


def score_columns(scores: Sequence[Score | None]) -> list[list[Any]]:
    """Importances, signals and factors, as parameters."""
    return [
        [score and score.importance for score in scores],
        [score and score.kind.value for score in scores],
        [score and as_json(score.factors) for score in scores],
    ]


def from_json(value: str | None) -> Any:
    """What a jsonb column holds."""
    return None if value is None else orjson.loads(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageIdentity:
    """What names a message for ever, and what an edit leaves as it is."""

    source: str
    channel: str
    external_id: str
    author: str
    sent_at: datetime
    edited_at: datetime | None


async def message_identity(database: Database, message_id: int) -> MessageIdentity | None:
    """Which message has this id; None: none."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "message_identity", message_id)
    return MessageIdentity(**rows[0]._mapping) if rows else None  # noqa: SLF001 - SQLAlchemy's public name


async def unscored_messages(database: Database, ids: Sequence[int]) -> list[UnscoredMessage]:
    """Those of the ids that have no importance yet."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "unscored_messages", list(ids))
    return [
        UnscoredMessage(
            id=row.id, author=row.author, text=row.text, details=from_json(row.details), local_only=row.local_only
        )
        for row in rows
    ]


async def private_messages(database: Database, ids: Sequence[int]) -> set[int]:
    """Those of the messages whose channel is local-only by now."""
    async with database.autocommit() as connection:
        return {row.id for row in await fetch(connection, "private_messages", list(ids))}


async def write_scores(database: Database, scores: Sequence[StoredScore]) -> None:
    """Stores the scores of messages that have none, and takes noise off the queue; vectors stay where they are.

    Only where the text is still the one that was scored: who edited it meanwhile has it scored anew.
    """
    ids = [score.id for score in scores]
    hashes = [hashlib.sha256(score.text.encode()).digest() for score in scores]
    async with database.transaction() as connection:
        await fetch(connection, "write_scores", ids, *score_columns([score.score for score in scores]), hashes)
        await fetch(connection, "dequeue_noise", ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """A message as people read it, where it stands (`state`), and how much it matters and why."""

    id: int
    channel: str
    author: str
    text: str
    sent_at: datetime
    topic: str | None
    source: str = ""
    channel_title: str = ""
    external_id: str = ""
    author_id: str | None = None
    edited_at: datetime | None = None
    state: MessageState = MessageState.RECEIVED
    importance: float | None = None
    signal: str | None = None
    factors: Mapping[str, float] | None = None


async def messages_by_id(database: Database, ids: Sequence[int]) -> dict[int, MessageRecord]:
    """The messages of these ids that exist."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "messages_found", list(ids))
    return {row.id: _record(row) for row in rows}


def _record(row: Row[Any]) -> MessageRecord:
    given = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    factors = orjson.loads(row.factors) if row.factors else None
    edited_at = row.edited_at
    if edited_at is not None and row.source == SECONDS_ONLY:
        edited_at = edited_at.replace(microsecond=0)
    return MessageRecord(**given | {"state": MessageState(row.state), "factors": factors, "edited_at": edited_at})


async def list_messages(
    database: Database,
    *,
    channel: str | None = None,
    author: str | None = None,
    state: MessageState | None = None,
    before: int,
    limit: int,
) -> list[MessageRecord]:
    """Newest first, those with an id below `before`.

    `author` is a name or the source's own id, `channel` an identity or a title, which several may have.
    """
    async with database.autocommit() as connection:
        given = (channel, before, limit, author, state and state.value)
        ids = [row.id for row in await fetch(connection, "list_messages", *given)]
    found = await messages_by_id(database, ids)
    return [found[identity] for identity in ids if identity in found]
