"""Extraction runs as stored: what is due, and who has it in hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.knowledge import WindowMessage
from winnow.storage.edits import hold_knowledge
from winnow.storage.messages import from_json, write_scores
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from winnow.domain.messages import Details
    from winnow.storage.engine import Database
    from winnow.storage.messages import StoredScore

# A message that so many runs failed with is no more given to one, until somebody asks for it.
MOST_FAILURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DueChannel:
    """A channel whose unclaimed messages should be extracted; ids in the order they were said."""

    source: str
    channel: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """An unclaimed message with its place.

    `importance` is None until it was scored; `linked` says whether it was joined to its conversation.
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
        self, *, threshold: int, quiet_seconds: float, most: int, failed_pause_seconds: float
    ) -> list[DueChannel]:
        """Channels with `threshold` unclaimed messages, or fewer and quiet for `quiet_seconds`.

        Messages that `MOST_FAILURES` runs failed with are not among them.
        """
        async with self._database.autocommit() as connection:
            rows = await fetch(
                connection, "due_channels", threshold, quiet_seconds, most, failed_pause_seconds, MOST_FAILURES
            )
        return [DueChannel(source=row.source, channel=row.channel, ids=tuple(row.ids)) for row in rows]

    async def unclaimed(self, ids: Sequence[int]) -> list[StoredMessage]:
        """Those of the ids that no run has, ordered by channel and time; however often runs failed with them."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "unclaimed_messages", list(ids))
        return [
            StoredMessage(**{**row._mapping, "details": from_json(row.details)})  # noqa: SLF001 - SQLAlchemy's public name
            for row in rows
        ]

    async def set_aside(self, noise: Sequence[StoredScore]) -> None:
        """Stores the scores of messages that turned out to be noise, and takes them off the queue."""
        await write_scores(self._database, noise)

    async def unclaimed_ids(self, *, channel: str | None, limit: int) -> list[int]:
        """Ids that no run has, of one channel or of all; however often runs failed with them: somebody asks."""
        async with self._database.autocommit() as connection:
            return [row.id for row in await fetch(connection, "unclaimed_ids", channel, limit)]

    async def earlier(self, before: StoredMessage, *, limit: int) -> list[Earlier]:
        """What was said in the channel before a message, oldest first."""
        async with self._database.autocommit() as connection:
            rows = await fetch(
                connection, "earlier_messages", before.source, before.channel, before.sent_at, before.id, limit
            )
        return [
            Earlier(
                message=WindowMessage(
                    id=row.id, author=row.author, text=row.text, sent_at=row.sent_at, importance=row.importance or 0.0
                ),
                topic=row.topic,
            )
            for row in reversed(rows)
        ]

    async def start_run(
        self, *, source: str, channel: str, extractor: str, ids: Sequence[int], lease_seconds: float
    ) -> tuple[int, dict[int, str]] | None:
        """A run and the messages it got, without those that other runs took meanwhile; None when they took all.

        With each the text it has now: who edits it after this gives the run up.
        """
        async with self._database.transaction() as connection:
            await hold_knowledge(connection)
            rows = await fetch(connection, "start_run", source, channel, extractor, list(ids), lease_seconds)
            if not rows:
                return None
            texts = await fetch(connection, "texts_of_messages", rows[0].message_ids)
        return int(rows[0].id), {row.id: row.text for row in texts}

    async def renew_run(self, run_id: int, lease_seconds: float) -> None:
        """The heartbeat of a run."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "renew_run", run_id, lease_seconds)

    async def fail_run(self, run_id: int, reason: str, *, fault: bool) -> None:
        """Ends a run without result and gives its messages back; `fault` counts against them (`MOST_FAILURES`)."""
        async with self._database.transaction() as connection:
            await fetch(connection, "fail_run", run_id, reason)
            await fetch(connection, "give_messages_back", run_id, int(fault))

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
