"""Counts for people: runs, the extraction queue, atoms by type, rare events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeCounts:
    """Where extraction stands: messages waiting for a run and in a run's hand, runs by state, active atoms by type."""

    messages_waiting: int
    messages_in_hand: int
    runs: Mapping[str, int]
    atoms: Mapping[str, int]
    events: Mapping[str, int]


async def knowledge_counts(database: Database) -> KnowledgeCounts:
    """The counts, from one snapshot."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        queue = (await fetch(connection, "count_queue"))[0]
        runs = {row.state: int(row.number) for row in await fetch(connection, "count_runs")}
        atoms = {row.type: int(row.number) for row in await fetch(connection, "count_atoms")}
        events = {row.name: int(row.value) for row in await fetch(connection, "read_counters")}
    return KnowledgeCounts(
        messages_waiting=queue.waiting, messages_in_hand=queue.in_hand, runs=runs, atoms=atoms, events=events
    )
