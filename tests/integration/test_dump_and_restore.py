"""A dump restored into another server is the whole of Winnow: schema, rows and vectors, and its NULLs are found."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pgvector.asyncpg import register_vector

from plugins.pipeline import SteeredEmbedder, add_messages, come_due, vector_in, winnow_over
from plugins.postgres import TEMPLATE, LoopThread, _open_folder, _quick_folder, made_database
from plugins.used import DIMENSIONS, TEXTS, columns_of, fill, rows_of, schema_of, states
from winnow.domain.jobs import Kind
from winnow.embedded.postgres import EmbeddedPostgres, programs_folder
from winnow.pipeline.backfill import backfill
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.search import search
from winnow.storage.engine import libpq_variables
from winnow.storage.migrate import check, migrate, newest_revision, require_newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NOWHERE_NATS = "nats://127.0.0.1:1"
# As a person would restore it; nothing is forgiven.
WAYS = {
    "plain": (("--format=plain",), ("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f")),
    "custom": (("--format=custom",), ("pg_restore", "--exit-on-error", "--no-owner", "--dbname=restored", "--jobs=2")),
    "inserts": (
        ("--inserts", "--no-owner", "--no-privileges"),
        ("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f"),
    ),
}


@pytest.fixture(scope="module")
def other_server() -> Iterator[str]:
    """The URL of a second server that has never seen Winnow."""
    with _open_folder(_quick_folder()) as folder:
        loop, server = LoopThread(), EmbeddedPostgres(folder / "postgresql")
        try:
            yield loop.run(server.start())
        finally:
            loop.run(server.stop())
            loop.close()


async def run_program(url: str, name: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        programs_folder() / name,
        *arguments,
        env={"PATH": os.defpath, **libpq_variables(url)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert (process.returncode, said.decode().strip()) == (0, ""), f"{name}: {said.decode()}"


@pytest.fixture(params=list(WAYS))
async def restored_url(
    request: pytest.FixtureRequest, database_url: str, other_server: str, tmp_path: Path
) -> AsyncIterator[str]:
    """The URL of a used database that was dumped and restored elsewhere."""
    dump_options, restore = WAYS[request.param]
    await fill(database_url)
    await run_program(database_url, "pg_dump", *dump_options, "--file", str(tmp_path / "dump"))
    async with made_database(other_server) as url:
        name = urlsplit(url).path[1:]
        await run_program(url, *(word.replace("restored", name) for word in restore), str(tmp_path / "dump"))
        yield url


@pytest.fixture
async def restored(restored_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to it."""
    connection = await asyncpg.connect(restored_url)
    await register_vector(connection)
    yield connection
    await connection.close()


async def test_the_schema_and_every_row_are_the_same(
    restored_url: str, restored: asyncpg.Connection, sql: asyncpg.Connection
) -> None:
    await require_newest(restored_url)
    await check(restored_url)
    assert await schema_of(restored) == await schema_of(sql)
    columns = await columns_of(sql)
    assert await rows_of(restored, columns) == await rows_of(sql, columns)
    assert await states(restored) == {"failed": 1, "skipped": 1, "waiting": 1, "leased": 1}


async def test_its_nulls_are_found_and_embedded_and_searches_answer(
    restored_url: str, restored: asyncpg.Connection
) -> None:
    first, second = await restored.fetch("SELECT id FROM messages ORDER BY id LIMIT 2")
    await restored.execute("UPDATE messages SET text = 'The Zanzibar build is red.' WHERE id = $1", first["id"])
    await restored.execute("UPDATE messages SET embedding = NULL WHERE id = $1", second["id"])
    (late,) = await add_messages(restored, ["written into the restored one"])
    assert late == await restored.fetchval("SELECT max(id) FROM messages"), "the sequence stands after the last row"
    for row_id in (first["id"], second["id"], late):
        assert await vector_in(restored, Kind.MESSAGES, row_id) is None
    await come_due(restored)  # also the lease of a worker that the dump caught at work
    model = SteeredEmbedder(dimensions=DIMENSIONS)
    async with winnow_over(restored_url, NOWHERE_NATS, model=model, started=False) as winnow:
        done = await backfill(winnow.backfilling(), Plan(inline=True), report=lambda _: None, say=lambda _: None)
        assert (done.failed, done.waiting) == (0, 0)
        counts = await winnow.embeddings.counts()
        assert all(count.without_vector == count.skipped for count in counts.values()), counts
        for words, kind in (("Zanzibar", Kind.MESSAGES), (TEXTS[0], Kind.ATOMS), ("how rows are found", Kind.TOPICS)):
            answer = await search(winnow.searching(), words, kinds=[kind])
            assert answer.degraded is None
            assert answer.hits, words
    assert await states(restored) == {"skipped": 1}


