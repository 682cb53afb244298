"""Vector spaces as stored: the active one, and the columns and HNSW indexes that are made to its measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from winnow.domain.spaces import EmbedderIdentity, Space
from winnow.storage.embeddables import EMBEDDABLES
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.errors import WinnowError
    from winnow.storage.embeddables import Embeddable

log = structlog.get_logger(__name__)

# pgvector's HNSW takes at most so many dimensions of each type.
MAX_INDEXED_VECTOR = 2000
MAX_INDEXED_HALFVEC = 4000


async def active_space(connection: AsyncConnection) -> Space | None:
    """The space of the stored vectors; None before the first model was chosen."""
    rows = await fetch(connection, "active_space")
    if not rows:
        return None
    row = rows[0]
    identity = EmbedderIdentity(
        provider=row.provider, model=row.model, document_prefix=row.document_prefix, query_prefix=row.query_prefix
    )
    return Space(id=row.id, identity=identity, dimensions=row.dimensions)


async def any_vector_stored(connection: AsyncConnection) -> bool:
    """Whether changing the space would throw vectors away."""
    for kind in EMBEDDABLES:
        if (await fetch(connection, "any_vector", kind=kind))[0].stored:
            return True
    return False


async def lock_spaces(connection: AsyncConnection) -> None:
    """Until the transaction ends, nobody else makes or changes a space, or writes a vector.

    Raises:
        DatabaseBusy: not to be had within half a second.
    """
    await fetch(connection, "wait_briefly")
    await fetch(connection, "lock_spaces")
    for kind in EMBEDDABLES:
        await fetch(connection, "lock_table", kind=kind)


async def note_unprobed(connection: AsyncConnection, error: WinnowError) -> None:
    """Notes why there is no space yet, for those who watch."""
    await fetch(connection, "note_unprobed", type(error).__name__, str(error))


async def create_space(connection: AsyncConnection, identity: EmbedderIdentity, dimensions: int) -> Space:
    """Makes a space the active one and gives every embeddable table a column and an index to its measure.

    To be called in a transaction that holds `lock_spaces`, and while no vector is stored.
    """
    await fetch(connection, "forget_unprobed")
    await fetch(connection, "retire_space")
    rows = await fetch(
        connection,
        "create_space",
        identity.provider,
        identity.model,
        dimensions,
        identity.document_prefix,
        identity.query_prefix,
    )
    for embeddable in EMBEDDABLES.values():
        await _fit_column(connection, embeddable, dimensions)
    log.info("space.created", embedder=str(identity), dimensions=dimensions)
    return Space(id=rows[0].id, identity=identity, dimensions=dimensions)


async def _fit_column(connection: AsyncConnection, embeddable: Embeddable, dimensions: int) -> None:
    table = embeddable.table
    await connection.exec_driver_sql(f"DROP INDEX IF EXISTS {index_name(embeddable)}")
    await connection.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN embedding TYPE vector({int(dimensions)})")
    if indexed_expression(dimensions) is None:
        log.warning("space.not_indexed", table=table, dimensions=dimensions, most=MAX_INDEXED_HALFVEC)
        return
    await connection.exec_driver_sql(index_statement(embeddable, dimensions))


def index_name(embeddable: Embeddable) -> str:
    """The name of a kind's HNSW index."""
    return f"{embeddable.table}_nearest"


def index_statement(embeddable: Embeddable, dimensions: int, *, concurrently: bool = False) -> str:
    """The CREATE INDEX of a kind's HNSW index; CONCURRENTLY runs in no transaction and keeps nobody waiting.

    Raises:
        ValueError: vectors of so many dimensions cannot be indexed.
    """
    operand = indexed_expression(dimensions)
    if operand is None:
        raise ValueError(f"{dimensions} dimensions are more than an index takes")
    operators = "vector_cosine_ops" if operand == "embedding" else "halfvec_cosine_ops"
    how = "CONCURRENTLY IF NOT EXISTS " if concurrently else ""
    return f"CREATE INDEX {how}{index_name(embeddable)} ON {embeddable.table} USING hnsw (({operand}) {operators})"


def indexed_expression(dimensions: int) -> str | None:
    """What the HNSW index is over: the column, its half-precision form above 2,000 dimensions, above 4,000 nothing."""
    if dimensions <= MAX_INDEXED_VECTOR:
        return "embedding"
    return f"embedding::halfvec({int(dimensions)})" if dimensions <= MAX_INDEXED_HALFVEC else None


def distance_expression(dimensions: int) -> str:
    """The cosine distance between column (alias `t`) and $1, written as the index knows it."""
    if indexed_expression(dimensions) in {"embedding", None}:
        return "t.embedding <=> $1::vector"
    return f"(t.embedding::halfvec({int(dimensions)})) <=> $1::vector::halfvec({int(dimensions)})"
