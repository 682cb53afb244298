"""Writing vectors: the product's binary, fenced UPDATE beside SQLAlchemy's `Vector` type, which sends text."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from bench.stage import stage
from bench.tables import Table, percentile, say
from bench.timing import silent_units
from pgvector.sqlalchemy import Vector
from sqlalchemy import BigInteger, Column, MetaData, bindparam, update
from sqlalchemy import Table as SqlTable

from winnow.domain.jobs import Kind, Lane
from winnow.domain.messages import IncomingMessage
from winnow.domain.spaces import EmbedderIdentity
from winnow.pipeline.ingest import ingest
from winnow.storage.embedding_records import Lease
from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.engine import Database, engine_for
from winnow.storage.spaces import create_space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stage import Stage
    from bench.tables import Options
    from numpy.typing import NDArray
    from sqlalchemy.ext.asyncio import AsyncEngine

    from winnow.domain.spaces import Space

BATCH = 100
WAYS = ("ours", "text, one statement", "text, row by row")
TEXT_IN_ONE = (
    "UPDATE messages t SET embedding = given.vector::vector "
    "FROM unnest($1::bigint[], $2::text[]) AS given (id, vector) WHERE t.id = given.id"
)


async def run(options: Options) -> list[Table]:
    """All ways in turns, batch by batch, into one table: whatever happens to the machine happens to each."""
    table = Table(
        title="write: storing vectors, 100 rows a transaction",
        columns=("dimensions", "HNSW", "way", "ms a row (p50)", "p90", "against ours"),
        notes=[
            (
                "ours: EmbeddingStore.write, binary, with everything (lock, text hash and space checked, jobs deleted, "
                "commit). text, row by row: SQLAlchemy's `Vector` type and an UPDATE for each row (executemany). text, "
                "one statement: what remains of the difference when only the encoding differs. Neither text way checks "
                "anything."
            )
        ],
    )
    for dimensions in (256, 1536):
        for indexed in (False, True):
            async with stage() as made:
                found = await _write(made, dimensions, indexed=indexed, rounds=options.count(15, 4))
            usual = percentile(found["ours"], 0.5)
            for way in WAYS:
                middle = percentile(found[way], 0.5)
                table.rows.append(
                    (
                        dimensions,
                        "yes" if indexed else "no",
                        way,
                        middle / BATCH * 1000,
                        percentile(found[way], 0.9) / BATCH * 1000,
                        f"{middle / usual:.1f} x",
                    )
                )
            say(f"write: {dimensions} dimensions, index {indexed}: {[row[-1] for row in table.rows[-3:]]}")
    return [table]


async def _write(made: Stage, dimensions: int, *, indexed: bool, rounds: int) -> dict[str, list[float]]:
    database = made.winnow.database
    async with database.transaction() as connection:
        identity = EmbedderIdentity(provider="bench", model=f"random-{dimensions}")
        space = await create_space(connection, identity, [1.0] * dimensions)
        if not indexed:
            await connection.exec_driver_sql("DROP INDEX messages_nearest")
    rows = await _rows(made, BATCH * len(WAYS) * (rounds + 1))
    # A pool that does not know the binary form, as SQLAlchemy's type wants it.
    engine = engine_for(made.servers.database_url, speaks_vectors=False)
    random = np.random.default_rng(1)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        for number in range(rounds + 1):
            for place, way in enumerate(WAYS):
                start = (number * len(WAYS) + place) * BATCH
                ids = rows[start : start + BATCH]
                vectors = random.standard_normal((BATCH, dimensions), dtype=np.float32)
                seconds = await _one(way, database=database, engine=engine, space=space, ids=ids, vectors=vectors)
                if number:  # the first round warms up
                    found[way].append(seconds)
    finally:
        await engine.dispose()
    return found


async def _rows(made: Stage, count: int) -> list[int]:
    now = datetime.now(UTC)
    said = [
        IncomingMessage(source="bench", channel="bench", external_id=str(n), author="a", text=f"text {n}", sent_at=now)
        for n in range(count)
    ]
    return list((await ingest(silent_units(made.winnow), said, lane=Lane.BULK)).ids)


async def _one(
    way: str, *, database: Database, engine: AsyncEngine, space: Space, ids: Sequence[int], vectors: NDArray[np.float32]
) -> float:
    if way == "ours":
        return await _ours(database, space, ids, vectors)
    started = time.perf_counter()
    async with engine.begin() as connection:
        if way == "text, one statement":
            texts = [f"[{','.join(map(str, vector.tolist()))}]" for vector in vectors]
            await connection.exec_driver_sql(TEXT_IN_ONE, (list(ids), texts))
        else:
            table = SqlTable("messages", MetaData(), Column("id", BigInteger), Column("embedding", Vector()))
            statement = update(table).where(table.c.id == bindparam("row")).values(embedding=bindparam("vector"))
            values = [{"row": row, "vector": vector} for row, vector in zip(ids, vectors, strict=True)]
            await connection.execute(statement, values)
    return time.perf_counter() - started


async def _ours(database: Database, space: Space, ids: Sequence[int], vectors: NDArray[np.float32]) -> float:
    store = EmbeddingStore(database)
    lease = Lease(kind=Kind.MESSAGES, space=space, token=uuid4(), worker="bench", seconds=60)
    claimed = await store.claim(lease, ids)
    texts = await store.read(lease, list(claimed))
    by_id = dict(zip(ids, vectors, strict=True))
    started = time.perf_counter()
    written = await store.write(lease, texts, by_id)
    seconds = time.perf_counter() - started
    if len(written) != len(ids):
        raise AssertionError(f"{len(written)} of {len(ids)} vectors were written")
    return seconds
