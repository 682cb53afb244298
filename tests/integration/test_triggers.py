"""The database itself keeps vectors and texts together, whoever writes and by whatever program."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
from pgvector.asyncpg import register_vector

from plugins.pipeline import add_row, another, assert_nothing_missing, job_of, vector_in
from plugins.postgres import TEMPLATE
from winnow.domain.jobs import Kind
from winnow.embedded.postgres import programs_folder
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.storage.embeddables import EMBEDDABLES
from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.engine import Database, libpq_variables
from winnow.storage.migrate import check, require_newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.pipeline.embed import Embedding

COLUMNS = [(kind, column) for kind, embeddable in EMBEDDABLES.items() for column in embeddable.columns]
OTHERS = {
    Kind.MESSAGES: "importance = 0.5, signal = 's', author = 'x', received_at = now(), thread = 't'",
    Kind.TOPICS: "created_at = now()",
    Kind.ATOMS: "confidence = 0.5, status = 'rejected', type = 'idea', created_at = now()",
}


@pytest.fixture
async def embedded(embedding: Embedding, sql: asyncpg.Connection) -> dict[Kind, int]:
    """One embedded row of each kind."""
    rows = {}
    for kind in Kind:
        rows[kind] = await add_row(sql, kind)
        await embed_rows(embedding, kind, [rows[kind]])
        await sql.execute(f"UPDATE {kind.value} SET text_changed_at = '2020-01-01'")
    return rows


async def add_job(sql: asyncpg.Connection, kind: Kind, row_id: int, state: str = "failed") -> None:
    await sql.execute(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, lease_until, attempts) "
        "SELECT $1, $2, id, $3, now() + interval '1 hour', 3 FROM embedding_spaces WHERE status = 'active'",
        kind.value,
        row_id,
        state,
    )


@pytest.mark.parametrize(("kind", "column"), COLUMNS, ids=str)
async def test_a_changed_text_loses_its_vector_and_its_job_in_the_same_transaction(
    kind: Kind, column: str, embedded: dict[Kind, int], sql: asyncpg.Connection, database_url: str
) -> None:
    row_id = embedded[kind]
    await sql.execute(f"UPDATE {kind.value} SET embedding = NULL")
    await add_job(sql, kind, row_id)
    await sql.execute(f"UPDATE {kind.value} SET embedding = array_fill(1, ARRAY[8])::vector")
    outside = await asyncpg.connect(database_url)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(f"UPDATE {kind.value} SET {column} = {column} || ' and more' WHERE id = $1", row_id)
    inside = await sql.fetchrow(f"SELECT embedding, text_changed_at = now() AS stamped FROM {kind.value}")
    assert (inside["embedding"], inside["stamped"]) == (None, True)
    assert await job_of(sql, row_id, kind) is None
    assert await outside.fetchval(f"SELECT embedding IS NOT NULL FROM {kind.value}"), "nobody else sees half of it"
    assert await job_of(outside, row_id, kind)
    await transaction.commit()
    assert await outside.fetchval(f"SELECT embedding IS NULL FROM {kind.value}")
    await outside.close()


@pytest.mark.parametrize(("kind", "column"), COLUMNS, ids=str)
async def test_a_rolled_back_change_takes_nothing(
    kind: Kind, column: str, embedded: dict[Kind, int], sql: asyncpg.Connection
) -> None:
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(f"UPDATE {kind.value} SET {column} = 'new'")
    await transaction.rollback()
    assert await vector_in(sql, kind, embedded[kind]) is not None


@pytest.mark.parametrize("kind", list(Kind))
async def test_other_columns_and_the_same_text_again_leave_the_vector_alone(
    kind: Kind, embedded: dict[Kind, int], sql: asyncpg.Connection
) -> None:
    same = ", ".join(f"{column} = {column}" for column in EMBEDDABLES[kind].columns)
    await sql.execute(f"UPDATE {kind.value} SET {OTHERS[kind]}, {same}")
    row = await sql.fetchrow(f"SELECT embedding, text_changed_at FROM {kind.value}")
    assert row["embedding"] is not None
    assert row["text_changed_at"].year == 2020


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_vector_written_together_with_a_new_text_is_not_believed(
    kind: Kind, embedded: dict[Kind, int], sql: asyncpg.Connection
) -> None:
    column = EMBEDDABLES[kind].columns[0]
    await sql.execute(f"UPDATE {kind.value} SET {column} = 'new', embedding = array_fill(1, ARRAY[8])::vector")
    assert await vector_in(sql, kind, embedded[kind]) is None


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("how", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_rows_that_go_take_their_jobs_along_and_no_others(
    kind: Kind, how: str, embedded: dict[Kind, int], sql: asyncpg.Connection
) -> None:
    for each in Kind:
        await sql.execute(f"UPDATE {each.value} SET embedding = NULL")
        await add_job(sql, each, embedded[each], "skipped")
    await sql.execute(how.format(kind.value))
    left = {row["kind"] for row in await sql.fetch("SELECT kind FROM embedding_jobs")}
    gone = {kind.value}
    if kind == Kind.TOPICS and "TRUNCATE" in how:
        gone = {each.value for each in Kind}  # everything refers to topics
    assert left == {each.value for each in Kind} - gone


async def test_deleting_some_rows_takes_only_their_jobs(
    embedding: Embedding, embedded: dict[Kind, int], sql: asyncpg.Connection
) -> None:
    other = await add_row(sql, Kind.ATOMS, "other")
    await add_job(sql, Kind.ATOMS, other)
    await sql.execute("DELETE FROM atoms WHERE id = $1", embedded[Kind.ATOMS])
    assert await job_of(sql, other, Kind.ATOMS)


async def test_a_role_that_may_only_edit_texts_still_empties_the_vector(
    embedded: dict[Kind, int], sql: asyncpg.Connection
) -> None:
    role = f"editor_{uuid4().hex}"
    await sql.execute(f"CREATE ROLE {role}")
    await sql.execute(f"GRANT SELECT, UPDATE, DELETE ON messages TO {role}")
    await sql.execute(f"SET ROLE {role}")
    await sql.execute("SET search_path = ''")
    await sql.execute("UPDATE public.messages SET text = 'edited'")
    assert await sql.fetchval("SELECT embedding IS NULL FROM public.messages")
    await sql.execute("DELETE FROM public.messages")
    await sql.execute("RESET ROLE")
    await sql.execute("RESET search_path")
    await sql.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_the_queries_of_the_runbooks_work_as_written(embedded: dict[Kind, int], sql: asyncpg.Connection) -> None:
    for table in ("atoms", "messages"):
        assert await sql.fetchval(f"SELECT COUNT(*) FROM {table} WHERE embedding IS NOT NULL;") == 1
        assert await sql.fetchval(f"SELECT COUNT(*) FROM {table} WHERE embedding IS NULL;") == 0
    rows = await sql.fetch(
        "SELECT id, content, embedding <-> '[1,0,0,0,0,0,0,0]'::vector(8) AS distance FROM atoms "
        "WHERE embedding IS NOT NULL ORDER BY distance LIMIT 10;"
    )
    assert rows[0]["id"] == embedded[Kind.ATOMS]
    assert rows[0]["distance"] > 0


# -- dump and restore


@pytest.fixture
async def restored_url(postgres_url: str) -> AsyncIterator[str]:
    """An empty database, made from nothing of ours."""
    name = f"restored_{uuid4().hex}"
    admin = await asyncpg.connect(postgres_url.replace(f"/{TEMPLATE}?", "/postgres?"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield postgres_url.replace(f"/{TEMPLATE}?", f"/{name}?")
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


async def program(name: str, url: str, *arguments: str, given: bytes | None = None) -> bytes:
    process = await asyncio.create_subprocess_exec(
        programs_folder() / name,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", **libpq_variables(url)},
    )
    output, errors = await process.communicate(given)
    assert process.returncode == 0, errors.decode()
    return output


async def test_a_restored_dump_goes_on_working(
    embedding: Embedding, embedded: dict[Kind, int], database_url: str, restored_url: str, sql: asyncpg.Connection
) -> None:
    failed = await add_row(sql, Kind.MESSAGES, "failed")
    await add_job(sql, Kind.MESSAGES, failed)
    dump = await program("pg_dump", database_url)
    await program("psql", restored_url, "-q", "-v", "ON_ERROR_STOP=1", given=dump)
    await require_newest(restored_url)
    await check(restored_url)
    restored, there = Database(restored_url, pool_size=2), await asyncpg.connect(restored_url)
    await register_vector(there)
    store = EmbeddingStore(restored)
    await assert_nothing_missing(store, there)
    assert (await store.counts())[Kind.MESSAGES].failed == 1
    assert await there.fetchval("SELECT count(*) FROM pg_indexes WHERE indexname LIKE '%_nearest'") == 3
    for kind, row_id in embedded.items():
        before, after = await vector_in(sql, kind, row_id), await vector_in(there, kind, row_id)
        assert before.tolist() == after.tolist()
        await there.execute(f"UPDATE {kind.value} SET {EMBEDDABLES[kind].columns[0]} = 'new'")
        assert await vector_in(there, kind, row_id) is None
    tools = replace(another(embedding, restored), store=store)
    assert await embed_rows(tools, Kind.MESSAGES, [embedded[Kind.MESSAGES]]) == Embedded(embedded=1)
    await there.execute("DELETE FROM messages")
    await assert_nothing_missing(store, there)
    await there.close()
    await restored.close()
