"""Counts for people: how fast embedding goes, runs, the extraction queue, atoms by type, rare events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.jobs import Kind
from winnow.storage.extraction import MOST_FAILURES
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeCounts:
    """Where extraction stands: messages by what becomes of them, runs by state, active atoms by type, rare events.

    Messages wait for a run, are in a run's hand, or failed: runs failed with them `MOST_FAILURES` times, and the next
    one is for somebody to ask for (`winnow extract`). What is in channels that nothing is extracted from waits for no
    run.

    `messages_per_second` were read by the runs of the last five minutes; None: there were none.
    """

    messages_waiting: int
    messages_in_hand: int
    messages_failed: int
    runs: Mapping[str, int]
    atoms: Mapping[str, int]
    events: Mapping[str, int]
    messages_per_second: float | None = None

    @property
    def eta_seconds(self) -> float | None:
        """How long what waits and is in hand will take at this pace; None: nobody can say."""
        left = self.messages_waiting + self.messages_in_hand
        if not left:
            return 0.0
        return left / self.messages_per_second if self.messages_per_second else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast rows get their vectors: over the last minute, or the last three batches where these take longer.

    `saved_per_second` of the rows took the vector of an identical text. `elapsed_seconds` is since when batches
    follow one another without a minute's pause (a day at most); None when the last one is too long ago. `due` rows
    have waited long enough, and are on their way like those that are pending.
    """

    rows_per_second: float = 0.0
    saved_per_second: float = 0.0
    tokens_per_second: float | None = None
    elapsed_seconds: float | None = None
    due: int = 0


async def message_states(database: Database) -> Mapping[str, int]:
    """How many messages are in each state, and `total`, which they add up to."""
    async with database.autocommit() as connection:
        row = (await fetch(connection, "count_states", MOST_FAILURES))[0]
    return {name: int(number) for name, number in row._mapping.items()}  # noqa: SLF001 - SQLAlchemy's public name


async def embedding_pace(database: Database) -> Pace:
    """The pace of the active space."""
    async with database.autocommit() as connection:
        row = (await fetch(connection, "embedding_pace"))[0]
    return Pace(
        rows_per_second=row.rows_per_second or 0.0,
        saved_per_second=row.saved_per_second or 0.0,
        tokens_per_second=row.tokens_per_second,
        elapsed_seconds=row.elapsed_seconds,
        due=row.due,
    )


async def truncated_rows(database: Database) -> int:
    """Rows whose vector is of the beginning of their text only, for the model takes no more."""
    async with database.autocommit() as connection:
        return sum([int((await fetch(connection, "count_truncated", kind=kind))[0].number) for kind in Kind])


async def knowledge_counts(database: Database) -> KnowledgeCounts:
    """The counts, from one snapshot."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        queue = (await fetch(connection, "count_queue", MOST_FAILURES))[0]
        runs = {row.state: int(row.number) for row in await fetch(connection, "count_runs")}
        atoms = {row.type: int(row.number) for row in await fetch(connection, "count_atoms")}
        events = {row.name: int(row.value) for row in await fetch(connection, "read_counters")}
        pace = await fetch(connection, "extraction_pace")
    return KnowledgeCounts(
        messages_waiting=queue.waiting,
        messages_in_hand=queue.in_hand,
        messages_failed=queue.failed,
        runs=runs,
        atoms=atoms,
        events=events,
        messages_per_second=float(pace[0].messages_per_second) if pace else None,
    )
