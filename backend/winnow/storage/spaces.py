"""Vector spaces as stored: the active one, and the columns and HNSW indexes that are made to its measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from winnow.domain.spaces import EmbedderIdentity, Role, Space
from winnow.storage.embeddables import EMBEDDABLES, ENDINGS
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.errors import WinnowError
    from winnow.storage.embeddables import Embeddable

log = structlog.get_logger(__name__)

# pgvector's HNSW takes at most so many dimensions of each type.
MAX_INDEXED_VECTOR = 2000
MAX_INDEXED_HALFVEC = 4000


async def read_spaces(connection: AsyncConnection) -> Mapping[Role, Space]:
    """The spaces that have a column, by role; none before the first model was chosen."""
    found = {}
    for row in await fetch(connection, "read_spaces"):
        identity = EmbedderIdentity(
            provider=row.provider, model=row.model, document_prefix=row.document_prefix, query_prefix=row.query_prefix
        )
        role = Role(row.status)
        found[role] = Space(
            id=row.id,
            identity=identity,
            dimensions=row.dimensions,
            role=role,
            provider_id=row.provider_id,
            provider_name=row.provider_name,
            fingerprint=tuple(row.fingerprint) if row.fingerprint else None,
        )
    return found


async def active_space(connection: AsyncConnection) -> Space | None:
    """The space of the searches; None before the first model was chosen."""
    return (await read_spaces(connection)).get(Role.ACTIVE)


async def any_vector_stored(connection: AsyncConnection) -> bool:
    """Whether changing the space would throw vectors away."""
    for kind in EMBEDDABLES:
        if (await fetch(connection, "any_vector", kind=kind))[0].stored:
            return True
    return False


async def lock_spaces(connection: AsyncConnection, *, patient: bool = False) -> None:
    """Until the transaction ends, nobody else makes or changes a space, or writes a vector.

    Raises:
        DatabaseBusy: not to be had within half a second; `patient`: within the time in which PostgreSQL ends an
            autovacuum that is in the way, mostly 1.6 s.
    """
    await fetch(connection, "wait_out_autovacuum" if patient else "wait_briefly")
    await fetch(connection, "lock_spaces")
    for kind in EMBEDDABLES:
        await fetch(connection, "lock_table", kind=kind)


async def note_unprobed(connection: AsyncConnection, error: WinnowError) -> None:
    """Notes why there is no space yet, for those who watch."""
    await fetch(connection, "note_unprobed", type(error).__name__, str(error))


async def create_space(
    connection: AsyncConnection,
    identity: EmbedderIdentity,
    fingerprint: Sequence[float],
    *,
    provider_id: UUID | None = None,
) -> Space:
    """Makes a space the active one and gives every embeddable table a column and an index to its measure.

    To be called in a transaction that holds `lock_spaces`, and while no vector is stored. `fingerprint` has the space's
    dimensions.
    """
    await fetch(connection, "forget_unprobed")
    await fetch(connection, "retire_space", Role.ACTIVE)
    space = await insert_space(connection, identity, fingerprint, role=Role.ACTIVE, provider_id=provider_id)
    for embeddable in EMBEDDABLES.values():
        await _fit_column(connection, embeddable, space.dimensions)
    log.info("space.created", embedder=str(identity), dimensions=space.dimensions)
    return space


async def insert_space(
    connection: AsyncConnection,
    identity: EmbedderIdentity,
    fingerprint: Sequence[float],
    *,
    role: Role,
    provider_id: UUID | None,
) -> Space:
    """Writes a space down; there may be none of this role."""
    rows = await fetch(
        connection,
        "create_space",
        identity.provider,
        identity.model,
        len(fingerprint),
        identity.document_prefix,
        identity.query_prefix,
        role.value,
        provider_id,
        list(fingerprint),
    )
    return Space(
        id=rows[0].id,
        identity=identity,
        dimensions=len(fingerprint),
        role=role,
        provider_id=provider_id,
        fingerprint=tuple(fingerprint),
    )


async def keep_fingerprint(connection: AsyncConnection, space: Space, fingerprint: Sequence[float]) -> Sequence[float]:
    """Writes a space's fingerprint down unless it has one; returns the one it has."""
    kept: Sequence[float] = (await fetch(connection, "keep_fingerprint", space.id, list(fingerprint)))[0].fingerprint
    return kept


async def _fit_column(connection: AsyncConnection, embeddable: Embeddable, dimensions: int) -> None:
    table = embeddable.table
    await connection.exec_driver_sql(f"DROP INDEX IF EXISTS {index_name(embeddable)}")
    await connection.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN embedding TYPE vector({int(dimensions)})")
    if indexed_expression(dimensions) is None:
        log.warning("space.not_indexed", table=table, dimensions=dimensions, most=MAX_INDEXED_HALFVEC)
        return
    await connection.exec_driver_sql(index_statement(embeddable, dimensions))


def index_name(embeddable: Embeddable, role: Role = Role.ACTIVE) -> str:
    """The name of a kind's HNSW index."""
    return f"{embeddable.table}_nearest{ENDINGS[role]}"


def index_statement(
    embeddable: Embeddable, dimensions: int, *, concurrently: bool = False, role: Role = Role.ACTIVE
) -> str:
    """The CREATE INDEX of a kind's HNSW index; CONCURRENTLY runs in no transaction and keeps nobody waiting.

    Raises:
        ValueError: vectors of so many dimensions cannot be indexed.
    """
    operand = indexed_expression(dimensions, role)
    if operand is None:
        raise ValueError(f"{dimensions} dimensions are more than an index takes")
    operators = "halfvec_cosine_ops" if "halfvec" in operand else "vector_cosine_ops"
    how = "CONCURRENTLY IF NOT EXISTS " if concurrently else ""
    name = index_name(embeddable, role)
    return f"CREATE INDEX {how}{name} ON {embeddable.table} USING hnsw (({operand}) {operators})"


def indexed_expression(dimensions: int, role: Role = Role.ACTIVE) -> str | None:
    """What the HNSW index is over: the column, its half-precision form above 2,000 dimensions, above 4,000 nothing."""
    column = f"embedding{ENDINGS[role]}"
    if dimensions <= MAX_INDEXED_VECTOR:
        return column
    return f"{column}::halfvec({int(dimensions)})" if dimensions <= MAX_INDEXED_HALFVEC else None


def distance_between(dimensions: int) -> str:
    """The cosine distance between the columns of aliases `t` and `n`, written as the index of `t` knows it."""
    if indexed_expression(dimensions) in {"embedding", None}:
        return "t.embedding <=> n.embedding"
    return f"(t.embedding::halfvec({int(dimensions)})) <=> n.embedding::halfvec({int(dimensions)})"


def distance_expression(dimensions: int) -> str:
    """The cosine distance between column (alias `t`) and $1, written as the index knows it."""
    if indexed_expression(dimensions) in {"embedding", None}:
        return "t.embedding <=> $1::vector"
    return f"(t.embedding::halfvec({int(dimensions)})) <=> $1::vector::halfvec({int(dimensions)})"
