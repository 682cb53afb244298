"""A stored vector always belongs to the text beside it, whatever happens to the row while the model thinks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from plugins.jetstream import eventually
from plugins.pipeline import SteeredEmbedder, add_messages, add_row, another, come_due, job_of, vector_in
from winnow.domain.jobs import Kind
from winnow.errors import ProviderUnavailable
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.pipeline.spaces import Spaces
from winnow.providers.local import LocalEmbedder
from winnow.storage.embedding_records import Lease
from winnow.storage.embeddings import LARGE_WRITE_ROWS, EmbeddingStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from winnow.pipeline.embed import Embedding
    from winnow.storage.engine import Database

M = Kind.MESSAGES


@pytest.mark.parametrize("kind", list(Kind))
async def test_vectors_are_those_of_the_embedded_text(
    kind: Kind, embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = [await add_row(sql, kind, f"words about subject {number}") for number in range(5)]
    assert await embed_rows(embedding, kind, ids) == Embedded(embedded=5)
    texts = embedder.calls[0]
    assert len(embedder.calls) == 1
    for row_id, text in zip(ids, texts, strict=True):
        np.testing.assert_allclose(await vector_in(sql, kind, row_id), embedder.vector(text), rtol=1e-6)
    expected = {Kind.MESSAGES: "words about subject 0", Kind.TOPICS: "words about subject 0\n"}
    assert texts[0] == expected.get(kind, "words about subject 0\nwords about subject 0, in full")
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_the_built_in_model_s_vectors_are_stored_as_it_made_them(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    local = LocalEmbedder()
    texts = [
        "The build fails on Windows",
        "мы решили перенести релиз",
        "🙂 emoji and \u200bodd\u00a0spaces",
        "a" * 9000,
    ]
    ids = await add_messages(sql, texts)
    tools = Embedding_with(embedding, database, local)
    assert (await embed_rows(tools, M, ids)).embedded == 4
    own = (await local.embed(texts, input_type="document")).vectors
    for row_id, vector in zip(ids, own, strict=True):
        np.testing.assert_allclose(await vector_in(sql, M, row_id), vector, rtol=1e-5, atol=1e-7)
    await local.close()


def Embedding_with(embedding: Embedding, database: Database, local: LocalEmbedder) -> Embedding:  # noqa: N802
    return type(embedding)(
        store=embedding.store,
        spaces=Spaces(database, local),
        worker="local",
        lease_seconds=30,
        max_attempts=3,
    )


async def test_a_second_call_finds_nothing_to_do(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    await embed_rows(embedding, M, [*ids, *ids, 10**12])
    assert await embed_rows(embedding, M, ids) == Embedded()
    assert await embed_rows(embedding, M, []) == Embedded()
    assert embedder.paid == {"one": 1, "two": 1}


async def test_a_text_changed_during_the_call_gets_no_stale_vector_and_a_right_one_later(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])

    async def edit(_texts: Sequence[str]) -> None:
        await sql.execute("UPDATE messages SET text = 'changed' WHERE id = $1", ids[1])

    embedder.during = edit
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2, given_back=1)
    assert await vector_in(sql, M, ids[1]) is None
    assert await job_of(sql, ids[1]) is None, "a changed text is plainly pending"
    embedder.during = None
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
    np.testing.assert_allclose(await vector_in(sql, M, ids[1]), embedder.vector("changed"), rtol=1e-6)


async def test_a_text_changed_there_and_back_takes_the_vector_that_was_paid_for(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    (row_id,) = await add_messages(sql, ["one"])

    async def edit(_texts: Sequence[str]) -> None:
        await sql.execute("UPDATE messages SET text = 'other' WHERE id = $1", row_id)
        await sql.execute("UPDATE messages SET text = 'one' WHERE id = $1", row_id)

    embedder.during = edit
    assert await embed_rows(embedding, M, [row_id]) == Embedded(embedded=1)


async def test_a_row_deleted_during_the_call_leaves_nothing_behind(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])

    async def delete(_texts: Sequence[str]) -> None:
        await sql.execute("DELETE FROM messages WHERE id = $1", ids[0])

    embedder.during = delete
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2, given_back=1)
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_a_truncated_table_leaves_nothing_behind(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])

    async def truncate(_texts: Sequence[str]) -> None:
        await sql.execute("TRUNCATE messages CASCADE")

    embedder.during = truncate
    assert await embed_rows(embedding, M, ids) == Embedded(given_back=2)
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_a_row_locked_for_a_moment_is_written_with_the_vector_in_hand(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    releasing: list[asyncio.Task[None]] = []

    async def lock(_texts: Sequence[str]) -> None:
        await somebody.execute("BEGIN")
        await somebody.execute("UPDATE messages SET importance = 1 WHERE id = $1", ids[1])
        releasing.append(asyncio.create_task(release()))

    async def release() -> None:
        await asyncio.sleep(0.15)
        await somebody.execute("COMMIT")

    embedder.during = lock
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=3)
    await releasing[0]
    assert embedder.paid == {"one": 1, "two": 1, "three": 1}


async def test_a_row_that_stays_locked_does_not_hold_up_its_neighbours_and_is_embedded_later(
    *,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    somebody: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.domain.backoff.random.random", lambda: 1.0)
    ids = await add_messages(sql, ["one", "two", "three"])
    await embedding.spaces.ours()
    await somebody.execute("BEGIN")
    await somebody.execute("SELECT FROM messages WHERE id = $1 FOR NO KEY UPDATE", ids[1])
    async with asyncio.timeout(20):
        assert await embed_rows(embedding, M, ids) == Embedded(embedded=2, given_back=1)
        await come_due(sql)
        assert await embed_rows(embedding, M, ids) == Embedded(given_back=1), "still locked"
    await somebody.execute("COMMIT")
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
    assert embedder.paid["two"] == 1, "its vector was kept"
    assert np.allclose(await vector_in(sql, M, ids[1]), embedder.vector("two"))


async def test_a_kept_vector_is_of_its_text_only(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    (row_id,) = await add_messages(sql, ["before"])
    await embedding.spaces.ours()
    await somebody.execute("BEGIN")
    await somebody.execute("UPDATE messages SET text = 'after' WHERE id = $1", row_id)
    assert await embed_rows(embedding, M, [row_id]) == Embedded(given_back=1)
    await somebody.execute("COMMIT")
    await come_due(sql)
    assert await embed_rows(embedding, M, [row_id]) == Embedded(embedded=1)
    assert embedder.paid == {"before": 1, "after": 1}
    assert np.allclose(await vector_in(sql, M, row_id), embedder.vector("after"))


async def test_a_row_that_is_being_deleted_is_not_taken(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    gone, stays = await add_messages(sql, ["gone", "stays"])
    await embedding.spaces.ours()
    await somebody.execute("DELETE FROM extraction_queue")
    await somebody.execute("BEGIN")
    await somebody.execute("DELETE FROM messages WHERE id = $1", gone)
    assert await embed_rows(embedding, M, [gone, stays]) == Embedded(embedded=1)
    await somebody.execute("COMMIT")
    assert set(embedder.paid) == {"stays"}
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_a_text_being_edited_in_an_open_transaction_holds_nobody_up(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    """The trigger of the open edit has the row's job locked as well: no statement of ours may wait for it."""
    ids = await add_messages(sql, ["one", "two", "three"])

    async def edit(_texts: Sequence[str]) -> None:
        await somebody.execute("BEGIN")
        await somebody.execute("UPDATE messages SET text = 'changed' WHERE id = $1", ids[1])

    embedder.during = edit
    async with asyncio.timeout(10):
        assert await embed_rows(embedding, M, ids) == Embedded(embedded=2, given_back=1)
        embedder.during = None
        assert await embed_rows(embedding, M, ids) == Embedded()
        await come_due_by(somebody, sql, ids[1])
        assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
    np.testing.assert_allclose(await vector_in(sql, M, ids[1]), embedder.vector("changed"), rtol=1e-6)


