"""Conversations as stored: stretches of channels to link, the links, and what people voted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from winnow.storage.messages import from_json, score_columns
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import RowMapping

    from winnow.domain.messages import Details
    from winnow.domain.scoring import Score
    from winnow.domain.threads import Link
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkedMessage:
    """A message that is in no conversation yet, by its place."""

    id: int
    source: str
    channel: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedMessage:
    """A message that others may name; `conversation_id` is None until it is in one."""

    id: int
    external_id: str
    author: str
    author_id: str | None
    details: Details
    conversation_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchMessage(NamedMessage):
    """A message of a stretch of a channel; of its text as much as was asked for."""

    text: str
    sent_at: datetime
    reply_to: str | None
    thread: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VotedOn:
    """What a message was scored, and the people for it less those against it."""

    id: int
    importance: float
    factors: Mapping[str, float] | None
    votes: int


async def unlinked_messages(work: UnitOfWork, ids: Sequence[int]) -> list[UnlinkedMessage]:
    """Those of the ids that are in no conversation yet, by channel, in the order they were said."""
    rows = await work.fetch("unlinked_messages", list(ids))
    return [UnlinkedMessage(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


async def lock_channel(work: UnitOfWork, source: str, channel: str) -> None:
    """Waits until nobody else writes messages of the channel or links them; until the transaction ends."""
    await work.fetch("lock_channels", [source], [channel])


async def stretch_of_channel(
    work: UnitOfWork,
    first: UnlinkedMessage,
    last: UnlinkedMessage,
    *,
    before: int,
    most: int,
    before_seconds: float,
    characters: int,
) -> list[StretchMessage]:
    """At most `before` messages said before `first`, and at most `most` from it up to `last`, oldest first."""
    rows = await work.fetch(
        "stretch_of_channel",
        *(first.source, first.channel, first.sent_at, first.id, last.sent_at, last.id),
        *(before, most, before_seconds, characters),
    )
    return [StretchMessage(**_with_details(row._mapping)) for row in rows]  # noqa: SLF001


async def named_messages(
    work: UnitOfWork, source: str, channel: str, external_ids: Sequence[str]
) -> dict[str, NamedMessage]:
    """The messages of a channel that have these ids of their source."""
    if not external_ids:
        return {}
    rows = await work.fetch("named_messages", source, channel, list(external_ids))
    return {row.external_id: NamedMessage(**_with_details(row._mapping)) for row in rows}  # noqa: SLF001


def _with_details(row: RowMapping) -> dict[str, Any]:
    return {**row, "details": from_json(row["details"]) or {}}


async def save_links(work: UnitOfWork, links: Sequence[Link]) -> None:
    """Stores what was linked now; safe to repeat."""
    ids, conversations = [link.message_id for link in links], [link.conversation_id for link in links]
    await work.fetch(
        "insert_links_of_messages",
        ids,
        conversations,
        [link.parent_id for link in links],
        [link.reason for link in links],
        [link.vote for link in links],
    )
    if ids != conversations:
        await work.fetch("merge_conversations", ids, conversations)


async def voted_on(work: UnitOfWork, ids: Sequence[int]) -> list[VotedOn]:
    """Those of the messages that somebody votes on, or did, and that are scored; held until the transaction ends."""
    votes = {row.parent_id: row.votes for row in await work.fetch("votes_on", list(ids))}
    return [
        VotedOn(id=row.id, importance=row.importance, factors=from_json(row.factors), votes=votes.get(row.id, 0))
        for row in await work.fetch("lock_scores", list(ids), list(votes))
    ]


async def voted_by(work: UnitOfWork, ids: Sequence[int]) -> list[int]:
    """What these messages vote on, but for one another."""
    return [row.parent_id for row in await work.fetch("voted_by", list(ids))]


async def replace_scores(work: UnitOfWork, scores: Mapping[int, Score]) -> None:
    """Stores other scores of messages that the transaction holds; what is noise no more is queued for extraction."""
    await work.fetch("replace_scores", list(scores), *score_columns(list(scores.values())))


async def dequeue_noise(work: UnitOfWork, ids: Sequence[int]) -> None:
    """Takes the noise among the messages off the queue for extraction."""
    await work.fetch("dequeue_noise", list(ids))


async def unjudged_messages(database: Database, *, age_seconds: float, limit: int) -> list[int]:
    """Ids that wait for extraction without a score or a conversation, though they were stored so long ago."""
    async with database.autocommit() as connection:
        return [row.id for row in await fetch(connection, "unjudged_messages", age_seconds, limit)]
