"""A large backlog: what claiming a row costs beside ten thousand others and half a million, and the worker's size."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
from bench.embedding import FILL
from bench.model_server import Manner, model_server
from bench.stage import stage
from bench.tables import Table, percentile, say

from winnow.domain.jobs import EmbedJob, Kind, Lane, in_batches
from winnow.storage.embedding_records import Lease
from winnow.storage.embeddings import EmbeddingStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stage import Stage
    from bench.tables import Options

    from winnow.domain.jobs import Job

BATCH = 100
MEBIBYTE = 2**20
MOST_MEBIBYTES = 256
FLAT = 1.25
SAMPLE_SECONDS = 0.1
WAITING = (
    "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, error_kind, error, waits, not_before) "
    "SELECT 'messages', n, (SELECT id FROM embedding_spaces), 'waiting', 'ProviderBusy', 'busy', 1, now() "
    "FROM generate_series($1::bigint, $2::bigint) AS n"
)


async def run(options: Options) -> list[Table]:
    """Sizes one after the other in one growing table."""
    sizes = [10_000, 30_000] if options.quick else [10_000, 100_000, 500_000]
    return [await _claims(options, sizes), await _memory(options, sizes)]


# -- claims


async def _claims(options: Options, sizes: Sequence[int]) -> Table:
    table = Table(
        title="backlog: claiming 100 rows",
        columns=("rows queued", "as", "µs a row (p50)", "p90", "times the smallest", "target"),
        notes=[
            (
                "`EmbeddingStore.claim` of 100 neighbouring rows at random places, each claim given back. NULL: rows "
                "nobody has touched. Due: each has a line in embedding_jobs, left by a model server that was away."
            )
        ],
    )
    for how in ("NULL", "due"):
        async with stage() as made:
            first, queued = 0.0, 0
            for size in sizes:
                await queue(made, queued + 1, size, due=how == "due")
                queued = size
                seconds = await _claim(made, size, times=options.count(300, 60))
                middle = percentile(seconds, 0.5)
                first = first or middle
                times = middle / first
                met = "met" if times <= FLAT else "MISSED"
                row = (size, how, middle / BATCH * 1e6, percentile(seconds, 0.9) / BATCH * 1e6, f"{times:.2f}")
                table.rows.append((*row, f"{FLAT}: {met}"))
                say(f"backlog: {table.rows[-1]}")
    return table


async def queue(made: Stage, start: int, end: int, *, due: bool = False) -> list[int]:
    """Messages without a vector, their ids from `start` to `end`; `due`: as a server that was away has left them."""
    async with made.winnow.database.autocommit() as connection:
        rows = await connection.exec_driver_sql(FILL, (start, end))
        ids = sorted(row.id for row in rows)
        if due:
            await connection.exec_driver_sql(WAITING, (ids[0], ids[-1]))
        await connection.exec_driver_sql("VACUUM ANALYZE messages, embedding_jobs")
    return ids


async def _claim(made: Stage, size: int, *, times: int) -> list[float]:
    store, space = EmbeddingStore(made.winnow.database), await made.winnow.spaces.ours()
    chance, seconds = random.Random(size), []
    for number in range(times + 20):
        start = chance.randrange(1, size - BATCH)
        ids = range(start, start + BATCH)
        lease = Lease(kind=Kind.MESSAGES, space=space, token=uuid4(), worker="bench", seconds=60)
        started = time.perf_counter()
        claimed = await store.claim(lease, ids)
        if number >= 20:  # the first ones warm up
            seconds.append(time.perf_counter() - started)
        await store.release(lease, claimed)
        if not claimed:
            raise AssertionError(f"nothing was free among {start} to {start + BATCH}")
    return seconds


# -- memory


async def _memory(options: Options, sizes: Sequence[int]) -> Table:
    worked = options.count(10_000, 2_000)
    table = Table(
        title="backlog: memory of a worker",
        columns=("embedder", "rows queued", "peak RSS, MiB", "target"),
        notes=[
            (
                "Tasks of 100 rows for all of them in the bulk lane; the worker's resident memory from its start "
                f"until {worked:,} rows have their vectors, sampled ten times a second."
            )
        ],
    )
    for style in ("local", "openai", "ollama"):
        for size in (sizes[0], sizes[-1]):
            peak = await _peak(style, size, worked)
            met = "met" if peak < MOST_MEBIBYTES else "MISSED"
            table.rows.append((style, size, round(peak), f"{MOST_MEBIBYTES}: {met}"))
            say(f"backlog: {table.rows[-1]}")
    return table


async def _peak(style: str, size: int, worked: int) -> float:
    async with model_server(Manner(dimensions=1536)) as url:
        chosen = {"embedder": style if style == "local" else f"{style}:bench"}
        addresses = {"openai_url": f"{url}/v1", "ollama_url": url}
        async with stage(("worker",), **chosen, **addresses) as made:
            worker, peak = psutil.Process(made.pids()["worker"]), 0
            jobs = list(in_batches([EmbedJob(Kind.MESSAGES, tuple(await queue(made, 1, size)))], BATCH))
            sending = asyncio.create_task(_send(made, jobs), name="tasks")
            while (await made.winnow.embeddings.counts())[Kind.MESSAGES].embedded < min(worked, size):
                for _ in range(10):
                    peak = max(peak, worker.memory_info().rss)
                    await asyncio.sleep(SAMPLE_SECONDS)
            await sending
            return max(peak, worker.memory_info().rss) / MEBIBYTE


async def _send(made: Stage, jobs: Sequence[Job]) -> None:
    for start in range(0, len(jobs), 500):
        await made.winnow.dispatcher.dispatch(jobs[start : start + 500], Lane.BULK)
