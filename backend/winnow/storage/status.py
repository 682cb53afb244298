"""Counts for people: runs, the extraction queue, atoms by type, rare events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.storage.extraction import MOST_FAILURES
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeCounts:
    """Where extraction stands: messages by what becomes of them, runs by state, active atoms by type, rare events.

    Messages wait for a run, are in a run's hand, or failed: runs failed with them `MOST_FAILURES` times, and the next
    one is for somebody to ask for (`winnow extract`).
    """

    messages_waiting: int
    messages_in_hand: int
    messages_failed: int
    runs: Mapping[str, int]
    atoms: Mapping[str, int]
    events: Mapping[str, int]


async def knowledge_counts(database: Database) -> KnowledgeCounts:
    """The counts, from one snapshot."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        queue = (await fetch(connection, "count_queue", MOST_FAILURES))[0]
        runs = {row.state: int(row.number) for row in await fetch(connection, "count_runs")}
        atoms = {row.type: int(row.number) for row in await fetch(connection, "count_atoms")}
        events = {row.name: int(row.value) for row in await fetch(connection, "read_counters")}
    return KnowledgeCounts(
        messages_waiting=queue.waiting,
        messages_in_hand=queue.in_hand,
        messages_failed=queue.failed,
        runs=runs,
        atoms=atoms,
        events=events,
    )