async def come_due_by(somebody: asyncpg.Connection, sql: asyncpg.Connection, row_id: int) -> None:
    await somebody.execute("COMMIT")
    assert await job_of(sql, row_id) is None, "the committed edit took the job away"


async def test_a_job_that_came_due_under_an_open_edit_is_left_alone(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    space = await embedding.spaces.ours()
    await sql.execute(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, not_before) "
        "VALUES ('messages', $1, $2, 'waiting', now() - interval '1 hour')",
        ids[0],
        space.id,
    )
    await somebody.execute("BEGIN")
    await somebody.execute("UPDATE messages SET text = 'changed' WHERE id = $1", ids[0])
    async with asyncio.timeout(10):
        assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
    await somebody.execute("ROLLBACK")
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
    assert embedder.paid == {"one": 1, "two": 1}


async def test_a_refusal_or_a_wait_is_noted_around_an_open_edit(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])

    async def edit(_texts: Sequence[str]) -> None:
        await somebody.execute("BEGIN")
        await somebody.execute("UPDATE messages SET text = 'changed' WHERE id = $1", ids[0])

    embedder.during, embedder.errors = edit, [ProviderUnavailable()]
    async with asyncio.timeout(10):
        await embed_rows(embedding, M, ids)
    assert (await job_of(sql, ids[1]))["state"] == "waiting"
    await somebody.execute("COMMIT")
    assert await job_of(sql, ids[0]) is None


