"""Where the batches of a backfill stand: one question for all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.spaces import Role
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from winnow.domain.jobs import Kind
    from winnow.domain.spaces import Space
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
        free: the ids of those in nobody's hand, or due; also of a text that is in hand with another row.
    """

    failed: int = 0
    skipped: int = 0
    waiting: int = 0
    resting: int = 0
    in_hand: int = 0
    free: frozenset[int] = frozenset()


async def standing_of_batches(
    database: Database, kind: Kind, batches: Mapping[int, Sequence[int]], *, space: Space | None = None
) -> dict[int, BatchStanding]:
    """Where each batch stands in a space (None: the active one), by its number.

    Rows that were deleted meanwhile are in none of the counts, nor are any once the space has another role.
    """
    role, space_id = (space.role, space.id) if space else (Role.ACTIVE, None)
    ids = [row for rows in batches.values() for row in rows]
    async with database.autocommit() as connection:
        found = await fetch(connection, "standing_of_rows", ids, space_id, kind=kind, role=role)
    empty = {row.id for row in found if row.how == "null"}
    how = dict.fromkeys(empty, "free") | {row.id: row.how for row in found if row.how != "null"}
    return {number: _standing({row: how[row] for row in rows if row in empty}) for number, rows in batches.items()}


def _standing(how: Mapping[int, str]) -> BatchStanding:
    counted = Counter(how.values())
    return BatchStanding(
        failed=counted["failed"],
        skipped=counted["skipped"],
        waiting=counted["waiting"],
        resting=counted["resting"],
        in_hand=counted["leased"],
        free=frozenset(row for row, state in how.items() if state == "free"),
    )


async def locked_rows(database: Database, kind: Kind, ids: Iterable[int]) -> frozenset[int]:
    """Those of the rows that nobody can claim, for somebody's open transaction is about to delete them, say."""
    ids = list(ids)
    async with database.autocommit() as connection:
        claimable = {row.id for row in await fetch(connection, "claimable_rows", ids, kind=kind)}
    return frozenset(ids) - claimable
