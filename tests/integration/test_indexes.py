"""An index that is away for a load, or broken, is built again by somebody; searches are right all the time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
import pytest

from plugins.jetstream import eventually
from plugins.pipeline import RecordingDispatcher, SteeredEmbedder, add_messages, another
from winnow.domain.jobs import Kind, Lane
from winnow.errors import DatabaseUnavailable
from winnow.pipeline.backfill import Backfilling, Plan, Progress, backfill
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.indexing import Load, building_after_is_cheaper, mend_indexes
from winnow.pipeline.spaces import Spaces
from winnow.storage.indexes import IndexState, build_memory_bytes, drop_index, graph_bytes, index_session, index_states
from winnow.storage.search import nearest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from plugins.model_servers import OllamaServer
    from winnow.pipeline.embed import Embedding
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES
AWAY = "the index of messages is away for this load and built after it; searches read every row meanwhile"
NOT_BUILT = "the index of messages is not built yet: the sweeper does that; searches read every row until then"
QUERY = "text 7"


class NobodyWorks:
    """No worker, anywhere."""

    async def present(self, lane: Lane) -> bool:
        return False


@dataclass
class Heard:
    """What a backfill reported and said."""

    reports: list[Progress] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    async def run(self, tools: Backfilling, plan: Plan | None = None) -> Progress:
        return await backfill(tools, plan or Plan(inline=True), report=self.reports.append, say=self.words.append)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """An ear, where twenty rows are many."""
    monkeypatch.setattr("winnow.pipeline.indexing.LEAST_BACKLOG", 20)
    monkeypatch.setattr("winnow.pipeline.indexing.DROP_PAUSE_SECONDS", 0.01)
    return Heard()


@pytest.fixture
def tools(store: EmbeddingStore, embedding: Embedding) -> Backfilling:
    """A backfill that does the work itself."""
    return Backfilling(store=store, dispatcher=RecordingDispatcher(), workforce=NobodyWorks(), embedding=embedding)


async def state_of(database: Database, kind: Kind = M) -> IndexState:
    (state,) = await index_states(database, [kind])
    return state


async def definition(sql: asyncpg.Connection, kind: Kind = M) -> str | None:
    found: str | None = await sql.fetchval("SELECT indexdef FROM pg_indexes WHERE indexname = $1", f"{kind}_nearest")
    return found


async def assert_searches_are_right(embedding: Embedding, database: Database, sql: asyncpg.Connection) -> None:
    """The nearest rows are those that a look at every vector finds."""
    embedder = embedding.embedder
    assert isinstance(embedder, SteeredEmbedder)
    query = embedder.vector(QUERY)
    rows = await sql.fetch("SELECT id, embedding FROM messages WHERE embedding IS NOT NULL")
    scores = {row["id"]: float(np.dot(np.asarray(row["embedding"].to_list()), query)) for row in rows}
    found = await nearest(database, M, query, await embedding.spaces.ours())
    assert rows
    assert sorted(found.values(), reverse=True)[:10] == pytest.approx(sorted(scores.values(), reverse=True)[:10], abs=1e-5)


# -- a backfill


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
    done = await heard.run(tools)
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
    assert (await heard.run(tools)).success == 32
    assert heard.words[0] == AWAY.replace("messages", "topics")
    assert [words for words in heard.words if "messages" in words] == []


@pytest.mark.parametrize(
    ("stored", "fresh", "limit"), [(0, 19, None), (200, 30, None), (0, 100, 15)], ids=["few", "a small part", "limit"]
)
async def test_a_small_backfill_leaves_the_index_where_it_is(
    stored: int, fresh: int, limit: int | None, tools: Backfilling, heard: Heard, sql: asyncpg.Connection
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
    assert (await heard.run(tools)).success == 50
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
        assert (await heard.run(tools)).success == 50
    await reader.close()
    assert heard.words == []
    assert "USING hnsw" in (await definition(sql) or "")


async def test_two_backfills_at_once_build_it_once(
    tools: Backfilling, heard: Heard, database: Database, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(300)])
    other = Backfilling(
        store=tools.store,
        dispatcher=tools.dispatcher,
        workforce=tools.workforce,
        embedding=another(tools.embedding, database, embedder),
    )
    ears = [heard, Heard()]
    done = await asyncio.gather(heard.run(tools, Plan(inline=True, batch_size=20)), ears[1].run(other))
    assert sum(one.success for one in done) >= 300
    assert [ear.words.count(AWAY) for ear in ears].count(1) == 1, "whoever came first took it away"
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
    running = asyncio.create_task(heard.run(tools))
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


async def free(database: Database) -> bool:
    return not (await state_of(database)).held


async def test_a_backfill_without_rows_builds_what_an_earlier_one_left(
    tools: Backfilling, heard: Heard, database: Database, sql: asyncpg.Connection
) -> None:
    await embed_rows(tools.embedding, M, await add_messages(sql, ["one"]))
    await sql.execute("DROP INDEX messages_nearest")
    done = await heard.run(tools)
    assert (done.total, (await state_of(database)).valid) == (0, True)


async def test_an_index_is_built_to_the_measure_of_the_space_that_is_active_then(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    """Nothing was stored yet when the index was taken away, so another embedder could still take the columns."""
    await embedding.spaces.ours()
    async with index_session(database) as session:
        assert await session.take(M)
        await drop_index(database, M)
        await Spaces(database, SteeredEmbedder(model="wide", dimensions=2001)).ours()
        assert not await session.build(M), "the new space has brought its own"
        await drop_index(database, M)
        assert await session.build(M)
    assert "embedding)::halfvec(2001)) halfvec_cosine_ops" in (await definition(sql) or "")


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
            sys.executable, "-m", "winnow.cli.main", "backfill", "--inline",
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


# -- mending


@pytest.fixture
async def filled(embedding: Embedding, sql: asyncpg.Connection) -> list[int]:
    """Fifty messages with vectors."""
    ids = await add_messages(sql, [f"text {number}" for number in range(50)])
    await embed_rows(embedding, M, ids)
    return ids


@pytest.mark.usefixtures("filled")
async def test_what_is_missing_is_built_and_all_being_well_nothing(database: Database, sql: asyncpg.Connection) -> None:
    assert await mend_indexes(database) == 0
    await sql.execute("DROP INDEX messages_nearest")
    await sql.execute("DROP INDEX atoms_nearest")
    assert await mend_indexes(database) == 2
    assert [state.valid for state in await index_states(database)] == [True] * len(Kind)
    assert await mend_indexes(database) == 0


async def test_before_the_first_space_and_above_4000_dimensions_there_is_nothing_to_mend(database: Database) -> None:
    assert await mend_indexes(database) == 0
    await Spaces(database, SteeredEmbedder(dimensions=4096)).ours()
    assert await mend_indexes(database) == 0


@pytest.mark.usefixtures("filled")
async def test_of_several_processes_one_builds(database: Database, database_url: str, sql: asyncpg.Connection) -> None:
    await sql.execute("DROP INDEX messages_nearest")
    assert sum(await asyncio.gather(*(mend_indexes(database) for _ in range(4)))) == 1
    assert (await state_of(database)).valid


@pytest.mark.usefixtures("filled")
async def test_an_index_in_somebody_s_hand_is_left_to_him(database: Database, sql: asyncpg.Connection) -> None:
    async with index_session(database) as session:
        assert await session.take(M)
        await sql.execute("DROP INDEX messages_nearest")
        assert await mend_indexes(database) == 0
        async with index_session(database) as second:
            assert not await second.take(M)
            assert await second.take(Kind.ATOMS)
    await eventually(lambda: free(database))
    assert await mend_indexes(database) == 1


@asynccontextmanager
async def stuck_build(
    database: Database, database_url: str, sql: asyncpg.Connection, hindrance: str, phase: str
) -> AsyncIterator[asyncio.Task[int]]:
    """A build that waits for a transaction of somebody else, in this phase."""
    await sql.execute("DROP INDEX messages_nearest")
    other = await asyncpg.connect(database_url)
    try:
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await other.execute(hindrance)
        building = asyncio.create_task(mend_indexes(database, tell=lambda _: None))
        await eventually(lambda: is_in_phase(database, phase))
        yield building
        await asyncio.gather(building, return_exceptions=True)
    finally:
        await other.close()


async def is_in_phase(database: Database, phase: str) -> bool:
    return (await state_of(database)).phase == phase


HINDRANCES = [
    pytest.param("UPDATE messages SET importance = 1", "waiting for writers before build", id="before it is built"),
    pytest.param("SELECT 1", "waiting for old snapshots", id="built, writes pay for it, and invalid"),
]


@pytest.mark.parametrize(("hindrance", "phase"), HINDRANCES)
@pytest.mark.parametrize("how", ["its session ended", "cancelled"])
@pytest.mark.usefixtures("filled")
async def test_what_a_killed_build_leaves_is_found_and_built_again(
    *,
    how: str,
    hindrance: str,
    phase: str,
    database: Database,
    database_url: str,
    embedding: Embedding,
    sql: asyncpg.Connection,
) -> None:
    async with stuck_build(database, database_url, sql, hindrance, phase) as building:
        state = await state_of(database)
        assert (state.valid, state.held, state.building) == (False, True, True)
        assert state.built == (0.0 if "before" in phase else 1.0)
        await assert_searches_are_right(embedding, database, sql)
        assert await mend_indexes(database) == 0, "somebody is at it"
        if how == "cancelled":
            building.cancel()
        else:
            await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else DatabaseUnavailable):
            await building
        await eventually(lambda: free(database))
    assert await definition(sql) is not None, "the leftover, that `IF NOT EXISTS` would take for the index"
    await assert_searches_are_right(embedding, database, sql)
    more = await add_messages(sql, ["text 7 again"])
    await embed_rows(embedding, M, more)
    assert await mend_indexes(database) == 1
    state = await state_of(database)
    assert (state.valid, state.held, state.building) == (True, False, False)
    await assert_searches_are_right(embedding, database, sql)


@pytest.mark.usefixtures("filled")
async def test_a_build_keeps_nobody_waiting(
    database: Database, database_url: str, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    hindrance = "UPDATE messages SET importance = 1 WHERE id = 1"
    async with stuck_build(database, database_url, sql, hindrance, "waiting for writers before build") as building:
        async with asyncio.timeout(10):
            more = await add_messages(sql, ["written meanwhile"])
            assert (await embed_rows(embedding, M, more)).embedded == 1
            await assert_searches_are_right(embedding, database, sql)
        assert not building.done()
        await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        assert await building == 1
    assert (await state_of(database)).valid


@pytest.mark.usefixtures("filled")
async def test_where_shared_memory_does_not_suffice_the_index_is_built_without_helpers(
    database: Database, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with 64 MB of /dev/shm: here more is asked for than any machine has."""
    if await sql.fetchval("SHOW dynamic_shared_memory_type") != "posix":
        pytest.skip("shared memory lies in files here, which would fill the disk")
    terabyte = 2**40
    monkeypatch.setattr("winnow.storage.indexes.LEAST_BYTES", terabyte)
    monkeypatch.setattr("winnow.storage.indexes.MOST_BYTES", terabyte)
    monkeypatch.setattr("winnow.storage.indexes.MOST_TIMES_OWN", terabyte)
    monkeypatch.setattr("winnow.storage.indexes.MOST_OF_AVAILABLE", terabyte)
    await sql.execute("DROP INDEX messages_nearest")
    assert await mend_indexes(database) == 1
    assert (await state_of(database)).valid


