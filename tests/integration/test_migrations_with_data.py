"""Going from one revision to another and back loses nothing that both have a place for, and nothing stops working."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pytest
from pgvector.asyncpg import register_vector

from plugins.pipeline import SteeredEmbedder, add_messages, job_of, vector_in
from plugins.postgres import made_database
from plugins.used import DIMENSIONS, columns_of, fill, rows_of, schema_of, states
from winnow.domain.jobs import Kind
from winnow.errors import SetupFault
from winnow.pipeline.spaces import Spaces
from winnow.storage.engine import Database
from winnow.storage.migrate import check, migrate, newest_revision, require_newest
from winnow.storage.search import nearest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FIRST = "0001"


@pytest.fixture
async def used_url(postgres_url: str) -> AsyncIterator[str]:
    """The URL of a database of the first revision, with data."""
    async with made_database(postgres_url) as url:
        await migrate(url)
        await fill(url)  # by today's program, which needs today's tables
        assert await migrate(url, revision=FIRST) == FIRST
        yield url


@pytest.fixture
async def used(used_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to it."""
    connection = await asyncpg.connect(used_url)
    await register_vector(connection)
    yield connection
    await connection.close()


async def test_up_and_down_again_keep_every_row_vector_and_index(used_url: str, used: asyncpg.Connection) -> None:
    columns, schema = await columns_of(used), await schema_of(used)
    rows = await rows_of(used, columns)
    assert all(rows.values()), {table for table, found in rows.items() if not found}
    nearest_indexes = {made for made in schema if "USING hnsw" in made}
    assert len(nearest_indexes) == len(Kind)
    for _ in range(2):
        assert await migrate(used_url) == newest_revision()
        assert await rows_of(used, columns) == rows
        assert nearest_indexes <= set(await schema_of(used))
        await check(used_url)
        await require_newest(used_url)
        assert await migrate(used_url, revision=FIRST) == FIRST
        assert await rows_of(used, columns) == rows
        assert await schema_of(used) == schema


async def test_the_way_down_ends_where_the_way_up_began(
    postgres_url: str, used_url: str, used: asyncpg.Connection
) -> None:
    async with made_database(postgres_url) as fresh_url:
        await migrate(fresh_url, revision=FIRST)
        fresh = await asyncpg.connect(fresh_url)
        made = await schema_of(fresh)
        await fresh.close()
    of_a_space = ("embedding vector", "USING hnsw")
    assert {line for line in await schema_of(used) if not any(part in line for part in of_a_space)} == {
        line for line in made if not any(part in line for part in of_a_space)
    }


async def test_what_an_older_revision_has_no_place_for_goes_and_comes_back_empty(
    used_url: str, used: asyncpg.Connection
) -> None:
    await migrate(used_url)
    await used.execute("INSERT INTO api_keys (name, secret_hash, scopes) VALUES ('robot', '\\x00', '{read}')")
    await migrate(used_url, revision=FIRST)
    assert await used.fetchval("SELECT to_regclass('public.api_keys')") is None
    await migrate(used_url)
    assert await used.fetchval("SELECT count(*) FROM api_keys") == 0


@pytest.mark.parametrize("path", [["head"], ["head", FIRST]], ids=["up", "up and down"])
async def test_triggers_and_searches_work_at_either_end(
    path: list[str], used_url: str, used: asyncpg.Connection
) -> None:
    for revision in path:
        await migrate(used_url, revision=revision)
    await assert_triggers_work(used)
    if revision != "head":  # this program searches its own schema only
        return
    database = Database(used_url, pool_size=2)
    space = await Spaces(database, SteeredEmbedder(dimensions=DIMENSIONS)).ours()
    query = SteeredEmbedder(dimensions=DIMENSIONS).vector("said in passing")
    found = await nearest(database, Kind.MESSAGES, query, space)
    best = max(found, key=lambda row_id: found[row_id])
    assert await used.fetchval("SELECT text FROM messages WHERE id = $1", best) == "said in passing"
    await database.close()


async def assert_triggers_work(sql: asyncpg.Connection) -> None:
    first = await sql.fetchval("SELECT min(id) FROM messages")
    assert await vector_in(sql, Kind.MESSAGES, first) is not None
    await sql.execute("UPDATE messages SET importance = 0.9 WHERE id = $1", first)
    assert await vector_in(sql, Kind.MESSAGES, first) is not None
    await sql.execute("UPDATE messages SET text = 'another' WHERE id = $1", first)
    assert await vector_in(sql, Kind.MESSAGES, first) is None
    await sql.execute("UPDATE messages SET text = 'mended' WHERE text LIKE 'refused%'")
    await sql.execute("DELETE FROM messages WHERE text = ' '")
    assert await states(sql) == {"waiting": 1, "leased": 1}
    (late,) = await add_messages(sql, ["written after the migration"], judged=False)
    assert (await vector_in(sql, Kind.MESSAGES, late), await job_of(sql, late)) == (None, None)
    await sql.execute("UPDATE topics SET description = 'otherwise'")
    await sql.execute("UPDATE atoms SET title = title || '!'")
    for kind in ("topics", "atoms"):
        assert await sql.fetchval(f"SELECT count(embedding) FROM {kind}") == 0
    async with Undone(sql):
        await sql.execute("TRUNCATE messages CASCADE")
        assert await states(sql) == {}
    with pytest.raises(asyncpg.DataError, match=f"expected {DIMENSIONS} dimensions"):
        await sql.execute("UPDATE messages SET embedding = $1", np.ones(3, dtype=np.float32))


class Undone:
    """A transaction that is rolled back."""

    def __init__(self, sql: asyncpg.Connection) -> None:
        self._transaction = sql.transaction()

    async def __aenter__(self) -> None:
        await self._transaction.start()

    async def __aexit__(self, *_: object) -> None:
        await self._transaction.rollback()


async def test_a_program_says_which_way_to_go(used_url: str, used: asyncpg.Connection) -> None:
    sentence = rf"^the database is at revision {FIRST}, this program needs {newest_revision()}; run: winnow migrate$"
    with pytest.raises(SetupFault, match=sentence):
        await require_newest(used_url)
    await migrate(used_url)
    await require_newest(used_url)
    await used.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SetupFault, match=r"9999, which this program does not know: a newer Winnow made it"):
        await require_newest(used_url)
