"""Runs as people see them, what they do about them, and which messages they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - read at run time by pydantic users of the records
from decimal import Decimal  # noqa: TC003 - the same
from typing import TYPE_CHECKING, Any

from winnow.domain.knowledge import AtomType, KnownAtom
from winnow.domain.messages import storable
from winnow.errors import RunLost
from winnow.storage.extraction import WaitingConversation, account_columns
from winnow.storage.messages import score_columns
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from winnow.domain.knowledge import ModelUse
    from winnow.storage.engine import Database
    from winnow.storage.messages import StoredScore
    from winnow.storage.unit_of_work import UnitOfWork

LAST_ID = 2**63 - 1
MOST_ATOMS_SHOWN = 1000
SETTLING_SECONDS = 60.0
# So far back in a channel it is looked for what may be meant again.
LATEST_MESSAGES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run and its account.

    Attributes:
        asked: who wanted it: quiet and threshold are the sweeper's reasons, hand and retry a person's.
        messages: that it read, or was to read.
        atoms, topics, links: that its commit wrote, new or grown.
        unproven: of its atoms those without words that prove them.
        requests, input_tokens, output_tokens, cost_usd: what it asked of a model; no price: not known.
        seconds: that it took, or has taken so far.
    """

    id: int
    source: str
    channel: str
    channel_title: str
    extractor: str
    extractor_version: str
    asked: str
    state: str
    messages: int
    atoms: int
    topics: int
    links: int
    unproven: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAtom:
    """An atom that a run was the first to find."""

    id: int
    type: str
    title: str
    status: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInFull(RunRecord):
    """The same with the messages it read, the atoms it was the first to find, and the raw answer when it failed."""

    answer: str | None
    message_ids: tuple[int, ...]
    found: tuple[FoundAtom, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages a person asks for: all that is given must hold.

    Attributes:
        ids: of messages.
        channels: by their identity or title.
        since, until: when they were said; that moment is in it, this one not.
    """

    ids: tuple[int, ...] | None = None
    channels: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def values(self) -> tuple[object, ...]:
        """As parameters."""
        channels = None if self.channels is None else [storable(name) for name in self.channels]
        return (None if self.ids is None else list(self.ids)), channels, self.since, self.until


async def list_runs(
    database: Database, *, state: str | None = None, channel: str | None = None, before: int = LAST_ID, limit: int
) -> list[RunRecord]:
    """The latest first, those with an id below `before`; `channel` is an identity or a title."""
    async with database.autocommit() as connection:
        where = None if channel is None else storable(channel)
        return [RunRecord(**_values(row)) for row in await fetch(connection, "list_runs", state, where, before, limit)]


async def read_run(database: Database, run_id: int) -> RunInFull | None:
    """One run; None: there is none of this id."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "read_run", run_id)
        if not rows:
            return None
        atoms = await fetch(connection, "atoms_of_run", run_id, MOST_ATOMS_SHOWN)
    given = _values(rows[0]) | {"message_ids": tuple(rows[0].message_ids)}
    return RunInFull(**given, found=tuple(FoundAtom(**_values(row)) for row in atoms))


async def cancel_runs(work: UnitOfWork, ids: Sequence[int] | None, *, reason: str) -> tuple[list[int], int]:
    """Ends those of the runs that are running (None: all), and says which, and how many messages are left aside."""
    row = (await work.fetch("cancel_runs", None if ids is None else list(ids), reason))[0]
    return list(row.ids), int(row.messages)


async def waiting_of_runs(database: Database, ids: Sequence[int] | None) -> list[WaitingConversation]:
    """The messages of these runs (None: of all that failed) that wait."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "waiting_of_runs", None if ids is None else list(ids))
    return [_conversation(row) for row in rows]


async def waiting_messages(database: Database, wanted: Wanted, *, limit: int) -> list[WaitingConversation]:
    """Messages that wait for extraction, however often runs failed with them, by conversation."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "waiting_messages", *wanted.values, limit)
    return [_conversation(row) for row in rows]


async def queue_again(work: UnitOfWork, wanted: Wanted, *, limit: int) -> int:
    """Queues what was extracted already, or never was queued; noise is not. Says how many messages."""
    ids = [row.id for row in await work.fetch("read_messages", *wanted.values, limit)]
    await work.fetch("hold_knowledge", False)
    queued = [row.id for row in await work.fetch("queue_again", ids)]
    await work.fetch("forget_windows", queued)
    return len(queued)


async def note_account(work: UnitOfWork, run_id: int, use: ModelUse, *, unproven: int) -> None:
    """Notes what a run asked of a model, in the transaction of its commit."""
    await work.fetch("note_account", run_id, *account_columns(use, unproven=unproven))


async def note_trouble(work: UnitOfWork, run_id: int, trouble: str) -> None:
    """Notes what a run that is done could not read or use."""
    await work.fetch("note_trouble", run_id, trouble)


async def settle_read(work: UnitOfWork, run_id: int, scores: Sequence[StoredScore]) -> None:
    """Ends a run whose window was read before as if it had never been, and takes its messages off the queue.

    `scores` are stored where a message still has none.

    Raises:
        RunLost: somebody else ended the run; the caller rolls back.
    """
    await work.fetch("hold_knowledge", False)
    if not await work.fetch("renew_run", run_id, SETTLING_SECONDS):  # and holds it: the run first, then its messages
        raise RunLost
    given = sorted(scores, key=lambda one: one.id)
    none = [None] * len(given)
    columns = score_columns([one.score for one in given])
    await work.fetch("write_what_was_learned", [one.id for one in given], none, *columns)
    await work.fetch("dequeue_messages", run_id)
    await work.fetch("forget_run", run_id)


async def atoms_around(
    database: Database, source: str, channel: str, conversations: Sequence[int], *, limit: int
) -> list[KnownAtom]:
    """Atoms that rest on words of these conversations or of the channel's latest messages, the newest first."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "atoms_around", source, channel, list(conversations), LATEST_MESSAGES, limit)
    return [KnownAtom(id=row.id, type=AtomType(row.type), title=row.title, content=row.content) for row in rows]


async def topics_around(database: Database, source: str, channel: str, *, limit: int) -> list[str]:
    """Names of what the channel was on about, the latest first."""
    async with database.autocommit() as connection:
        return [row.name for row in await fetch(connection, "topics_around", source, channel, LATEST_MESSAGES, limit)]


def _conversation(row: Row[Any]) -> WaitingConversation:
    return WaitingConversation(source=row.source, channel=row.channel, ids=tuple(row.ids))


def _values(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
