"""Atoms that may say the same, by their vectors; and two that become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.jobs import Kind
from winnow.storage.named import statement
from winnow.storage.spaces import active_space, distance_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork

# So many neighbours of an atom are looked at: of what says the same, one is enough.
NEIGHBOURS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two active atoms of one type, with what they say; `likeness` is the cosine of their vectors."""

    newer: int
    newer_content: str
    older: int
    older_content: str
    likeness: float


async def nearest_atoms(database: Database, ids: Sequence[int], *, least_likeness: float) -> list[Pair]:
    """The nearest of the same type for each of the atoms, where these have vectors; the likeliest first for each."""
    async with database.autocommit() as connection:
        space = await active_space(connection)
        if space is None:
            return []
        sql = statement("nearest_atoms", Kind.ATOMS).replace("{distance}", distance_between(space.dimensions))
        rows = (await connection.exec_driver_sql(sql, (list(ids), NEIGHBOURS, least_likeness))).all()
    return [Pair(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


async def still_apart(work: UnitOfWork, pairs: Sequence[Pair]) -> list[Pair]:
    """Those whose atoms are both active and say what they said; for who holds the atoms."""
    ids = sorted({row for pair in pairs for row in (pair.newer, pair.older)})
    now = {row.id: row for row in await work.fetch("atoms_to_judge", ids)}
    said = {row.id: row.content for row in now.values() if row.status == "active"}
    return [
        pair
        for pair in pairs
        if said.get(pair.newer) == pair.newer_content and said.get(pair.older) == pair.older_content
    ]


async def merge(work: UnitOfWork, lost: int, kept: int) -> None:
    """One atom lives on in another; for who holds the atoms."""
    await work.fetch("merge_atom", lost, kept)
