"""What is noted of a text, and a vector that could not be stored, hold for that text only and wait for nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plugins.pipeline import SteeredEmbedder, add_messages, come_due, vector_in
from winnow.domain.jobs import Kind
from winnow.errors import DatabaseBusy, DatabaseUnavailable, SetupFault, TextRefused
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.storage.embeddings import EmbeddingStore

if TYPE_CHECKING:
    import asyncpg

    from winnow.pipeline.embed import Embedding

M = Kind.MESSAGES


@pytest.mark.parametrize("text", ["", "culprit"])
async def test_what_is_said_of_a_text_never_stands_beside_the_next_one(
    text: str,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    somebody: asyncpg.Connection,
) -> None:
    """A claim in the middle of an edit reads the old text, and its job is not the one that the edit has taken away."""
    (row_id,) = await add_messages(sql, [text])
    await embedding.spaces.ours()
    embedder.refusals["culprit"] = TextRefused("odd")
    await somebody.execute("BEGIN")
    await somebody.execute("UPDATE messages SET text = 'mended' WHERE id = $1", row_id)
    assert await embed_rows(replace(embedding, max_attempts=1), M, [row_id]) == Embedded(given_back=1)
    await somebody.execute("COMMIT")
    await come_due(sql)
    assert await embed_rows(embedding, M, [row_id]) == Embedded(embedded=1)
    assert np.allclose(await vector_in(sql, M, row_id), embedder.vector("mended"))


async def test_a_verdict_that_a_writer_s_snapshot_could_not_see_is_tidied_away(
    embedding: Embedding,
    embedder: SteeredEmbedder,
    store: EmbeddingStore,
    sql: asyncpg.Connection,
    somebody: asyncpg.Connection,
) -> None:
    failed, blank = await add_messages(sql, ["culprit", " "])
    await embedding.spaces.ours()
    embedder.refusals["culprit"] = TextRefused("odd")
    await somebody.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await somebody.execute("SELECT FROM topics")
    done = await embed_rows(replace(embedding, max_attempts=1), M, [failed, blank])
    assert done == Embedded(failed=1, skipped=1)
    await somebody.execute("UPDATE messages SET text = 'mended ' || id")
    await somebody.execute("COMMIT")
    assert await embed_rows(embedding, M, [failed, blank]) == Embedded(), "the trigger did not see the verdicts"
    await store.tidy()
    assert await embed_rows(embedding, M, [failed, blank]) == Embedded(embedded=2)


async def test_a_vector_in_hand_is_written_again_when_the_database_was_busy(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winnow.pipeline.embed.OUTAGE_PAUSE_SECONDS", 0.01)
    ids = await add_messages(sql, ["one", "two"])
    write, errors = EmbeddingStore.write, [DatabaseBusy(), DatabaseUnavailable()]

    async def busy(self: EmbeddingStore, *given: Any, **more: Any) -> set[int]:
        if errors:
            raise errors.pop()
        return await write(self, *given, **more)

    monkeypatch.setattr(EmbeddingStore, "write", busy)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)
    assert embedder.paid == {"one": 1, "two": 1}


async def test_what_the_database_refuses_gives_the_rows_back_and_is_no_death(
    embedding: Embedding, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await add_messages(sql, ["one", "two"])

    async def refused(*_given: Any, **_more: Any) -> set[int]:
        raise SetupFault("the database does not let Winnow in")

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingStore, "write", refused)
        with pytest.raises(SetupFault):
            await embed_rows(embedding, M, ids)
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)


async def test_a_backfill_keeps_paid_vectors_and_waits_for_no_open_edit(
    embedding: Embedding,
    embedder: SteeredEmbedder,
    store: EmbeddingStore,
    sql: asyncpg.Connection,
    somebody: asyncpg.Connection,
) -> None:
    locked, failed = await add_messages(sql, ["locked", "culprit"])
    embedder.refusals["culprit"] = TextRefused("odd")
    await embed_rows(replace(embedding, max_attempts=1), M, [failed])
    await somebody.execute("BEGIN")
    await somebody.execute("SELECT FROM messages WHERE id = $1 FOR NO KEY UPDATE", locked)
    assert await embed_rows(embedding, M, [locked]) == Embedded(given_back=1)
    await somebody.execute("UPDATE messages SET text = 'mended' WHERE id = $1", failed)
    async with asyncio.timeout(5):
        await store.forget_failures(M)
    await somebody.execute("COMMIT")
    assert await embed_rows(embedding, M, [locked, failed]) == Embedded(embedded=2)
    assert embedder.paid["locked"] == 1
