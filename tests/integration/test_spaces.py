"""One column holds vectors of one space, to the measure of the probed model, under an index that searches use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
import pytest

from plugins.pipeline import SteeredEmbedder, add_messages, add_row, another, come_due, job_of
from winnow.bootstrap import build
from winnow.domain.jobs import Kind
from winnow.errors import DatabaseBusy, ProviderUnavailable, SpaceMismatch, TextRefused
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.pipeline.spaces import Spaces
from winnow.providers.local import LocalEmbedder
from winnow.servers import Servers
from winnow.settings import Settings
from winnow.storage.named import statement
from winnow.storage.search import nearest
from winnow.storage.spaces import distance_expression

if TYPE_CHECKING:
    from plugins.model_servers import OllamaServer
    from winnow.pipeline.embed import Embedding
    from winnow.storage.engine import Database

M = Kind.MESSAGES
INDEX_SCAN = "Index Scan using messages_nearest"


async def column_type(sql: asyncpg.Connection, table: str) -> str:
    return str(
        await sql.fetchval(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = $1::text::regclass AND attname = 'embedding'",
            table,
        )
    )


async def index_of(sql: asyncpg.Connection, table: str) -> str | None:
    found: str | None = await sql.fetchval("SELECT indexdef FROM pg_indexes WHERE indexname = $1", f"{table}_nearest")
    return found


async def fill(sql: asyncpg.Connection, rows: int, dimensions: int) -> None:
    """Rows with random vectors, put there by hand."""
    await sql.execute(
        """
        INSERT INTO messages (source, channel, external_id, text, sent_at, embedding)
        SELECT 'test', '#team', n::text, 'text ' || n, now(),
               (SELECT array_agg(hashint8(n * 10000 + place) / 2147483648.0)
                FROM generate_series(1, $2::int) AS place)::vector
        FROM generate_series(1, $1::int) AS n
        """,
        rows,
        dimensions,
    )
    await sql.execute("ANALYZE messages")


async def test_the_dimension_is_the_built_in_model_s_own(database: Database, sql: asyncpg.Connection) -> None:
    local = LocalEmbedder()
    space = await Spaces(database, local).ours()
    await local.close()
    assert space.dimensions == 256
    for kind in Kind:
        assert await column_type(sql, kind.value) == "vector(256)"
        assert "USING hnsw (embedding vector_cosine_ops)" in (await index_of(sql, kind.value) or "")
    row = await sql.fetchrow("SELECT * FROM embedding_spaces")
    assert (row["provider"], row["dimensions"], row["status"]) == ("local", 256, "active")


async def test_the_dimension_is_the_server_s_and_no_constant(
    database_url: str, ollama_server: OllamaServer, sql: asyncpg.Connection
) -> None:
    ollama_server.dimensions = 77
    settings = Settings(_env_file=None, embedder="ollama:nomic-embed-text", ollama_url=ollama_server.url)
    winnow = build(settings, Servers(database_url=database_url, nats_url="nats://127.0.0.1:1"))
    ids = await add_messages(sql, ["one", "two"])
    assert (await embed_rows(winnow.embedding(), M, ids)).embedded == 2
    assert await column_type(sql, "messages") == "vector(77)"
    stored = [row["embedding"] for row in await sql.fetch("SELECT embedding FROM messages ORDER BY id")]
    for vector, text in zip(stored, ("one", "two"), strict=True):
        np.testing.assert_allclose(
            np.asarray(vector.to_list()), ollama_server.vector(f"search_document: {text}"), rtol=1e-5, atol=1e-6
        )
    await winnow.close()


@pytest.mark.parametrize(
    ("dimensions", "rows", "operators"),
    [(256, 1500, "(embedding vector_cosine_ops)"), (2001, 100, "(((embedding)::halfvec(2001)) halfvec_cosine_ops)")],
)
async def test_a_search_for_the_nearest_uses_the_index(
    dimensions: int, rows: int, operators: str, database: Database, sql: asyncpg.Connection
) -> None:
    embedder = SteeredEmbedder(dimensions=dimensions)
    space = await Spaces(database, embedder).ours()
    assert (await index_of(sql, "messages") or "").endswith(f"USING hnsw {operators}")
    await fill(sql, rows, dimensions)
    query, distance = embedder.vector("text"), distance_expression(dimensions)
    if dimensions == 256:
        nearest_ten = f"SELECT id FROM messages t WHERE embedding IS NOT NULL ORDER BY {distance} LIMIT 10"
        assert INDEX_SCAN in await plan_of(sql, nearest_ten, query)
    # The search's own statement wants a hundred candidates, and vectors above 2,000 dimensions lie outside their rows:
    # so small a table is then better read whole.
    async with sql.transaction():
        await sql.execute("SET LOCAL enable_sort = off")
        own = statement("nearest", M).replace("{distance}", distance)
        assert INDEX_SCAN in await plan_of(sql, own, query, space.id, 100)
    assert len(await nearest(database, M, query, space)) >= 90


async def plan_of(sql: asyncpg.Connection, query: str, *values: Any) -> str:
    return "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {query}", *values))


async def test_above_4000_dimensions_there_is_no_index_and_it_works(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    embedder = SteeredEmbedder(dimensions=4096)
    ids = await add_messages(sql, ["one", "two", "three"])
    tools = another(embedding, database, embedder)
    assert await embed_rows(tools, M, ids) == Embedded(embedded=3)
    assert await index_of(sql, "messages") is None
    found = await nearest(database, M, embedder.vector("two"), await tools.spaces.ours())
    assert max(found, key=lambda row_id: found[row_id]) == ids[1]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            SteeredEmbedder(model="other", dimensions=16),
            r"unset it or set it to test:steered, and to change over run: winnow model use test:other",
        ),
        (SteeredEmbedder(model="other"), r"made by test:steered \(8 dimensions\), and WINNOW_EMBEDDER is test:other"),
        (SteeredEmbedder(document_prefix="doc: "), r"made with the prefixes '' and ''; set WINNOW_DOCUMENT_PREFIX"),
    ],
    ids=["other dimension", "other model of the same dimension", "other prefix"],
)
async def test_another_embedder_is_refused_where_vectors_are_stored(
    other: SteeredEmbedder, sentence: str, embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    await embed_rows(embedding, M, await add_messages(sql, ["one"]))
    fresh = await add_messages(sql, ["two"])
    tools = another(embedding, database, other)
    with pytest.raises(SpaceMismatch, match=sentence):
        await tools.spaces.check()
    with pytest.raises(SpaceMismatch, match=sentence):
        await embed_rows(tools, M, fresh)
    assert not other.calls
    assert await column_type(sql, "messages") == "vector(8)"
    assert await embed_rows(embedding, M, fresh) == Embedded(embedded=1)


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_vector_of_any_kind_holds_the_space(
    kind: Kind, embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    await embed_rows(embedding, kind, [await add_row(sql, kind)])
    with pytest.raises(SpaceMismatch):
        await Spaces(database, SteeredEmbedder(model="other")).check()


async def test_an_empty_space_is_replaced_without_a_word_and_its_jobs_with_it(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", " "])
    embedder.refusals["one"] = TextRefused()
    embedder.errors = [ProviderUnavailable()]
    await embed_rows(embedding, M, ids)
    assert await job_of(sql, ids[0])
    wider = SteeredEmbedder(model="wider", dimensions=16)
    tools = another(embedding, database, wider)
    await tools.spaces.check()
    assert (await tools.spaces.ours()).dimensions == 16
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0
    assert await column_type(sql, "atoms") == "vector(16)"
    assert await embed_rows(tools, M, ids) == Embedded(embedded=2, skipped=1)
    statuses = await sql.fetch("SELECT status FROM embedding_spaces ORDER BY id")
    assert [row["status"] for row in statuses] == ["retired", "active"]


async def test_a_worker_of_the_replaced_space_pays_for_nothing_and_is_told(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    await embedding.spaces.ours()  # it knows a space, and will go by what it knows
    newer = another(embedding, database, SteeredEmbedder(model="newer"))
    await embed_rows(newer, M, ids[:1])
    for _ in range(2):
        with pytest.raises(SpaceMismatch):
            await embed_rows(embedding, M, ids)
    assert not embedder.calls


async def test_two_processes_that_make_the_space_at_once_make_one(database: Database, sql: asyncpg.Connection) -> None:
    made = await asyncio.gather(*(Spaces(database, SteeredEmbedder()).ours() for _ in range(4)))
    assert len({space.id for space in made}) == 1
    assert await sql.fetchval("SELECT count(*) FROM embedding_spaces") == 1


async def test_two_different_embedders_at_once_leave_one_whole_space(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(30)])
    embedders = [SteeredEmbedder(model="a"), SteeredEmbedder(model="b")]

    async def go(tools: Embedding) -> None:
        for start in range(0, 30, 5):
            try:
                await embed_rows(tools, M, ids[start : start + 5])
            except SpaceMismatch:
                await asyncio.sleep(0.01)

    await asyncio.gather(*(go(another(embedding, database, embedder)) for embedder in embedders))
    active = await sql.fetchval("SELECT model FROM embedding_spaces WHERE status = 'active'")
    made_by = next(embedder for embedder in embedders if embedder.model == active)
    assert made_by.calls
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NOT NULL") == sum(made_by.paid.values())


async def test_a_vector_written_while_another_space_is_made_is_not_overlooked(
    embedding: Embedding, database: Database, database_url: str, sql: asyncpg.Connection
) -> None:
    await embedding.spaces.ours()
    await add_messages(sql, ["one"])
    other = await asyncpg.connect(database_url)
    await other.execute("BEGIN")
    await other.execute("UPDATE messages SET embedding = array_fill(1, ARRAY[8])::vector")
    making = asyncio.create_task(Spaces(database, SteeredEmbedder(model="newer")).ours())
    await asyncio.sleep(0.2)  # it has looked by now, if it looks before it has the tables for itself
    await other.execute("COMMIT")
    with pytest.raises(SpaceMismatch):
        await making
    await other.close()


async def test_making_a_space_gives_way_to_open_transactions_and_ends_in_time(
    *,
    database: Database,
    database_url: str,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An extraction's commit touches topics, atoms, messages, in this order: it must never be the one that dies."""
    monkeypatch.setattr("winnow.pipeline.spaces.MAKE_TRIES", 2)
    other = await asyncpg.connect(database_url)
    await other.execute("BEGIN")
    await other.execute("INSERT INTO topics (name) VALUES ('a topic')")
    making = asyncio.create_task(Spaces(database, embedder).ours())
    await asyncio.sleep(0.2)  # by now it has messages and waits for topics
    async with asyncio.timeout(10):
        await other.execute("UPDATE messages SET importance = 1")
        with pytest.raises(DatabaseBusy):
            await making
        await other.execute("COMMIT")
        assert (await Spaces(database, embedder).ours()).dimensions == 8
    await other.close()


