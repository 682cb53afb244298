"""A large backfill takes the index away and builds it at the end; whatever ends it, somebody builds the index."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import asyncpg
import pytest

from plugins.backfilling import Heard, Workforce
from plugins.indexes import assert_searches_are_right, definition, free, state_of
from plugins.jetstream import eventually
from plugins.pipeline import RecordingDispatcher, SteeredEmbedder, add_messages, another
from winnow.domain.jobs import Kind
from winnow.pipeline.backfill import Backfilling
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.indexing import Load, building_after_is_cheaper, mend_indexes
from winnow.storage.indexes import build_memory_bytes, graph_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from plugins.model_servers import OllamaServer
    from winnow.pipeline.embed import Embedding
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES
AWAY = "the index of messages is away for this load and built after it; searches read every row meanwhile"
NOT_BUILT = "the index of messages is not built yet: `winnow up` and `winnow sweeper` do that, when they run"
HERE = Plan(inline=True)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """An ear, where twenty rows are many."""
    monkeypatch.setattr("winnow.pipeline.indexing.LEAST_BACKLOG", 20)
    monkeypatch.setattr("winnow.pipeline.indexing.DROP_PAUSE_SECONDS", 0.01)
    return Heard()


@pytest.fixture
def tools(database: Database, store: EmbeddingStore, embedding: Embedding) -> Backfilling:
    """A backfill that does the work itself."""
    nobody = Workforce(there=False)
    return Backfilling(
        database=database, store=store, dispatcher=RecordingDispatcher(), workforce=nobody, embedding=embedding
    )


async def test_a_large_backfill_builds_the_index_after_the_load(
    tools: Backfilling, heard: Heard, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(300)])
    seen: list[bool] = []

    async def look(_texts: Sequence[str]) -> None:
        state = await state_of(database)
        seen.append(state.valid)
        assert state.held
        if len(seen) > 1:
            await assert_searches_are_right(tools.embedding, database, sql)
        assert await mend_indexes(database) == 0, "nobody builds it under the load"

    embedder.during = look
    done = await heard.run(tools, HERE)
    assert (done.success, seen) == (300, [False] * 3)
    assert heard.words[0] == AWAY
    assert heard.words[1].startswith("the index of messages was built in ")
    assert (done.index_seconds > 0, done.index) == (True, None)
    state = await state_of(database)
    assert (state.valid, state.held) == (True, False)
    assert "USING hnsw (embedding vector_cosine_ops)" in (await definition(sql) or "")
    await assert_searches_are_right(tools.embedding, database, sql)
    assert await mend_indexes(database) == 0


async def test_each_kind_is_judged_by_itself(tools: Backfilling, heard: Heard, sql: asyncpg.Connection) -> None:
    await add_messages(sql, ["one", "two"])
    await sql.execute("INSERT INTO topics (name) SELECT 'topic ' || n FROM generate_series(1, 30) AS n")
    assert (await heard.run(tools, HERE)).success == 32
    assert heard.words[0] == AWAY.replace("messages", "topics")
    assert [words for words in heard.words if "messages" in words] == []


@pytest.mark.parametrize(
    ("stored", "fresh", "limit"), [(0, 19, None), (200, 30, None), (0, 100, 15)], ids=["few", "a small part", "limit"]
)
async def test_a_small_backfill_leaves_the_index_where_it_is(
    *, stored: int, fresh: int, limit: int | None, tools: Backfilling, heard: Heard, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"old {number}" for number in range(stored)])
    await embed_rows(tools.embedding, M, ids)
    await add_messages(sql, [f"text {number}" for number in range(fresh)])
    assert (await heard.run(tools, Plan(inline=True, limit=limit))).success == min(fresh, limit or fresh)
    assert heard.words == []


async def test_a_graph_that_does_not_fit_into_memory_is_built_in_place(
    tools: Backfilling, heard: Heard, database: Database, sql: asyncpg.Connection
) -> None:
    """PostgreSQL goes on building such a graph on disk, which takes longer than rows put in one by one."""
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET maintenance_work_mem = '1MB'")
    await add_messages(sql, [f"text {number}" for number in range(50)])
    assert (await heard.run(tools, HERE)).success == 50
    assert heard.words == []
    assert await build_memory_bytes(database) == 4 * 2**20


async def test_a_table_that_is_in_use_keeps_its_index(
    tools: Backfilling, heard: Heard, database_url: str, sql: asyncpg.Connection
) -> None:
    """A long read is not waited for, for behind the one who waits all others would."""
    await tools.embedding.spaces.ours()
    await add_messages(sql, [f"text {number}" for number in range(50)])
    reader = await asyncpg.connect(database_url)
    async with reader.transaction():
        await reader.fetch("SELECT FROM messages")
        assert (await heard.run(tools, HERE)).success == 50
    await reader.close()
    assert heard.words == []
    assert "USING hnsw" in (await definition(sql) or "")


async def test_two_backfills_at_once_build_it_once(
    tools: Backfilling, heard: Heard, database: Database, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(300)])
    other = Backfilling(
        database=database,
        store=tools.store,
        dispatcher=tools.dispatcher,
        workforce=tools.workforce,
        embedding=another(tools.embedding, database, embedder),
    )
    ears = [heard, Heard()]
    done = await asyncio.gather(heard.run(tools, Plan(inline=True, batch_size=20)), ears[1].run(other, HERE))
    assert sum(one.success for one in done) >= 300
    assert [ear.words.count(AWAY) for ear in ears].count(1) == 1, "whoever came first took it away"
    assert (await state_of(database)).valid
    await assert_searches_are_right(tools.embedding, database, sql)


async def test_a_session_that_was_ended_with_the_index_in_hand_costs_nothing_but_time(
    tools: Backfilling, heard: Heard, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(300)])

    async def end_session(_texts: Sequence[str]) -> None:
        if len(embedder.calls) == 2:
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks "
                "WHERE locktype = 'advisory' AND classid = x'77696e69'::int::oid "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            await eventually(lambda: free(database))
            assert await mend_indexes(database) == 1, "nobody has it in hand any more"

    embedder.during = end_session
    assert (await heard.run(tools, HERE)).success == 300
    assert heard.words == [AWAY]
    assert (await state_of(database)).valid
    await assert_searches_are_right(tools.embedding, database, sql)


async def test_an_interrupted_backfill_says_so_and_the_index_is_mended(
    tools: Backfilling, heard: Heard, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(300)])
    thinking = asyncio.Event()

    async def think(_texts: Sequence[str]) -> None:
        if len(embedder.calls) > 1:
            thinking.set()
            await asyncio.sleep(60)

    embedder.during = think
    running = asyncio.create_task(heard.run(tools, HERE))
    await thinking.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert heard.words == [AWAY, NOT_BUILT]
    assert await definition(sql) is None
    await assert_searches_are_right(tools.embedding, database, sql)
    await eventually(lambda: free(database))
    assert await mend_indexes(database) == 1
    assert (await state_of(database)).valid
    await assert_searches_are_right(tools.embedding, database, sql)


async def test_a_backfill_without_rows_builds_what_an_earlier_one_left(
    tools: Backfilling, heard: Heard, database: Database, sql: asyncpg.Connection
) -> None:
    await embed_rows(tools.embedding, M, await add_messages(sql, ["one"]))
    await sql.execute("DROP INDEX messages_nearest")
    done = await heard.run(tools, HERE)
    assert (done.total, (await state_of(database)).valid) == (0, True)


async def test_the_real_program_killed_in_the_middle_leaves_nothing_that_is_not_mended(
    database_url: str, database: Database, ollama_server: OllamaServer, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(5_100)])
    ollama_server.dimensions = 8
    ollama_server.delay_seconds = 0.05
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "NATS_URL": "nats://127.0.0.1:9",
        "WINNOW_EMBEDDER": "ollama:nomic-embed-text",
        "WINNOW_OLLAMA_URL": ollama_server.url,
    }
    with (tmp_path / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "winnow.cli.entry", "backfill", "--inline",
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        await eventually(lambda: sql.fetchval("SELECT count(*) > 0 FROM messages WHERE embedding IS NOT NULL"))
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert await sql.fetchval("SELECT count(*) > 0 FROM messages WHERE embedding IS NULL")
    assert await definition(sql) is None
    await eventually(lambda: free(database))
    assert await mend_indexes(database) == 1
    assert (await state_of(database)).valid


# -- the choice


@pytest.mark.parametrize(
    ("embedded", "backlog", "dimensions", "memory_mb", "after"),
    [
        (0, 100_000, 1536, 1024, True),
        (0, 100_000, 1536, 256, False),  # 660 MB do not fit
        (0, 100_000, 256, 256, True),
        (0, 100_000, 3072, 1024, True),  # halfvec
        (0, 4_999, 256, 1024, False),
        (0, 5_000, 256, 1024, True),
        (90_000, 10_000, 256, 1024, False),
        (70_000, 30_000, 256, 1024, True),
        (0, 0, 256, 1024, False),
    ],
)
def test_an_index_is_built_after_the_load_where_that_is_cheaper(
    embedded: int, backlog: int, dimensions: int, memory_mb: int, after: bool
) -> None:
    load = Load(embedded=embedded, backlog=backlog)
    assert building_after_is_cheaper(load, dimensions=dimensions, memory_bytes=memory_mb * 2**20) is after


@pytest.mark.parametrize(("dimensions", "kind"), [(64, "vector"), (1024, "vector"), (2048, "halfvec")])
async def test_the_graph_takes_no_more_memory_than_is_reckoned_with(
    dimensions: int, kind: str, database_url: str, sql: asyncpg.Connection
) -> None:
    """pgvector says so when a graph has outgrown `maintenance_work_mem`, of which it takes a mebibyte at a time."""
    rows, notices = 1500, []
    other: Any = await asyncpg.connect(database_url)
    other.add_log_listener(lambda _connection, message: notices.append(message.message))
    await other.execute(f"CREATE TABLE vectors (embedding {kind}({dimensions}))")
    await other.execute(
        "INSERT INTO vectors SELECT (SELECT array_agg(hashint8(n * 10000 + place) / 2147483648.0) "
        f"FROM generate_series(1, {dimensions}) AS place)::{kind} FROM generate_series(1, {rows}) AS n"
    )
    await other.execute("SET max_parallel_maintenance_workers = 0")
    reckoned = graph_bytes(rows, dimensions)
    for memory in (reckoned + 2 * 2**20, int(reckoned * 0.8)):
        assert notices == []
        await other.execute(f"SET maintenance_work_mem = '{memory // 1024} kB'")
        await other.execute(f"CREATE INDEX ON vectors USING hnsw (embedding {kind}_cosine_ops)")
    await other.close()
    assert notices[0].startswith("hnsw graph no longer fits"), "nor much less"
