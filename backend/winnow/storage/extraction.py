"""Extraction runs as stored: what is due, and who has it in hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from winnow.domain.jobs import Asked
from winnow.domain.knowledge import WindowMessage
from winnow.domain.messages import storable
from winnow.storage.edits import hold_knowledge
from winnow.storage.messages import from_json, write_scores
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from winnow.domain.knowledge import ModelUse
    from winnow.domain.messages import Details
    from winnow.storage.engine import Database
    from winnow.storage.messages import StoredScore

# What is shown of a message that is not to be read itself.
CHARACTERS_OF_CONTEXT = 4000
# A message that so many runs failed with is no more given to one, until somebody asks for it.
MOST_FAILURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingConversation:
    """A conversation whose waiting messages should be extracted; ids in the order they were said.

    `many`: they are as many as start an extraction by themselves; else it is quiet, or somebody asks.
    """

    source: str
    channel: str
    ids: tuple[int, ...]
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """An unclaimed message with its place.

    `importance` is None until it was scored; `linked` says whether it was joined to its conversation. Until then it is
    one by itself. `votes` are those for it less those against it.
    """

    id: int
    source: str
    channel: str
    author: str
    text: str
    sent_at: datetime
    importance: float | None
    details: Details | None
    linked: bool
    conversation: int
    parent_id: int | None
    votes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A message said before, and the topic it was filed under."""

    message: WindowMessage
    topic: str | None


class ExtractionStore:
    """The statements of `sql/extraction.sql` outside the commit of a run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(
        self,
        *,
        threshold: int,
        quiet_seconds: float,
        failed_pause_seconds: float,
        after: int = 0,
        most: int = 1_000_000,
    ) -> list[WaitingConversation]:
        """Conversations with `threshold` waiting messages, or fewer and quiet for `quiet_seconds`, by channel and time.

        Of the queue only the `most` messages after an id are looked at. Messages that `MOST_FAILURES` runs failed with
        are not among them, nor what is parked.
        """
        async with self._database.autocommit() as connection:
            rows = await fetch(
                connection, "due_conversations", threshold, quiet_seconds, failed_pause_seconds, after, most
            )
        return [
            WaitingConversation(source=row.source, channel=row.channel, ids=tuple(row.ids), many=row.many)
            for row in rows
        ]

    async def next_page(self, *, after: int, most: int) -> int | None:
        """Behind which message the next page of the queue begins; None: this one is the last."""
        async with self._database.autocommit() as connection:
            found: int | None = (await fetch(connection, "next_page", after, most))[0].after
        return found

    async def latest_page(self, *, most: int) -> int:
        """Behind which message the latest `most` of the queue begin."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "latest_page", most)
        return rows[0].after if rows else 0

    async def still_waiting(self, ids: Sequence[int]) -> set[int]:
        """Those of the messages that wait for extraction and that no run has."""
        async with self._database.autocommit() as connection:
            return {row.id for row in await fetch(connection, "still_waiting", list(ids))}

    async def unclaimed(self, ids: Sequence[int], *, by_hand: bool) -> list[StoredMessage]:
        """Those of the ids that no run has, ordered by channel and time; `by_hand`: also those left aside."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "unclaimed_messages", list(ids), by_hand)
        return [
            StoredMessage(**{**row._mapping, "details": from_json(row.details)})  # noqa: SLF001 - SQLAlchemy's public name
            for row in rows
        ]

    async def set_aside(self, noise: Sequence[StoredScore]) -> None:
        """Stores the scores of messages that turned out to be noise, and takes them off the queue."""
        await write_scores(self._database, noise)

    async def earlier(self, messages: Sequence[StoredMessage], *, limit: int) -> list[Earlier]:
        """What was said before these messages of one channel, oldest first: in their conversations, and in the channel.

        At most `limit` of each, of each text the beginning.
        """
        firsts: dict[int, StoredMessage] = {}
        for message in messages:
            firsts.setdefault(message.conversation, message)
        first = messages[0]
        moments, ids = [one.sent_at for one in firsts.values()], [one.id for one in firsts.values()]
        async with self._database.autocommit() as connection:
            rows = await fetch(
                connection,
                "earlier_messages",
                *(first.source, first.channel, list(firsts), moments, ids, limit, CHARACTERS_OF_CONTEXT),
            )
        return [Earlier(message=_as_said(row), topic=row.topic) for row in rows]

    async def start_run(
        self,
        *,
        source: str,
        channel: str,
        extractor: str,
        ids: Sequence[int],
        lease_seconds: float,
        version: str = "",
        asked: Asked = Asked.HAND,
    ) -> tuple[int, dict[int, str]] | None:
        """A run and the messages it got, without those that other runs took meanwhile; None when they took all.

        With each the text it has now: who edits it after this gives the run up.
        """
        given = (source, channel, extractor, list(ids), lease_seconds, version, asked.value, asked.by_hand)
        async with self._database.transaction() as connection:
            await hold_knowledge(connection)
            rows = await fetch(connection, "start_run", *given)
            if not rows:
                return None
            texts = await fetch(connection, "texts_of_messages", rows[0].message_ids)
        return int(rows[0].id), {row.id: row.text for row in texts}

    async def note_window(self, run_id: int, window_hash: bytes, context: Sequence[int]) -> bool:
        """Notes what a run's window is known by, and the messages shown beside it.

        Says whether a run has read and committed such a window already.
        """
        async with self._database.autocommit() as connection:
            return bool((await fetch(connection, "note_window", run_id, window_hash, list(context)))[0].is_read)

    async def renew_run(self, run_id: int, lease_seconds: float) -> bool:
        """The heartbeat of a run; whether it still is one, or somebody has ended it."""
        async with self._database.autocommit() as connection:
            return bool(await fetch(connection, "renew_run", run_id, lease_seconds))

    async def fail_run(self, run_id: int, reason: str, *, fault: bool, abandoned: bool = False) -> None:
        """Ends a run without result and gives its messages back; `fault` counts against them (`MOST_FAILURES`).

        `abandoned`: what it read is no more, which is nobody's fault, and no reason to leave the channel alone.
        """
        state = "abandoned" if abandoned else "failed"
        async with self._database.transaction() as connection:
            await fetch(connection, "fail_run", run_id, storable(reason), state)
            await fetch(connection, "give_messages_back", run_id, int(fault))

    async def note_account(self, run_id: int, use: ModelUse, *, answer: str | None = None) -> None:
        """Notes what a run asked of a model though nothing came of it, and what that said last."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "note_account", run_id, *account_columns(use, unproven=0, answer=answer))

    async def forget_run(self, run_id: int) -> None:
        """Gives the messages of a running run back as if it had never been."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "forget_run", run_id)

    async def fail_dead_runs(self) -> int:
        """Ends the runs whose worker is gone, gives their messages back, and says how many there were.

        That counts against the messages, for it may be they that kill workers.
        """
        async with self._database.transaction() as connection:
            return len(await fetch(connection, "fail_dead_runs"))


def account_columns(use: ModelUse, *, unproven: int, answer: str | None = None) -> tuple[object, ...]:
    """The parameters of `note_account` behind the run."""
    said = storable(answer) if answer else None
    return use.requests, use.input_tokens, use.output_tokens, use.cost_usd, unproven, said


def _as_said(row: Row[Any]) -> WindowMessage:
    return WindowMessage(
        id=row.id,
        author=row.author,
        text=row.text,
        sent_at=row.sent_at,
        importance=row.importance,
        conversation=row.conversation,
        parent_id=row.parent_id,
        votes=row.votes,
    )