async def test_its_indexes_serve(restored: asyncpg.Connection) -> None:
    await restored.execute(
        """
        INSERT INTO messages (source, channel, external_id, text, sent_at, embedding)
        SELECT 'test', '#many', n::text, 'text ' || n, now(),
               (SELECT array_agg(hashint8(n * 10000 + place) / 2147483648.0)
                FROM generate_series(1, $1::int) AS place)::vector
        FROM generate_series(1, 1500) AS n
        """,
        DIMENSIONS,
    )
    await restored.execute("ANALYZE messages")
    near = "embedding <=> (SELECT embedding FROM messages WHERE id = 1)"
    assert "messages_nearest" in await plan_of(restored, f"SELECT id FROM messages ORDER BY {near} LIMIT 10")
    words = "public.winnow_words(text) @@ websearch_to_tsquery('public.winnow', 'починила')"
    assert await restored.fetchval(f"SELECT text FROM messages WHERE {words}") == TEXTS[2]
    assert "messages_full_text" in await plan_of(restored, f"SELECT id FROM messages WHERE {words}")
    nulls = "SELECT id FROM messages WHERE embedding IS NULL ORDER BY id LIMIT 10"
    assert "messages_without_vector" in await plan_of(restored, nulls)


async def plan_of(sql: asyncpg.Connection, query: str) -> str:
    return "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {query}"))


async def test_what_runs_as_somebody_else_needs_no_search_path(restored_url: str, restored: asyncpg.Connection) -> None:
    """Dumps are restored, and VACUUM, ANALYZE and REINDEX evaluate expressions, with a search path of nothing."""
    bare = await asyncpg.connect(restored_url, server_settings={"search_path": ""})
    try:
        row = "INSERT INTO public.messages (source, channel, external_id, text, sent_at) VALUES ('a', 'b', 'c', $1, $2)"
        moment = await restored.fetchval("SELECT now()")
        await bare.execute(row, "Ёжик was here", moment)
        await bare.execute("UPDATE public.messages SET text = text || '!'")
        assert await restored.fetchval("SELECT count(embedding) FROM messages") == 0
        await bare.execute("UPDATE public.topics SET name = name || '!'")
        await bare.execute("UPDATE public.atoms SET content = content || '!'")
        await bare.execute("REINDEX DATABASE CONCURRENTLY")
        await bare.execute("VACUUM ANALYZE")
        for kind in Kind:
            await bare.execute(f"DELETE FROM public.{kind.value}")
        assert await states(restored) == {}
        await bare.execute("TRUNCATE public.messages CASCADE")
    finally:
        await bare.close()


async def test_a_dump_of_an_older_revision_is_brought_up_to_date(
    database_url: str, other_server: str, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    await fill(database_url)
    await migrate(database_url, revision="0001")
    dump, name = str(tmp_path / "dump"), f"older_{uuid4().hex}"
    await run_program(database_url, "pg_dump", "--format=custom", "--file", dump)
    url = other_server.replace(f"/{TEMPLATE}?", f"/{name}?")
    # The lines of docs/deploy.md: over a database of the new revision, which is dropped and made anew.
    await run_program(other_server, "createdb", name)
    await migrate(url)
    await run_program(other_server, "dropdb", "--force", name)
    await run_program(other_server, "createdb", name)
    await run_program(url, "pg_restore", "--dbname", name, dump)
    assert await migrate(url) == newest_revision()
    await require_newest(url)
    await check(url)
    restored = await asyncpg.connect(url)
    columns = await columns_of(sql)
    assert await rows_of(restored, columns) == await rows_of(sql, columns)
    await restored.close()
    await run_program(other_server, "dropdb", "--force", name)
