"""Where the batches of a backfill stand: one question for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.domain.jobs import Kind
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStanding:
    """Rows of a batch that have no vector, by why.

    Attributes:
        failed: for good.
        skipped: for good.
        waiting: for a lock to go, or for another try of a text at fault.
        resting: for the model server.
        in_hand: of a living worker.
        free: in nobody's hand, or due; also a text that is in hand with another row of the same text.
    """

    failed: int = 0
    skipped: int = 0
    waiting: int = 0
    resting: int = 0
    in_hand: int = 0
    free: int = 0

    @property
    def settled(self) -> bool:
        """Nothing more will happen to any of its rows for now."""
        return not (self.in_hand or self.free or self.resting)


async def standing_of_batches(
    database: Database, kind: Kind, batches: Mapping[int, Sequence[int]]
) -> dict[int, BatchStanding]:
    """Where each batch stands, by its number. Rows that were deleted meanwhile are in none of the counts."""
    ids = [row for rows in batches.values() for row in rows]
    numbers = [number for number, rows in batches.items() for _ in rows]
    async with database.autocommit() as connection:
        found = await fetch(connection, "standing_of_batches", ids, numbers, kind=kind)
    standings = dict.fromkeys(batches, BatchStanding())
    for row in found:
        standings[row.batch] = BatchStanding(
            failed=row.failed,
            skipped=row.skipped,
            waiting=row.waiting,
            resting=row.resting,
            in_hand=row.in_hand,
            free=row.free,
        )
    return standings


def database_of(store: EmbeddingStore) -> Database:
    """The database a store is over."""
    return store._database  # noqa: SLF001 - of the same package, and nobody else needs it
