"""The two arms of a search, over all rows of a kind or those that it is narrowed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvector import Vector
from sqlalchemy.exc import DBAPIError

from winnow.domain.jobs import Kind
from winnow.errors import SpaceMismatch
from winnow.storage.conditions import SAID, Conditions, fetch_chosen
from winnow.storage.engine import CANDIDATES
from winnow.storage.named import fetch
from winnow.storage.refusals import sqlstate
from winnow.storage.spaces import active_space, distance_expression

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Row

    from winnow.domain.spaces import Space
    from winnow.storage.conditions import Said
    from winnow.storage.engine import Database


# "different vector dimensions 256 and 1024"
OTHER_DIMENSIONS = "22000"
# Up to so many rows a narrowed search compares one by one, which is exact; an index would pass most of its rows by. Of
# more, the index yields enough that are among them: at one in a hundred, 200 of the 20,000 rows that it looks at
# (hnsw.max_scan_tuples).
EXACT = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """The rows that a narrowed search looks at: these ids; where `ids` is None, those that rest on such messages."""

    said: Said
    ids: tuple[int, ...] | None

    def conditions(self, kind: Kind, first: int) -> Conditions:
        """As conditions on rows `t` of the kind."""
        if kind is Kind.MESSAGES:
            return self.said.conditions(first).about("m", "t")
        made = Conditions(first)
        if kind is Kind.ATOMS:
            made.add_said("atom_rests_on", self.said)
            return made.about("a", "t")
        made.add_said("topic_of_messages", self.said)
        return made.about("p", "t")


async def narrowed(database: Database, kind: Kind, said: Said) -> Narrowed:
    """The rows of a kind that rest on such messages: themselves, atoms that quote them, topics they are filed under."""
    async with database.autocommit() as connection:
        name = f"{kind.value}_said"
        rows = await fetch_chosen(connection, name, EXACT + 1, where=said.conditions(1), marker=SAID)
    return Narrowed(said=said, ids=tuple(sorted({row.id for row in rows})) if len(rows) <= EXACT else None)


async def full_text(database: Database, kind: Kind, query: str, among: Narrowed | None = None) -> dict[int, float]:
    """Rows that hold any of the query's words, with their BM25 score (above 0, without an upper bound)."""
    async with database.autocommit() as connection:
        if among and among.ids is not None:
            rows = await fetch(connection, "full_text_of", query, CANDIDATES, list(among.ids), kind=kind)
        else:
            where = among.conditions(kind, 2) if among else Conditions(2)
            rows = await fetch_chosen(connection, "full_text", query, CANDIDATES, where=where, kind=kind)
    return {row.id: float(row.score) for row in rows}


async def nearest(
    database: Database, kind: Kind, vector: NDArray[np.float32], space: Space, among: Narrowed | None = None
) -> dict[int, float]:
    """Rows nearest to the query's vector, with their cosine similarity (-1 to 1).

    Raises:
        SpaceMismatch: the vector's space is not the active one any more.
    """
    try:
        rows = await _nearest(database, kind, vector, space, among)
        found = {row.id: float(row.score) for row in rows if row.score == row.score}
    except DBAPIError as error:
        if sqlstate(error) != OTHER_DIMENSIONS:
            raise
        found = {}
    if not found:
        async with database.autocommit() as connection:
            active = await active_space(connection)
        if active is None or active.id != space.id:
            raise SpaceMismatch(f"the stored vectors are {space.identity}'s no more")
    return found


async def _nearest(
    database: Database, kind: Kind, vector: NDArray[np.float32], space: Space, among: Narrowed | None
) -> Sequence[Row[Any]]:
    name, values, where = "nearest", [Vector(vector), space.id, CANDIDATES], Conditions(3)
    if among and among.ids is not None:
        name, values, where = "nearest_of", [*values, list(among.ids)], Conditions(4)
    elif among:
        where = among.conditions(kind, 3)
    async with database.autocommit() as connection:
        return await fetch_chosen(
            connection, name, *values, where=where, kind=kind, distance=distance_expression(space.dimensions)
        )
