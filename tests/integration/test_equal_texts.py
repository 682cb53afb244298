"""A text is paid for once: within a batch, while another worker has it in hand, and when it is stored already."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pytest

from plugins.pipeline import SteeredEmbedder, add_messages, add_row, another, come_due, job_of, vector_in
from winnow.domain.jobs import Kind
from winnow.errors import TextRefused, TextTooLong
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.storage.embeddables import Embeddable
from winnow.storage.embeddings import SAVED
from winnow.storage.named import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.pipeline.embed import Embedding
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES


async def saved(sql: asyncpg.Connection) -> int:
    counted = await sql.fetchval("SELECT value FROM counters WHERE name = $1", SAVED) or 0
    noted = await sql.fetchval("SELECT coalesce(sum(saved), 0) FROM llm_usage")
    assert counted == noted
    return int(counted)


async def test_within_a_batch_a_text_is_asked_for_once(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["+1", "agreed", "+1", "+1", "agreed", "another"])
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=6, saved=3)
    assert embedder.calls == [("+1", "agreed", "another")]
    assert np.allclose(await vector_in(sql, M, ids[3]), embedder.vector("+1"))
    assert await saved(sql) == 3


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_stored_vector_of_the_same_text_is_copied(
    kind: Kind, embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = [await add_row(sql, kind, f"row {number}") for number in range(2)]
    await embed_rows(embedding, kind, ids[:1])
    if kind == M:
        await sql.execute("UPDATE messages SET text = 'row 0' WHERE id = $1", ids[1])
    elif kind == Kind.ATOMS:  # two types may say the same
        await sql.execute(
            "UPDATE atoms SET type = 'idea', title = 'row 0', content = 'row 0, in full' WHERE id = $1", ids[1]
        )
    else:
        await sql.execute("UPDATE topics SET name = 'row', description = '0' WHERE id = $1", ids[0])
        await embed_rows(embedding, kind, ids[:1])
        # Joined by a line break, the names differ and the texts do not.
        await sql.execute("UPDATE topics SET name = E'row\n0', description = '' WHERE id = $1", ids[1])
        await sql.execute("UPDATE topics SET name = 'row', description = E'0\n' WHERE id = $1", ids[0])
        await embed_rows(embedding, kind, ids[:1])
    calls = len(embedder.calls)
    assert await embed_rows(embedding, kind, ids) == Embedded(embedded=1, saved=1)
    assert len(embedder.calls) == calls
    assert np.array_equal(await vector_in(sql, kind, ids[0]), await vector_in(sql, kind, ids[1]))
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


@pytest.mark.parametrize("analysed", [False, True])
async def test_of_thousands_of_copies_one_is_looked_at(
    analysed: bool, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    await embed_rows(embedding, M, await add_messages(sql, ["+1"]))
    space = (await embedding.spaces.ours()).id
    await sql.execute("DROP INDEX messages_nearest")
    await sql.execute(
        "INSERT INTO messages (source, channel, external_id, text, sent_at, embedding) SELECT 'copies', '#x', n::text, "
        "'+1', now(), (SELECT embedding FROM messages LIMIT 1) FROM generate_series(1, 5000) n"
    )
    if analysed:
        await sql.execute("ANALYZE messages")
    ids = await add_messages(sql, ["+1"] * 50)
    for name, values in (("read_texts", (ids, space, False)), ("copy_vectors", (ids, space))):
        plan = "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN ANALYZE {statement(name, M)}", *values))
        looked_up = [line for line in plan.splitlines() if "messages_same_text" in line]
        assert looked_up, plan
        assert "Bitmap" not in plan
        assert all("rows=1.00 loops=50" in line for line in looked_up), plan


async def test_a_text_in_another_worker_s_hand_is_left_to_it_and_copied_after(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    first, second, own = await add_messages(sql, ["the same", "the same", "another"])
    other = another(embedding, database)

    async def meanwhile(_texts: Sequence[str]) -> None:
        assert await embed_rows(other, M, [second, own]) == Embedded(embedded=1)
        assert await job_of(sql, second) is None, "it is plainly pending"

    embedder.during = meanwhile
    await embedding.spaces.ours()
    assert await embed_rows(embedding, M, [first]) == Embedded(embedded=1)
    assert await embed_rows(other, M, [second]) == Embedded(embedded=1, saved=1)
    assert isinstance(other.spaces.embedder, SteeredEmbedder)
    assert embedder.paid + other.spaces.embedder.paid == {"the same": 1, "another": 1}


async def test_many_workers_with_the_same_texts_at_once_pay_for_each_once(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number % 20}" for number in range(200)])
    embedder = SteeredEmbedder()

    async def think(_texts: Sequence[str]) -> None:
        await asyncio.sleep(0.01)

    embedder.during = think
    workers = [another(embedding, database, embedder) for _ in range(4)]
    await workers[0].spaces.ours()
    for _ in range(20):  # what was left to another worker is pending, and the sweeper would send it again
        batches = [(worker, ids[start::20][turn::4]) for turn, worker in enumerate(workers) for start in range(20)]
        await asyncio.gather(*(embed_rows(worker, M, batch) for worker, batch in batches))
        if not await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NULL"):
            break
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NULL") == 0
    assert set(embedder.paid.values()) == {1}
    assert await saved(sql) == 180


async def test_a_text_whose_holder_died_is_free_after_the_lease_even_if_the_row_is_gone(
    embedding: Embedding, database: Database, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    (holder,) = await add_messages(sql, ["the same"])
    (second,) = await add_messages(sql, ["the same"])
    embedder.errors = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        await embed_rows(embedding, M, [holder])
    assert await embed_rows(another(embedding, database), M, [second]) == Embedded()
    # A restore without triggers, as pg_restore --disable-triggers does, leaves a job without its row.
    await sql.execute("SET session_replication_role = replica")
    await sql.execute("DELETE FROM extraction_queue")
    await sql.execute("DELETE FROM messages WHERE id = $1", holder)
    await sql.execute("SET session_replication_role = DEFAULT")
    await come_due(sql)
    await store.free_texts()  # as the sweeper does
    assert await embed_rows(another(embedding, database), M, [second]) == Embedded(embedded=1)
    await store.tidy()
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_a_claim_waits_for_nobody_s_open_edit(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, database_url: str, sql: asyncpg.Connection
) -> None:
    """The holder's job is being deleted by the edit's trigger: to insert another of its text would be to wait."""
    holder, second, third = await add_messages(sql, ["the same", "the same", "another"])
    embedder.errors = [ZeroDivisionError()]  # as a kill
    with pytest.raises(ZeroDivisionError):
        await embed_rows(embedding, M, [holder])
    await come_due(sql)
    somebody = await asyncpg.connect(database_url)
    await somebody.execute("BEGIN")
    await somebody.execute("UPDATE messages SET text = 'otherwise' WHERE id = $1", holder)
    async with asyncio.timeout(10):
        await store.free_texts()
        assert await embed_rows(embedding, M, [second, third]) == Embedded(embedded=1)
    await somebody.execute("ROLLBACK")
    await somebody.close()
    await store.free_texts()
    assert await embed_rows(embedding, M, [holder, second]) == Embedded(embedded=2, saved=1)


async def test_a_twin_of_a_row_that_waits_or_failed_is_tried_by_itself(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    first, second = await add_messages(sql, ["culprit", "culprit"])
    embedder.refusals["culprit"] = TextRefused("odd")
    assert await embed_rows(replace(embedding, max_attempts=1), M, [first]) == Embedded(failed=1)
    del embedder.refusals["culprit"]
    assert await embed_rows(embedding, M, [first, second]) == Embedded(embedded=1)


async def test_an_edit_frees_the_text_at_once(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    first, second = await add_messages(sql, ["the same", "the same"])
    other = another(embedding, database)

    async def edit(_texts: Sequence[str]) -> None:
        embedder.during = None
        await sql.execute("UPDATE messages SET text = 'changed' WHERE id = $1", first)
        assert await embed_rows(other, M, [second]) == Embedded(embedded=1)

    await embedding.spaces.ours()
    embedder.during = edit
    assert await embed_rows(embedding, M, [first]) == Embedded(given_back=1)
    assert await embed_rows(embedding, M, [first]) == Embedded(embedded=1)
    assert np.allclose(await vector_in(sql, M, first), embedder.vector("changed"))


async def test_texts_of_one_hash_are_told_apart(
    embedding: Embedding,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no such pair at hand, so every text gets the same hash."""
    fill = Embeddable.fill
    monkeypatch.setattr(
        Embeddable, "fill", lambda self, sql, role: fill(self, sql, role).replace("hashtextextended(", "nothing(")
    )
    await sql.execute("CREATE FUNCTION nothing(text, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 7")
    await sql.execute("CREATE FUNCTION nothing(text, integer) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 7")
    statement.cache_clear()
    try:
        one, two, same = await add_messages(sql, ["one", "two", "one"])
        assert await embed_rows(embedding, M, [one]) == Embedded(embedded=1)
        assert await embed_rows(embedding, M, [two]) == Embedded(embedded=1)
        assert await embed_rows(embedding, M, [same]) == Embedded(embedded=1, saved=1)
    finally:
        monkeypatch.undo()
        statement.cache_clear()
    for row_id, text in ((one, "one"), (two, "two"), (same, "one")):
        assert np.allclose(await vector_in(sql, M, row_id), embedder.vector(text))


async def test_a_cut_text_is_marked_and_its_twin_too(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    words = "A sentence of some length. " * 40
    ids = await add_messages(sql, [words, "short"])

    async def refuse(texts: Sequence[str]) -> None:
        if any(len(text) > 600 for text in texts):
            raise TextTooLong

    embedder.during = refuse
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)
    characters = await sql.fetchval("SELECT embedded_characters FROM messages WHERE id = $1", ids[0])
    assert 300 < characters <= 600
    assert words[:characters].endswith("length.")
    assert np.allclose(await vector_in(sql, M, ids[0]), embedder.vector(words[:characters]))
    assert await sql.fetchval("SELECT embedded_characters FROM messages WHERE id = $1", ids[1]) is None
    (twin,) = await add_messages(sql, [words])
    assert await embed_rows(embedding, M, [twin]) == Embedded(embedded=1, saved=1)
    assert await sql.fetchval("SELECT embedded_characters FROM messages WHERE id = $1", twin) == characters
    await sql.execute("UPDATE messages SET text = 'short now' WHERE id = $1", twin)
    assert await sql.fetchval("SELECT embedded_characters FROM messages WHERE id = $1", twin) is None
