"""An index that is missing or broken is found and built again, by one process, while searches and writes go on."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from plugins.indexes import assert_searches_are_right, definition, free, state_of
from plugins.jetstream import eventually
from plugins.pipeline import SteeredEmbedder, add_messages
from winnow.domain.jobs import Kind
from winnow.errors import DatabaseUnavailable
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.indexing import mend_indexes
from winnow.pipeline.spaces import Spaces
from winnow.storage.indexes import drop_index, index_session, index_states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.pipeline.embed import Embedding
    from winnow.storage.engine import Database

M = Kind.MESSAGES


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
        assert (state.built, state.waits) == (0.0 if "before" in phase else 1.0, True)
        await assert_searches_are_right(embedding, database, sql)
        assert await mend_indexes(database) == 0, "somebody is at it"
        if how == "cancelled":
            building.cancel()
        else:
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index WHERE datname = current_database()"
            )
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
        await end_hindrance(sql)
        assert await building == 1
    assert (await state_of(database)).valid


async def end_hindrance(sql: asyncpg.Connection) -> None:
    await sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE state = 'idle in transaction' AND datname = current_database()"
    )


@pytest.mark.usefixtures("filled")
async def test_a_build_whose_program_was_killed_goes_on_and_nobody_interferes(
    database: Database, database_url: str, sql: asyncpg.Connection
) -> None:
    """The server does not look after its client while it builds: kill -9 leaves a build, not a leftover."""
    await sql.execute("DROP INDEX messages_nearest")
    other = await asyncpg.connect(database_url)
    await other.execute("BEGIN")
    await other.execute("UPDATE messages SET importance = 1")
    program = "import asyncio, sys\nfrom winnow.pipeline.indexing import mend_indexes\n"
    program += "from winnow.storage.engine import Database\nasyncio.run(mend_indexes(Database(sys.argv[1])))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, database_url, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await eventually(lambda: is_in_phase(database, "waiting for writers before build"))
    finally:
        process.kill()
        await process.wait()
    assert await mend_indexes(database) == 0
    await end_hindrance(sql)
    await eventually(lambda: is_valid(database))
    await eventually(lambda: free(database))
    assert await mend_indexes(database) == 0
    await other.close()


async def is_valid(database: Database) -> bool:
    return (await state_of(database)).valid


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
