"""Atoms that rest on some messages that go and on some that stay: their words may be of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.leftovers import holds, only_in
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork


@dataclass(slots=True)
class Leftovers:
    """What has words that only the messages that go have said.

    Attributes:
        atoms: that go with the messages, though they rest on others, too; and hidden ones that were merged.
        reworded: atoms that stay, with the wordings that go.
        reviews: of atoms that stay.
    """

    atoms: list[int] = field(default_factory=list)
    reworded: list[tuple[int, int]] = field(default_factory=list)
    reviews: list[int] = field(default_factory=list)


async def weigh_leftovers(database: Database, ids: Sequence[int]) -> Leftovers:
    """What would go for its words with these messages."""
    async with database.autocommit() as connection:
        return await _find(lambda name, *values: fetch(connection, name, *values), ids)


async def delete_leftovers(work: UnitOfWork, ids: Sequence[int]) -> tuple[Leftovers, set[int]]:
    """Removes what is beside atoms that stay; says which atoms are to go, and what is newly queued to be read again."""
    found = await _find(work.fetch, ids)
    if found.reworded or found.reviews:
        atoms, versions = [one for one, _ in found.reworded], [one for _, one in found.reworded]
        await work.fetch("delete_words_beside", atoms, versions, found.reviews)
    queued = await work.fetch("queue_rest", found.atoms, list(ids)) if found.atoms else []
    return found, {row.message_id for row in queued}


async def _find(fetch_: Callable[..., Awaitable[Sequence[Any]]], ids: Sequence[int]) -> Leftovers:
    found = Leftovers()
    words: dict[int, set[str]] = {}
    for row in await fetch_("atoms_in_part", list(ids)):
        theirs = only_in(row.removed, row.remaining)
        if holds(f"{row.title}\n{row.content}", theirs):
            found.atoms.append(row.id)
        elif theirs:
            words[row.id] = theirs
    for row in await fetch_("words_beside_atoms", sorted(words)) if words else ():
        if not holds(row.text, words[row.atom_id]):
            continue
        match row.kind:
            case "version":
                found.reworded.append((row.atom_id, row.id))
            case "review":
                found.reviews.append(row.id)
            case _:
                found.atoms.append(row.id)
    return found