@pytest.mark.usefixtures("filled")
async def test_settings_of_the_server_that_end_sessions_and_statements_do_not_end_a_build(
    database: Database, database_url: str, sql: asyncpg.Connection
) -> None:
    name = await sql.fetchval("SELECT current_database()")
    for setting in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
        await sql.execute(f"ALTER DATABASE {name} SET {setting} = '500ms'")
    async with index_session(database) as session:
        assert await session.take(M)
        hindrance = "UPDATE messages SET importance = 1"
        await sql.execute("DROP INDEX messages_nearest")
        other = await asyncpg.connect(database_url, server_settings={"idle_session_timeout": "0"})
        await other.execute("BEGIN")
        await other.execute(hindrance)
        building = asyncio.create_task(session.build(M))
        await asyncio.sleep(1.5)
        await other.execute("COMMIT")
        await other.close()
        assert await building


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
    """pgvector says so when a graph has outgrown `maintenance_work_mem`."""
    notices: list[Any] = []
    other = await asyncpg.connect(database_url)
    other.add_log_listener(lambda _connection, message: notices.append(message))
    await other.execute(f"CREATE TABLE vectors (embedding {kind}({dimensions}))")
    await other.execute(
        "INSERT INTO vectors SELECT (SELECT array_agg(hashint8(n * 10000 + place) / 2147483648.0) "
        f"FROM generate_series(1, {dimensions}) AS place)::{kind} FROM generate_series(1, 4000) AS n"
    )
    for share, fits in ((1.0, True), (0.5, False)):
        await other.execute(f"SET maintenance_work_mem = '{int(graph_bytes(4000, dimensions) * share) // 1024} kB'")
        await other.execute("SET max_parallel_maintenance_workers = 0")
        await other.execute(f"CREATE INDEX ON vectors USING hnsw (embedding {kind}_cosine_ops)")
        assert [notice.message.startswith("hnsw graph no longer fits") for notice in notices] == [True] * (not fits)
    await other.close()
