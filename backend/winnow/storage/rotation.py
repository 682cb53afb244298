"""The columns of vector spaces change places: docs/adr/0018. All but the small indexes is a change of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.spaces import Role
from winnow.errors import SetupFault
from winnow.storage.embeddables import EMBEDDABLES, ENDINGS
from winnow.storage.embedding_records import KindCounts
from winnow.storage.indexes import index_session
from winnow.storage.named import fetch
from winnow.storage.spaces import insert_space, read_spaces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.jobs import Kind
    from winnow.domain.spaces import EmbedderIdentity, Space
    from winnow.storage.embeddables import Embeddable
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

# The small indexes that claims, sweeps and copies need of a space's columns, beside the one of nearest neighbours.
SMALL_INDEXES = {
    "without_vector": "(id) WHERE {embedding} IS NULL",
    "truncated": "(id) WHERE {characters} IS NOT NULL",
    "same_text": "(hashtextextended({text_of_row}, 0)) WHERE {embedding} IS NOT NULL",
}


CLEARED_AT_ONCE = 5_000


async def standing_in(connection: AsyncConnection, space: Space) -> dict[Kind, KindCounts]:
    """Where the rows stand in a space, by kind."""
    found = {}
    for kind in EMBEDDABLES:
        row = (await fetch(connection, "standing_in_space", space.id, kind=kind, role=space.role))[0]
        found[kind] = KindCounts(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return found


@dataclass(frozen=True, slots=True)
class Left:
    """Rows that still want a vector in a space: those that were there when it was begun, and those written since."""

    old: int
    new: int


async def left_in(connection: AsyncConnection, space: Space, *, most: int) -> Left:
    """How many are left, counted up to `most` of each sort and kind; quick while many are, or with the indexes."""
    old = new = 0
    for kind in EMBEDDABLES:
        row = (await fetch(connection, "left_in_space", space.id, most, kind=kind, role=space.role))[0]
        old, new = old + row.old, new + row.new
    return Left(old, new)


async def failed_in(connection: AsyncConnection, space: Space) -> int:
    """Texts that the space's model has refused for good."""
    return int((await fetch(connection, "failed_in_space", space.id))[0].failed)


async def refuse_views(connection: AsyncConnection) -> None:
    """Raises `SetupFault` naming a view over columns of vectors: it would keep them from being dropped."""
    tables = [embeddable.table for embeddable in EMBEDDABLES.values()]
    if views := await fetch(connection, "views_over_vectors", tables):
        names = ", ".join(view.name for view in views)
        raise SetupFault(f"the view {names} is over a column of vectors; drop it, and make it again after the change")


async def begin_building(
    connection: AsyncConnection,
    identity: EmbedderIdentity,
    fingerprint: Sequence[float],
    *,
    provider_id: UUID | None,
) -> Space:
    """Writes down a space to be filled, and gives every embeddable table an empty column for it.

    To be called in a transaction that holds `lock_spaces`. Columns are dropped and added, not changed: that takes no
    time, however large the tables are. While it is filled the column has no index: an update of an indexed column
    would enter the row anew into all indexes, the graph of the other vectors among them.
    """
    await fetch(connection, "retire_space", Role.BUILDING)
    for embeddable in EMBEDDABLES.values():
        await _drop_columns(connection, embeddable, Role.BUILDING)
        await _add_columns(connection, embeddable, Role.BUILDING, len(fingerprint))
    space = await insert_space(connection, identity, fingerprint, role=Role.BUILDING, provider_id=provider_id)
    log.info("space.building", embedder=str(identity), dimensions=space.dimensions)
    return space


async def retire(connection: AsyncConnection, role: Role) -> None:
    """From now on nobody uses the space of this role; its column is for `clear_vectors`. Under `lock_spaces`."""
    await fetch(connection, "retire_space", role)


async def clear_vectors(database: Database, role: Role) -> None:
    """Empties the column of a space that is retired, so that VACUUM can free its room: to drop a column frees nothing.

    Some rows at a time, so nobody waits for it; safe to interrupt, and to repeat.
    """
    for kind, embeddable in EMBEDDABLES.items():
        async with database.autocommit() as connection:
            for name in ("nearest", *SMALL_INDEXES):
                await connection.exec_driver_sql(
                    f"DROP INDEX CONCURRENTLY IF EXISTS {embeddable.table}_{name}{ENDINGS[role]}"
                )
            end = int((await fetch(connection, "count_rows", kind=kind))[0].last_id)
            for start in range(0, end, CLEARED_AT_ONCE):
                await fetch(connection, "clear_vectors", start, start + CLEARED_AT_ONCE, kind=kind, role=role)


async def change_provider(connection: AsyncConnection, space: Space, provider_id: UUID | None) -> None:
    """Somebody else embeds for a space from now on, with the same model."""
    await fetch(connection, "change_provider", space.id, provider_id)