async def test_edits_in_any_order_and_embedding_never_deadlock(
    embedding: Embedding, database: Database, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(20)])
    editing = True

    async def edit() -> None:
        round_ = 0
        while editing:
            round_ += 1
            async with somebody.transaction():
                for row_id in reversed(ids):
                    await somebody.execute("UPDATE messages SET text = $2 WHERE id = $1", row_id, f"{row_id} {round_}")

    async def embed(tools: Embedding) -> None:
        for _ in range(4):
            await embed_rows(tools, M, ids)

    editor = asyncio.create_task(edit())
    await asyncio.gather(embed(embedding), embed(another(embedding, database)))
    editing = False
    await editor
    await come_due(sql)
    await embed_rows(embedding, M, ids)
    oracle = SteeredEmbedder()
    for row in await sql.fetch("SELECT id, text FROM messages"):
        np.testing.assert_allclose(await vector_in(sql, M, row["id"]), oracle.vector(row["text"]), rtol=1e-6)


async def test_nothing_is_written_into_a_space_that_was_retired_during_the_call(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, database: Database
) -> None:
    """Same dimension, other model: only the check in the writing statement can tell them apart."""
    ids = await add_messages(sql, ["one", "two"])
    newer = SteeredEmbedder(model="newer")

    async def replace_space(_texts: Sequence[str]) -> None:
        await Spaces(database, newer).ours()

    embedder.during = replace_space
    assert await embed_rows(embedding, M, ids) == Embedded(given_back=2)
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NOT NULL") == 0
    assert await embed_rows(another(embedding, database, newer), M, ids) == Embedded(embedded=2)
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0
    np.testing.assert_allclose(await vector_in(sql, M, ids[0]), newer.vector("one"), rtol=1e-6)


async def test_no_transaction_is_open_while_the_model_thinks(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    seen: list[int] = []

    async def look(_texts: Sequence[str]) -> None:
        seen.append(
            await sql.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            )
        )
        seen.append(
            await sql.fetchval(
                "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                "WHERE c.relname = 'messages' AND l.pid <> pg_backend_pid()"
            )
        )

    embedder.during = look
    await embed_rows(embedding, M, ids)
    assert seen == [0, 0]


async def test_large_writes_stand_in_line_and_small_ones_do_not(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"row {number}" for number in range(3 * LARGE_WRITE_ROWS + 1)])
    store, space = EmbeddingStore(database, large_writes=2), await embedding.spaces.ours()
    lease = Lease(kind=M, space=space, token=uuid4(), worker="test", seconds=30)
    rows = await store.read(lease, list(await store.claim(lease, ids)))
    vectors = dict.fromkeys(ids, np.ones(space.dimensions, dtype=np.float32))
    batches = [rows[:LARGE_WRITE_ROWS], rows[LARGE_WRITE_ROWS : 2 * LARGE_WRITE_ROWS], rows[2 * LARGE_WRITE_ROWS : -1]]
    async with database.transaction() as holder:
        await holder.exec_driver_sql("LOCK TABLE messages IN EXCLUSIVE MODE")
        writes = [asyncio.create_task(store.write(lease, batch, vectors)) for batch in [*batches, rows[-1:]]]

        async def waiting() -> int:
            found: int = await sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return found

        async def three_wait() -> bool:
            return await waiting() == 3

        await eventually(three_wait)
        await asyncio.sleep(0.2)
        assert await waiting() == 3, "two large ones and the small one"
    assert sum(len(written) for written in await asyncio.gather(*writes)) == len(ids)
