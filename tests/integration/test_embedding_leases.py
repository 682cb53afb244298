"""A row is in one hand at a time; who lets the lease run out loses it, and comes too late without harm."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from nats.js.errors import NotFoundError

from plugins.jetstream import eventually
from plugins.pipeline import (
    SteeredEmbedder,
    add_messages,
    another,
    come_due,
    job_of,
    serving,
    vector_in,
    winnow_over,
)
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.errors import ProviderUnavailable, TextRefused
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.storage.embedding_records import Lease

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from winnow.pipeline.embed import Embedding
    from winnow.queue.broker import JetStreamBroker
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES


async def test_concurrent_calls_over_the_same_rows_pay_for_each_text_once(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(60)])
    embedder = SteeredEmbedder()

    async def think(_texts: Sequence[str]) -> None:
        await asyncio.sleep(0.02)

    embedder.during = think
    workers = [another(embedding, database, embedder) for _ in range(4)]
    await workers[0].spaces.ours()
    orders: list[list[int]] = [ids, list(reversed(ids)), ids[20:] + ids[:20], ids[:30]]
    done = await asyncio.gather(
        *(
            embed_rows(worker, M, order[start : start + 20])
            for worker, order in zip(workers, orders, strict=True)
            for start in range(0, len(order), 20)
        )
    )
    assert sum(one.embedded for one in done) == 60
    assert sum(one.taken for one in done) == 60
    assert set(embedder.paid.values()) == {1}
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_rows_in_hand_show_whose_and_until_when(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    (row_id,) = await add_messages(sql, ["one"])

    async def look(_texts: Sequence[str]) -> None:
        job = await job_of(sql, row_id)
        left = await sql.fetchval("SELECT extract(epoch FROM lease_until - now()) FROM embedding_jobs")
        assert (job["state"], job["worker"]) == ("leased", "one")
        assert 20 < left <= 30
        assert (await store.counts())[M].in_hand == 1
        assert await embed_rows(replace(embedding, worker="two"), M, [row_id]) == Embedded()

    embedder.during = look
    assert await embed_rows(embedding, M, [row_id]) == Embedded(embedded=1)


async def test_the_lease_is_kept_while_the_model_is_slow(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    await embedding.spaces.ours()
    other = another(embedding, database)

    async def think(_texts: Sequence[str]) -> None:
        for _ in range(3):
            await asyncio.sleep(0.45)
            assert await embed_rows(other, M, ids) == Embedded()

    embedder.during = think
    assert await embed_rows(replace(embedding, lease_seconds=1), M, ids) == Embedded(embedded=1)


async def test_a_lease_that_ran_out_is_taken_over_and_the_late_writer_harms_nobody(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    other = another(embedding, database)

    async def freeze(_texts: Sequence[str]) -> None:
        await come_due(sql)  # as if this worker had been stopped for longer than its lease
        assert await embed_rows(other, M, ids[:1]) == Embedded(embedded=1)

    embedder.during = freeze
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1, given_back=1)
    for row_id, text in zip(ids, ("one", "two"), strict=True):
        np.testing.assert_allclose(await vector_in(sql, M, row_id), embedder.vector(text), rtol=1e-6)
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_the_late_writer_may_win_while_the_new_holder_still_thinks(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    slow = SteeredEmbedder()
    other = another(embedding, database, slow)
    first_done, second_thinks = asyncio.Event(), asyncio.Event()
    taking: list[asyncio.Task[Embedded]] = []

    async def freeze(_texts: Sequence[str]) -> None:
        await come_due(sql)
        taking.append(asyncio.create_task(embed_rows(other, M, ids)))
        await second_thinks.wait()

    async def think(_texts: Sequence[str]) -> None:
        second_thinks.set()
        await first_done.wait()

    embedder.during, slow.during = freeze, think
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
    first_done.set()
    assert await taking[0] == Embedded(given_back=1)
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_what_a_late_worker_has_to_report_does_not_touch_the_new_holder_s_rows(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    slow = SteeredEmbedder()
    other = another(embedding, database, slow)
    reported, second_thinks = asyncio.Event(), asyncio.Event()
    taking: list[asyncio.Task[Embedded]] = []

    async def freeze(_texts: Sequence[str]) -> None:
        if not taking:  # a refusal may be asked for twice; only the first time does the lease run out
            await come_due(sql)
            taking.append(asyncio.create_task(embed_rows(other, M, ids)))
        await second_thinks.wait()
        raise TextRefused

    async def think(_texts: Sequence[str]) -> None:
        second_thinks.set()
        await reported.wait()

    embedder.during, slow.during = freeze, think
    await embed_rows(embedding, M, ids)
    job = await job_of(sql, ids[0])
    assert (job["state"], job["worker"], job["attempts"]) == ("leased", "two", 0)
    reported.set()
    assert await taking[0] == Embedded(embedded=1)


async def test_a_killed_worker_s_rows_are_free_after_its_lease(
    embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    space = await embedding.spaces.ours()
    await sql.execute(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, token, worker, lease_until, attempts) "
        "SELECT 'messages', id, $1, 'leased', gen_random_uuid(), 'dead', now() + interval '0.3 seconds', 1 "
        "FROM messages",
        space.id,
    )
    assert await embed_rows(embedding, M, ids) == Embedded()
    await asyncio.sleep(0.4)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)


async def has_consumer(broker: JetStreamBroker) -> bool:
    with suppress(NotFoundError):
        return bool(await broker.js.consumer_info("TASKS", "live"))
    return False


async def test_a_task_whose_worker_died_comes_again_when_its_rows_are_free(
    database_url: str, nats_url: str, sql: asyncpg.Connection
) -> None:
    """Without any sweeper: JetStream delivers it while the dead worker's lease still runs, and once more after."""
    (row_id,) = await add_messages(sql, ["one"])
    given: dict[str, Any] = {"lease_seconds": 30, "ack_wait_seconds": 0.5}
    async with winnow_over(database_url, nats_url, model=SteeredEmbedder(), started=False, **given) as winnow:
        async with serving(winnow):  # makes the consumer
            space = await winnow.spaces.ours()
            await eventually(lambda: winnow.brokers[Lane.LIVE].client.is_connected)
            await eventually(lambda: has_consumer(winnow.brokers[Lane.LIVE]))
        await winnow.close()
    async with winnow_over(database_url, nats_url, model=SteeredEmbedder(), **given) as dead:
        await dead.dispatcher.dispatch([EmbedJob(M, (row_id,))], Lane.LIVE)
        taken = await dead.brokers[Lane.LIVE].js.pull_subscribe_bind("live", "TASKS")
        await taken.fetch(1, timeout=5)
        lease = Lease(kind=M, space=space, token=uuid4(), worker="dead", seconds=3)
        assert set(await dead.embeddings.claim(lease, [row_id])) == {row_id}
    embedder = SteeredEmbedder()
    async with winnow_over(database_url, nats_url, model=embedder, started=False, **given) as winnow, serving(winnow):
        await eventually(lambda: embedder.calls)

        async def embedded() -> bool:
            return await vector_in(sql, M, row_id) is not None

        await eventually(embedded)


async def test_who_stood_still_for_longer_than_its_lease_asks_no_more(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    """Between two tries: another worker may have asked for the rows meanwhile, and paid."""
    ids = await add_messages(sql, ["one", "two"])
    tools = replace(embedding, patience_seconds=10.0, lease_seconds=0.5)

    async def stand_still(_texts: Sequence[str]) -> None:
        embedder.during = None
        time.sleep(0.8)  # noqa: ASYNC251 - the whole process stands still, its heartbeat, too

    embedder.during = stand_still
    embedder.errors = [ProviderUnavailable("away for a moment")]
    assert await embed_rows(tools, M, ids) == Embedded(given_back=2)
    assert len(embedder.calls) == 1
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)
    assert set(embedder.paid.values()) == {1}
