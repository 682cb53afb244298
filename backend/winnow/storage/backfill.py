"""Where the batches of a backfill stand: one question for all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.spaces import Role
from winnow.domain.usage import BYTES_A_TOKEN
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What embedding rows asks for: different texts without a stored vector, and about how many tokens they have."""

    rows: int = 0
    texts: int = 0
    tokens: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(rows=self.rows + other.rows, texts=self.texts + other.texts, tokens=self.tokens + other.tokens)


@dataclass(frozen=True, slots=True)
class RowWeight:
    """The text of a row, by its hash, and about how many tokens it has; `known`: a vector of it is stored already."""

    hash: int
    tokens: int
    known: bool


async def pending_weight(
    database: Database,
    kind: Kind,
    *,
    prefix: str,
    limit: int | None = None,
    role: Role = Role.ACTIVE,
    remote: bool = False,
) -> Weight:
    """Of the rows that a backfill of the space of this role would go over, or of the first so many.

    `remote`: the model is elsewhere, and gets no text of a local-only channel.
    """
    async with database.autocommit() as connection:
        given = (limit, len(prefix.encode()), BYTES_A_TOKEN, remote)
        row = (await fetch(connection, "pending_weight", *given, kind=kind, role=role))[0]
    return Weight(rows=row.rows, texts=row.texts, tokens=row.tokens)


async def row_weights(
    database: Database, kind: Kind, ids: Sequence[int], *, prefix: str, remote: bool = False
) -> dict[int, RowWeight]:
    """Of those of the rows that have a text and no vector, and, where the model is `remote`, may be sent there."""
    async with database.autocommit() as connection:
        given = (list(ids), len(prefix.encode()), BYTES_A_TOKEN, remote)
        rows = await fetch(connection, "row_weights", *given, kind=kind)
    return {row.id: RowWeight(row.hash, row.tokens, row.known) for row in rows}


async def sample_texts(
    database: Database, kind: Kind, number: int, *, role: Role = Role.ACTIVE, remote: bool = False
) -> list[str]:
    """At most so many different texts of rows without a vector, from all over the table.

    None of a local-only channel, where the model is `remote`.
    """
    async with database.autocommit() as connection:
        rows = await fetch(connection, "sample_texts", number, remote, kind=kind, role=role)
    return list(dict.fromkeys(row.text for row in rows))