async def test_a_connection_that_was_used_before_goes_on_in_the_new_space(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    """Statements that a pooled session has prepared outlive the column they were prepared for."""
    ids = await add_messages(sql, ["one", "two"])
    await embed_rows(embedding, M, ids)
    await sql.execute("UPDATE messages SET embedding = NULL")
    tools = another(embedding, database, SteeredEmbedder(model="wider", dimensions=16))
    assert await embed_rows(tools, M, ids) == Embedded(embedded=2)
    assert await nearest(database, M, SteeredEmbedder(dimensions=16).vector("one"), await tools.spaces.ours())


async def test_a_search_in_another_space_than_the_column_s_is_told(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    old = await embedding.spaces.ours()
    tools = another(embedding, database, SteeredEmbedder(model="newer"))
    await embed_rows(tools, M, await add_messages(sql, ["one"]))
    with pytest.raises(SpaceMismatch, match="test:steered's no more"):
        await nearest(database, M, embedder.vector("one"), old)


async def test_the_name_of_a_model_that_has_become_another_is_noticed(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    await embedding.spaces.ours()
    embedder.dimensions = 12
    assert await embed_rows(embedding, M, ids) == Embedded(waiting=2)
    job = await job_of(sql, ids[0])
    assert (job["state"], job["error_kind"], job["attempts"]) == ("waiting", "SpaceMismatch", 0)
    assert "now makes vectors of 12 dimensions; the stored ones have 8" in job["error"]
    assert "pull the old one again under that name, or use another database or --data-dir" in job["error"]


async def test_a_model_that_became_another_costs_a_word_now_and_then_and_no_batch(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    await embedding.spaces.ours()
    embedder.dimensions = 12
    assert await embed_rows(embedding, M, ids) == Embedded(waiting=2)
    pauses = []
    for _ in range(6):
        pauses.append(
            await sql.fetchval("SELECT extract(epoch FROM paused_until - now())::float8 FROM embedding_spaces")
        )
        await come_due(sql)
        assert await embed_rows(embedding, M, ids) == Embedded()
    assert pauses == pytest.approx([2, 4, 8, 16, 32, 60], abs=2)
    assert len(embedder.calls) == 1
    embedder.dimensions = 8  # the old model is back under its name
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)


async def test_a_model_that_cannot_be_probed_takes_no_row(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    embedder.probe_error = ProviderUnavailable("away")
    with pytest.raises(ProviderUnavailable):
        await embed_rows(embedding, M, ids)
    assert await sql.fetchval("SELECT count(*) FROM embedding_spaces") == 0
    embedder.probe_error = None
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
