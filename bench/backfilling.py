"""A backfill of an empty table beside the live path: the index built after the load against the index in place."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np
from bench.backlog import queue
from bench.bare_embedder import WRITE
from bench.embedding import Bench, benches
from bench.model_server import Manner
from bench.stage import stage
from bench.tables import Table, say
from pgvector import Vector

from winnow.domain.jobs import Kind, Lane
from winnow.domain.spaces import EmbedderIdentity
from winnow.pipeline.backfill import backfill
from winnow.pipeline.backfill_plan import Plan
from winnow.storage.indexes import drop_index, graph_bytes, index_session, index_states
from winnow.storage.spaces import create_space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stage import Stage
    from bench.tables import Options

    from winnow.pipeline.backfill_progress import Progress

TARGET = 2.0
MEBIBYTE = 2**20
LONGEST_SECONDS = 3600.0


async def run(options: Options) -> list[Table]:
    """The product's two ways, and then the bare database's."""
    return [await _against_live(options), await _even(options)]


async def _against_live(options: Options) -> Table:
    """Both ways, each over a table of its own, with the same worker and the same model server."""
    rows = options.count(100_000, 10_000)
    table = Table(
        title=f"backfilling: {rows:,} rows into an empty table",
        columns=(
            "dimensions",
            "live: rows/s",
            "backfill: rows/s",
            "s",
            "of it the index",
            "times the live path",
            "target",
        ),
        notes=[
            (
                "Live: tasks of 100 rows on the live lane, as after an import, with HNSW in place. Backfill: "
                "`winnow backfill` over the same worker (bulk lane), which takes the index away and builds it at the "
                "end; from its start to its end, index included. A model server that answers at once; every vector "
                "another. One after the other, not in turns: each needs the table for itself."
            ),
        ],
    )
    for dimensions in (384, 1536):
        live = await _live(dimensions, rows)
        done = await _backfill(dimensions, rows)
        times = live / done.seconds
        met = "met" if times >= TARGET else "MISSED"
        table.rows.append(
            (
                dimensions,
                rows / live,
                rows / done.seconds,
                done.seconds,
                f"{done.index_seconds / done.seconds:.0%}",
                f"{times:.2f}",
                f"{TARGET:g}: {met}",
            )
        )
        table.notes.append(f"{dimensions} dimensions: a graph of {graph_bytes(rows, dimensions) / MEBIBYTE:,.0f} MiB.")
        say(f"backfilling: {table.rows[-1]}")
    return table


async def _live(dimensions: int, rows: int) -> float:
    async with benches("openai", Manner(dimensions=dimensions), lanes="live") as bench:
        ids = await _rows(bench, rows)
        return await bench.ours(ids, lane=Lane.LIVE, longest_seconds=LONGEST_SECONDS)


async def _backfill(dimensions: int, rows: int) -> Progress:
    async with benches("openai", Manner(dimensions=dimensions)) as bench:
        winnow = bench.made.winnow
        await _rows(bench, rows)
        started = time.perf_counter()
        done = await backfill(winnow.backfilling(), Plan(), report=lambda _: None, say=say)
        seconds = time.perf_counter() - started
        if done.success != rows or done.inline or not all(state.valid for state in await index_states(winnow.database)):
            raise AssertionError(f"the backfill did something else than it should: {done}")
        say(f"backfilling: by its own account {done.seconds:.1f} s, from outside {seconds:.1f} s")
        return done


async def _rows(bench: Bench, count: int) -> list[int]:
    """New messages in an analysed table, as autovacuum leaves it a minute later."""
    ids = await bench.rows(count)
    async with bench.made.winnow.database.autocommit() as connection:
        await connection.exec_driver_sql(f"ANALYZE {Kind.MESSAGES.value}")
    return ids


# -- from which share of a table on


async def _even(options: Options) -> Table:
    """Where `pipeline/indexing.py` has its BACKLOG_SHARE and LEAST_BACKLOG from."""
    table = Table(
        title="backfilling: from which share of a table on, 1,536 dimensions",
        columns=("there", "to come", "share", "in place: s", "after: s", "of it the index", "gain"),
        notes=[
            (
                "Two writers of 100 random vectors a transaction, into the index in place or without it; after: drop, "
                "write, and build as the backfill does. No model, no queue."
            )
        ],
    )
    sizes = [
        (0, 1000),
        (0, 2000),
        (0, 5000),
        (8000, 2000),
        (16_000, 4000),
        (15_000, 5000),
        (14_000, 6000),
        (10_000, 5000),
    ]
    for there, to_come in sizes[: options.count(len(sizes), 4)]:
        in_place, _ = await _write(there, to_come, after=False)
        after, index = await _write(there, to_come, after=True)
        share = to_come / (there + to_come)
        table.rows.append(
            (there, to_come, f"{share:.2f}", in_place, after, f"{index / after:.0%}", f"{in_place / after:.2f}")
        )
        say(f"backfilling: {table.rows[-1]}")
    return table


async def _write(there: int, to_come: int, *, after: bool) -> tuple[float, float]:
    """Seconds of the whole, and of the build."""
    async with stage() as made:
        database = made.winnow.database
        async with database.transaction() as connection:
            await create_space(connection, EmbedderIdentity(provider="bench", model="random"), [1.0] * 1536)
        ids = await queue(made, 1, there + to_come)
        async with index_session(database) as session:
            await session.take(Kind.MESSAGES)
            if there:
                await drop_index(database, Kind.MESSAGES)
                await _two_writers(made, ids[:there])
                await session.build(Kind.MESSAGES)
            started = time.perf_counter()
            if after:
                await drop_index(database, Kind.MESSAGES)
            await _two_writers(made, ids[there:])
            written = time.perf_counter()
            if after:
                await session.build(Kind.MESSAGES)
            return time.perf_counter() - started, time.perf_counter() - written


async def _two_writers(made: Stage, ids: Sequence[int]) -> None:
    batches = [list(ids[start : start + 100]) for start in range(0, len(ids), 100)]

    async def write(seed: int) -> None:
        random = np.random.default_rng(seed)
        while batches:
            rows = batches.pop()
            vectors = [Vector(vector) for vector in random.standard_normal((len(rows), 1536), dtype=np.float32)]
            async with made.winnow.database.autocommit() as connection:
                await connection.exec_driver_sql(WRITE, (rows, vectors))

    await asyncio.gather(*(write(len(ids) * 2 + number) for number in range(2)))
