"""The worker against the bare loop: where the database is the limit, and where the model server is."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.bare_embedder import BareEmbedder, bare_embedder
from bench.model_server import Manner, model_server
from bench.stage import stage
from bench.tables import Table, say

from winnow.domain.jobs import EmbedJob, Kind, Lane, in_batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from bench.stage import Stage
    from bench.tables import Options

POLL_SECONDS = 0.05
LONGEST_SECONDS = 300.0
SETTLE_SECONDS = 1.0
FILL = (
    "INSERT INTO messages (source, channel, external_id, text, sent_at) "
    "SELECT 'bench', 'bench', n::text, 'what was said at number ' || n || ' is said but once', now() "
    "FROM generate_series($1::bigint, $2::bigint) AS n RETURNING id"
)
# Once the last row has its vector, mostly all have: looking at one row costs next to nothing.
LAST = "SELECT embedding IS NULL FROM messages WHERE id = $1"
LEFT = "SELECT EXISTS (SELECT FROM messages WHERE embedding IS NULL AND id BETWEEN $1 AND $2)"
TARGETS = {"openai": 0.9, "ollama": 0.85}
CAPACITY_TARGET = 0.95

AT_ONCE = Manner(dimensions=1536)
# Small vectors: here the server shall be the limit, and not the index.
LIKE_OLLAMA = Manner(dimensions=384, request_seconds=0.02, text_seconds=0.005, one_at_a_time=True)
# 500 requests a minute: less than two requests at a time could be.
LIKE_OPENAI = Manner(dimensions=384, request_seconds=0.15, requests_per_second=500 / 60)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A worker, a bare loop and a model server for both."""

    made: Stage
    bare: BareEmbedder

    async def rows(self, count: int) -> list[int]:
        """New messages, each with a text of its own; nobody is told of them."""
        async with self.made.winnow.database.autocommit() as connection:
            most = (await connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM messages")).scalar_one()
            rows = await connection.exec_driver_sql(FILL, (most + 1, most + count))
            return sorted(row.id for row in rows)

    async def ours(
        self, ids: Sequence[int], *, lane: Lane = Lane.BULK, longest_seconds: float = LONGEST_SECONDS
    ) -> float:
        """Seconds from sending the tasks to the last vector."""
        started = time.perf_counter()
        jobs = list(in_batches([EmbedJob(Kind.MESSAGES, tuple(ids))], self.made.settings.batch_size))
        await self.made.winnow.dispatcher.dispatch(jobs, lane)
        async with asyncio.timeout(longest_seconds), self.made.winnow.database.autocommit() as connection:
            for question, about in ((LAST, (ids[-1],)), (LEFT, (ids[0], ids[-1]))):
                while (await connection.exec_driver_sql(question, about)).scalar_one():
                    await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter() - started


@asynccontextmanager
async def benches(style: str, manner: Manner, *, lanes: str = "bulk", **settings: object) -> AsyncIterator[Bench]:
    """Everything for one kind of server; the worker serves these lanes, and has these settings besides."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(model_server(manner))
        address = {"openai_url": f"{url}/v1"} if style == "openai" else {"ollama_url": url}
        made = await stack.enter_async_context(
            stage(("worker", "--lanes", lanes), embedder=f"{style}:bench", **address, **settings)
        )
        bare = await stack.enter_async_context(bare_embedder(style, url, made.servers.database_url))
        yield Bench(made=made, bare=bare)


async def run(options: Options) -> list[Table]:
    """Blocks in turns, ours first in one round and last in the next, for the graph grows meanwhile."""
    return [await _against_bare(options), await _against_capacity(options)]


async def _against_bare(options: Options) -> Table:
    table = Table(
        title="embedding: a model server that answers at once, 1,536 dimensions, HNSW in place",
        columns=("server", "rows in the graph", "rows each", "bare: rows/s", "worker: rows/s", "ratio", "target"),
        notes=[
            (
                "Bare: read, ask, write, two connections, nothing else (bench/bare_embedder.py). Worker: `winnow "
                "worker` as it is (four tasks at a time), from sending the tasks to the last vector. Blocks in turns "
                "in one table, every vector another; the ratio is of the sums, behind it that of each round."
            ),
        ],
    )
    base, block, rounds = options.count(5000, 1000), options.count(3000, 500), options.count(4, 2)
    for style, target in TARGETS.items():
        async with benches(style, AT_ONCE) as bench:
            await bench.ours(await bench.rows(500))  # both have their connections and statements
            await bench.bare.embed(await bench.rows(500))
            await bench.bare.embed(await bench.rows(max(base - 1000, 100)))
            ours, bare = [], []
            for number in range(rounds):
                for is_ours in (True, False) if number % 2 else (False, True):
                    ids = await bench.rows(block)
                    if is_ours:
                        ours.append(await bench.ours(ids))
                    else:
                        bare.append(await bench.bare.embed(ids))
        rows = block * rounds
        each = ", ".join(f"{theirs / mine:.2f}" for mine, theirs in zip(ours, bare, strict=True))
        ratio = sum(bare) / sum(ours)
        last = max(base, 1100) + 2 * rows
        table.rows.append(
            (
                style,
                f"{max(base, 1100):,} to {last:,}",
                rows,
                rows / sum(bare),
                rows / sum(ours),
                f"{ratio:.3f} ({each})",
                f"{target}: {'met' if ratio >= target else 'MISSED'}",
            )
        )
        say(f"embedding: {table.rows[-1]}")
    return table


async def _against_capacity(options: Options) -> Table:
    table = Table(
        title="embedding: a model server that takes its time",
        columns=("server", "rows a task", "rows each", "capacity: rows/s", "worker: rows/s", "of it", "target"),
        notes=[
            (
                "Capacity: the same requests (texts of a request, two at a time) by the bare loop, which writes "
                "nothing. Like Ollama: one request at a time, 20 ms and 5 ms a text. Like OpenAI: 150 ms a request, "
                "500 requests a minute and 429 beyond them, with the time to wait. 384 dimensions; with 100 rows a "
                "task, so 833 rows/s, the index in place is the limit on two cores, and not the server."
            ),
        ],
    )
    rounds = options.count(3, 1)
    for style, manner, name, batch, full in (
        ("ollama", LIKE_OLLAMA, "like Ollama", 100, 4000),
        ("openai", LIKE_OPENAI, "like OpenAI", 50, 8000),
        ("openai", LIKE_OPENAI, "like OpenAI", 100, 8000),
    ):
        block = options.count(full, full // 4)
        async with benches(style, manner, batch_size=batch) as bench:
            await bench.ours(await bench.rows(200))
            await bench.bare.embed(await bench.rows(200), write=False)
            ours, bare = [], []
            for number in range(rounds):
                for is_ours in (True, False) if number % 2 else (False, True):
                    ids = await bench.rows(block)
                    await asyncio.sleep(SETTLE_SECONDS)  # the server's patience is as large for both
                    if is_ours:
                        ours.append(await bench.ours(ids))
                    else:
                        bare.append(await bench.bare.embed(ids, write=False, batch=batch))
        share, rows = sum(bare) / sum(ours), block * rounds
        met = "met" if share >= CAPACITY_TARGET else "MISSED"
        figures = (rows / sum(bare), rows / sum(ours), f"{share:.3f}")
        table.rows.append((name, batch, rows, *figures, f"{CAPACITY_TARGET}: {met}"))
        say(f"embedding: {table.rows[-1]}")
    return table
