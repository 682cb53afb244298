"""A backfill embeds every row without a vector, over the workers or by itself, and tells what became of each."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from plugins.backfilling import Heard, Workforce
from plugins.jetstream import eventually
from plugins.pipeline import (
    RecordingDispatcher,
    SteeredEmbedder,
    add_messages,
    add_row,
    another,
    assert_nothing_missing,
    serving,
    winnow_over,
)
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.errors import QueueUnavailable, SpaceMismatch, TextRefused
from winnow.pipeline.backfill import Backfilling
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.embed import Embedded, embed_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from plugins.model_servers import OllamaServer
    from winnow.bootstrap import Winnow
    from winnow.domain.jobs import Job
    from winnow.pipeline.embed import Embedding
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES


@pytest.fixture
def heard() -> Heard:
    """An ear."""
    return Heard()


@pytest.fixture
def tools(
    database: Database, store: EmbeddingStore, embedding: Embedding, dispatcher: RecordingDispatcher
) -> Backfilling:
    """A backfill that finds no worker."""
    return Backfilling(
        database=database, store=store, dispatcher=dispatcher, workforce=Workforce(there=False), embedding=embedding
    )


async def test_every_kind_is_gone_over_in_this_process_when_asked(
    tools: Backfilling,
    dispatcher: RecordingDispatcher,
    heard: Heard,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    await add_messages(sql, ["one", "two", " "])
    for kind in (Kind.TOPICS, Kind.ATOMS):
        await add_row(sql, kind)
    done = await heard.run(tools, Plan(inline=True, batch_size=2))
    assert (done.total, done.success, done.skipped, done.failed, done.inline) == (5, 4, 1, 0, True)
    assert max(len(call) for call in embedder.calls) <= 2
    assert heard.words == []
    assert dispatcher.calls == []
    again = await heard.run(tools, Plan(inline=True))
    assert (again.total, again.done) == (0, 0), "what is skipped for good is not gone over again"


async def test_without_a_worker_it_is_said_aloud_and_done_here(
    tools: Backfilling, heard: Heard, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["one", "two"])
    done = await heard.run(tools)
    assert (done.success, done.inline) == (2, True)
    assert heard.words == ["no worker serves the bulk lane; embedding in this process instead"]


async def test_with_nats_away_it_is_said_aloud_and_done_here(
    tools: Backfilling, dispatcher: RecordingDispatcher, heard: Heard, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["one", "two"])
    done = await heard.run(replace(tools, workforce=Workforce(error=QueueUnavailable("NATS is away"))))
    assert (done.success, done.inline) == (2, True)
    assert heard.words[0] == "NATS is away"


async def test_with_nats_gone_on_the_way_the_rest_is_done_here(
    tools: Backfilling, embedding: Embedding, heard: Heard, sql: asyncpg.Connection
) -> None:
    class Dying(RecordingDispatcher):
        """Works one job in place of a worker, then the queue is gone."""

        @override
        async def dispatch(self, jobs: Sequence[Job], lane: Lane) -> None:
            await super().dispatch(jobs, lane)
            self.error = QueueUnavailable("NATS is away.")
            for job in jobs:
                await embed_rows(embedding, M, job.ids)

    await add_messages(sql, [f"text {number}" for number in range(10)])
    done = await heard.run(replace(tools, workforce=Workforce(), dispatcher=Dying()), Plan(batch_size=3))
    assert (done.success, done.inline) == (10, True)
    assert heard.words == ["NATS is away. Embedding in this process instead."]


async def test_nothing_to_do_asks_nobody(tools: Backfilling, heard: Heard) -> None:
    done = await heard.run(replace(tools, workforce=Workforce(error=AssertionError())))
    assert (done.total, done.done, heard.words) == (0, 0, [])


async def test_a_limit_holds_over_all_kinds(tools: Backfilling, heard: Heard, sql: asyncpg.Connection) -> None:
    await add_messages(sql, ["one", "two"])
    for number in range(3):
        await add_row(sql, Kind.TOPICS, f"topic {number}")
    done = await heard.run(tools, Plan(limit=3, batch_size=2))
    assert (done.total, done.success) == (3, 3)
    done = await heard.run(tools, Plan(limit=100))
    assert (done.total, done.success) == (2, 2)


async def test_only_the_kinds_asked_for(
    tools: Backfilling, heard: Heard, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    for kind in Kind:
        await add_row(sql, kind)
    assert (await heard.run(tools, Plan(kinds=(Kind.ATOMS,)))).success == 1
    counts = await store.counts()
    assert {kind: counts[kind].without_vector for kind in Kind} == {
        Kind.MESSAGES: 1, Kind.TOPICS: 1, Kind.ATOMS: 0
    }  # fmt: skip


async def test_what_failed_or_waits_is_tried_again(
    tools: Backfilling, heard: Heard, embedder: SteeredEmbedder, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["culprit", "one"])
    embedder.refusals["culprit"] = TextRefused()
    done = await heard.run(tools)
    assert (done.success, done.waiting) == (1, 1), "another try of a text at fault is not waited for"
    tools = replace(tools, embedding=replace(embedding, max_attempts=1))
    done = await heard.run(tools)
    assert (done.total, done.failed) == (1, 1)
    embedder.refusals.clear()
    done = await heard.run(tools)
    assert (done.total, done.success) == (1, 1)
    assert embedder.paid["culprit"] == 1


async def test_another_embedder_s_vectors_stop_it_before_anything_is_sent(
    tools: Backfilling, heard: Heard, database: Database, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["one"])
    await heard.run(tools)
    await add_messages(sql, ["two"])
    with pytest.raises(SpaceMismatch):
        await heard.run(replace(tools, embedding=another(tools.embedding, database, SteeredEmbedder(model="other"))))


async def test_rows_in_another_s_hand_are_waited_for(
    tools: Backfilling, heard: Heard, embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    slow = SteeredEmbedder()
    thinking = asyncio.Event()

    async def think(_texts: Sequence[str]) -> None:
        thinking.set()
        await asyncio.sleep(0.5)

    slow.during = think
    other = asyncio.create_task(embed_rows(another(embedding, database, slow), M, ids[:1]))
    await thinking.wait()
    done = await heard.run(tools, Plan(inline=True))
    assert (done.total, done.success) == (2, 2)
    assert await other == Embedded(embedded=1)


async def test_rows_in_a_slow_worker_s_hand_are_counted_in_the_end(
    tools: Backfilling, heard: Heard, embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    """A worker that keeps its lease for longer than this process cares to wait at the spot."""
    ids = await add_messages(sql, ["one", "two"])
    tools = replace(tools, embedding=replace(embedding, lease_seconds=0.5))
    slow, thinking = SteeredEmbedder(), asyncio.Event()

    async def think(_texts: Sequence[str]) -> None:
        thinking.set()
        await asyncio.sleep(1.5)

    slow.during = think
    other = asyncio.create_task(embed_rows(another(tools.embedding, database, slow), M, ids[:1]))
    await thinking.wait()
    done = await heard.run(tools, Plan(inline=True, batch_size=1))
    assert (done.total, done.success) == (2, 2)
    assert await other == Embedded(embedded=1)


@pytest.mark.parametrize(("lock", "paid"), [("NO KEY UPDATE", 1), ("UPDATE", 0)], ids=["an edit", "a deletion"])
async def test_a_row_somebody_keeps_locked_is_not_hung_on_and_paid_for_once(
    *,
    lock: str,
    paid: int,
    tools: Backfilling,
    heard: Heard,
    embedder: SteeredEmbedder,
    database: Database,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    await tools.embedding.spaces.ours()
    async with database.transaction() as connection:
        await connection.exec_driver_sql(f"SELECT FROM messages WHERE id = $1 FOR {lock}", (ids[0],))
        done = await heard.run(tools, Plan(inline=True))
    assert (done.success, done.waiting) == (1, 1)
    assert embedder.paid["one"] == paid
    done = await heard.run(tools, Plan(inline=True))
    assert (done.total, done.success) == (1, 1)
    assert embedder.paid["one"] == 1


# -- over real workers


async def test_the_workers_do_it_over_the_bulk_lane(database_url: str, nats_url: str, sql: asyncpg.Connection) -> None:
    await add_messages(sql, [f"text {number}" for number in range(95)] + [" "] * 5)
    for kind in (Kind.TOPICS, Kind.ATOMS):
        await add_row(sql, kind)
    ours, theirs, heard = SteeredEmbedder(), SteeredEmbedder(), Heard()
    async with (
        winnow_over(database_url, nats_url, model=theirs, started=False) as worker,
        winnow_over(database_url, nats_url, model=ours) as winnow,
        serving(worker, Lane.BULK),
    ):
        await until_somebody_works(winnow)
        done = await heard.run(winnow.backfilling(), Plan(batch_size=7))
        assert (done.total, done.success, done.skipped, done.inline) == (102, 97, 5, False)
        assert heard.words == []
        assert ours.calls == [], "this process only followed"
        assert set(theirs.paid.values()) == {1}
        assert max(len(call) for call in theirs.calls) <= 7
        assert (await heard.run(winnow.backfilling())).total == 0
        await assert_nothing_missing(winnow.embeddings, sql)


async def until_somebody_works(winnow: Winnow) -> None:
    workforce = winnow.backfilling().workforce
    await eventually(lambda: workforce.present(Lane.BULK))


async def test_an_interrupted_backfill_goes_on_where_it_stopped(
    database_url: str, nats_url: str, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(100)])
    theirs = SteeredEmbedder()

    async def think(_texts: Sequence[str]) -> None:
        await asyncio.sleep(0.02)

    theirs.during = think
    async with (
        winnow_over(database_url, nats_url, model=theirs, started=False) as worker,
        winnow_over(database_url, nats_url, model=SteeredEmbedder()) as winnow,
        serving(worker, Lane.BULK),
    ):
        await until_somebody_works(winnow)
        first = asyncio.create_task(Heard().run(winnow.backfilling(), Plan(batch_size=5)))
        await eventually(lambda: len(theirs.calls) >= 5)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        done = await Heard().run(winnow.backfilling(), Plan(batch_size=5))
        assert done.success == done.total == done.done < 100, "what the workers still had of the first is not its own"
        assert set(theirs.paid.values()) == {1}
        assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NULL") == 0


async def test_a_worker_killed_in_the_middle_leaves_the_rest_to_this_process(
    database_url: str,
    nats_url: str,
    ollama_server: OllamaServer,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """kill -9 of a real worker process that holds rows; each text it had is paid for at most once more."""
    monkeypatch.setattr("winnow.pipeline.backfill.STALL_SECONDS", 0.3)
    await add_messages(sql, [f"text {number}" for number in range(30)])
    settings: dict[str, Any] = {"embedder": "ollama:nomic-embed-text", "ollama_url": ollama_server.url}
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "NATS_URL": nats_url,
        "WINNOW_EMBEDDER": settings["embedder"],
        "WINNOW_OLLAMA_URL": settings["ollama_url"],
        "WINNOW_LEASE_SECONDS": "2",
    }
    heard = Heard()
    async with winnow_over(database_url, nats_url, **settings) as winnow:
        await winnow.spaces.ours()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "winnow.cli.entry", "worker", "--lanes", "bulk",
            env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await until_somebody_works(winnow)
            ollama_server.delay_seconds = 1
            before = len(ollama_server.requests)
            following = asyncio.create_task(heard.run(winnow.backfilling(), Plan(batch_size=5)))
            await eventually(lambda: len(ollama_server.requests) > before)
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        ollama_server.delay_seconds = 0
        async with asyncio.timeout(40):
            done = await following
    assert (done.success, done.failed, done.inline) == (30, 0, True)
    assert heard.words == ["the workers are gone; embedding the rest in this process"]
    assert max(times for text, times in ollama_server.answered.items() if "dimension" not in text) <= 2
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0


async def test_what_a_backfill_sends_are_batches_of_ids(
    tools: Backfilling, embedding: Embedding, dispatcher: RecordingDispatcher, heard: Heard, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(5)])
    plan = Plan(batch_size=2)
    following = asyncio.create_task(heard.run(replace(tools, workforce=Workforce()), plan))
    await eventually(lambda: len(dispatcher.jobs) == 3)
    assert dispatcher.jobs == [EmbedJob(M, tuple(ids[start : start + 2]), run=plan.run) for start in (0, 2, 4)]
    assert dispatcher.lanes == {Lane.BULK}
    await embed_rows(embedding, M, ids)
    assert (await following).success == 5
