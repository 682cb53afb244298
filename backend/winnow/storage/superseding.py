"""Links that say that one atom takes the place of another, of atoms that were hidden when they were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.storage.unit_of_work import UnitOfWork


async def apply_superseding(work: UnitOfWork, ids: Sequence[int]) -> None:
    """What these atoms, hidden until now, say that they supersede, they do, and are superseded by what says so.

    For who holds the atoms.
    """
    rows = await work.fetch("superseding_links", list(ids)) if ids else []
    if rows:
        given = [(row.newer, row.older, "", row.said_at, row.named) for row in rows]
        await work.fetch("supersede", *(list(column) for column in zip(*given, strict=True)))