async def make_small_indexes(database: Database, space: Space) -> bool:
    """Makes the small indexes of a space's columns that are missing; False: somebody else is about it.

    It keeps nobody waiting, waits itself for all open transactions, and is safe to repeat.
    """
    wanted = {
        kind: {f"{of.table}_{name}{ENDINGS[space.role]}": what for name, what in SMALL_INDEXES.items()}
        for kind, of in EMBEDDABLES.items()
    }
    async with database.autocommit() as connection:
        names = [name for of_kind in wanted.values() for name in of_kind]
        found = {row.name: row.valid for row in await fetch(connection, "indexes_named", names)}
    if all(found.get(name) for name in names):
        return True
    async with index_session(database) as session:
        for kind, indexes in wanted.items():
            if not await session.take(kind):  # so nobody builds what is not valid here
                return False
            embeddable = EMBEDDABLES[kind]
            for name, what in indexes.items():
                if not found.get(name, True):
                    await session.run(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
                over = embeddable.fill(what.replace("{text_of_row}", embeddable.text("")), space.role)
                await session.run(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {embeddable.table} {over}")
    return True


async def swap_in(connection: AsyncConnection, *, most_new: int) -> bool:
    """Makes the space that is being built the active one, and the active one the previous one. Under `lock_spaces`.

    False: rows of before want a vector in it, or more than `most_new` of those written since. What is left is pending
    in the active space then. There is no previous space any more.
    """
    space = (await read_spaces(connection)).get(Role.BUILDING)
    if space is None:
        return False
    left = await left_in(connection, space, most=most_new + 1)
    if left.old or left.new > most_new:
        return False
    for embeddable in EMBEDDABLES.values():
        await _drop_columns(connection, embeddable, Role.PREVIOUS)
        await _rename(connection, embeddable, ENDINGS[Role.ACTIVE], ENDINGS[Role.PREVIOUS])
        await _rename(connection, embeddable, ENDINGS[Role.BUILDING], ENDINGS[Role.ACTIVE])
        await _add_columns(connection, embeddable, Role.BUILDING, None)
    await fetch(connection, "release_space", Role.ACTIVE)
    await fetch(connection, "retire_space", Role.PREVIOUS)
    await fetch(connection, "change_status", Role.PREVIOUS, Role.ACTIVE)
    await fetch(connection, "change_status", Role.ACTIVE, Role.BUILDING)
    log.info("space.swapped", embedder=str(space.identity), dimensions=space.dimensions, left=left.new)
    return True


async def swap_back(connection: AsyncConnection) -> None:
    """The previous and the active space change places; to be called while none is being built. Under `lock_spaces`.

    Rows that were written since have no vector in it: they are pending.
    """
    for embeddable in EMBEDDABLES.values():
        await _rename(connection, embeddable, ENDINGS[Role.ACTIVE], "_aside")
        await _rename(connection, embeddable, ENDINGS[Role.PREVIOUS], ENDINGS[Role.ACTIVE])
        await _rename(connection, embeddable, "_aside", ENDINGS[Role.PREVIOUS])
    for role in (Role.ACTIVE, Role.PREVIOUS):
        await fetch(connection, "release_space", role)
    # By way of the third status, for there is one space of each.
    await fetch(connection, "change_status", Role.BUILDING, Role.PREVIOUS)
    await fetch(connection, "change_status", Role.PREVIOUS, Role.ACTIVE)
    await fetch(connection, "change_status", Role.ACTIVE, Role.BUILDING)
    log.info("space.swapped_back")


async def _rename(connection: AsyncConnection, embeddable: Embeddable, old: str, new: str) -> None:
    table = embeddable.table
    for column in ("embedding", "embedded_characters"):
        await connection.exec_driver_sql(f"ALTER TABLE {table} RENAME COLUMN {column}{old} TO {column}{new}")
    for index in ("nearest", *SMALL_INDEXES):
        await connection.exec_driver_sql(f"ALTER INDEX IF EXISTS {table}_{index}{old} RENAME TO {table}_{index}{new}")


async def _drop_columns(connection: AsyncConnection, embeddable: Embeddable, role: Role) -> None:
    """With them go their indexes."""
    for column in ("embedding", "embedded_characters"):
        await connection.exec_driver_sql(f"ALTER TABLE {embeddable.table} DROP COLUMN {column}{ENDINGS[role]}")


async def _add_columns(connection: AsyncConnection, embeddable: Embeddable, role: Role, dimensions: int | None) -> None:
    type_ = "vector" if dimensions is None else f"vector({int(dimensions)})"
    await connection.exec_driver_sql(
        f"ALTER TABLE {embeddable.table} ADD COLUMN embedding{ENDINGS[role]} {type_}, "
        f"ADD COLUMN embedded_characters{ENDINGS[role]} integer"
    )
