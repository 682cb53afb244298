"""A backfill waits for a model server that is away, but not for ever, and never hangs on what was lost on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from plugins.backfilling import Heard, Workforce
from plugins.jetstream import eventually
from plugins.pipeline import RecordingDispatcher, SteeredEmbedder, add_messages, add_row, another, come_due
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.errors import ProviderUnavailable
from winnow.pipeline.backfill import Backfilling
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.embed import embed_rows
from winnow.storage.backfill import BatchStanding, standing_of_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

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


class Working(RecordingDispatcher):
    """A worker behind the queue: what is sent is done in the background, two at a time, but for the first `lost`."""

    def __init__(self, embedding: Embedding, lost: int = 0) -> None:
        super().__init__()
        self._embedding, self._lost = embedding, lost
        self._tasks: list[asyncio.Task[None]] = []
        self._room = asyncio.Semaphore(2)

    @override
    async def dispatch(self, jobs: Sequence[Job], lane: Lane) -> None:
        await super().dispatch(jobs, lane)
        for job in jobs:
            self._lost -= 1
            if self._lost < 0:
                self._tasks.append(asyncio.create_task(self._work(job)))

    async def _work(self, job: Job) -> None:
        assert isinstance(job, EmbedJob)
        async with self._room:
            await embed_rows(self._embedding, job.kind, job.ids)


@pytest.fixture
def worked(
    tools: Backfilling, embedding: Embedding, database: Database, embedder: SteeredEmbedder
) -> tuple[Backfilling, Working]:
    """A backfill with one worker, and what was sent to it; both would use `embedder`."""
    dispatcher = Working(another(embedding, database, embedder))
    return replace(tools, workforce=Workforce(), dispatcher=dispatcher), dispatcher


def goes_away(embedder: SteeredEmbedder) -> None:
    embedder.refusals["text"] = embedder.probe_error = ProviderUnavailable("the server is away")


def comes_back(embedder: SteeredEmbedder) -> None:
    embedder.refusals.clear()
    embedder.probe_error = None


AWAY = "waiting for the model server: the server is away"
BACK = "the model server answers again"


@pytest.mark.parametrize("inline", [False, True])
async def test_a_model_server_that_is_away_is_waited_for_and_said_once(
    *,
    inline: bool,
    worked: tuple[Backfilling, Working],
    heard: Heard,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools, dispatcher = worked
    monkeypatch.setattr("winnow.pipeline.backfill.QUIET_SECONDS", 0.1)
    await tools.embedding.spaces.ours()
    await add_messages(sql, [f"text {number}" for number in range(250)])
    goes_away(embedder)
    following = asyncio.create_task(heard.run(tools, Plan(batch_size=10, inline=inline)))
    await eventually(lambda: AWAY in heard.words)
    await asyncio.sleep(0.5)
    assert not following.done()
    assert len(dispatcher.jobs) <= 21, "twenty ahead, and one that makes somebody look"
    comes_back(embedder)
    await come_due(sql)
    done = await following
    assert (done.success, done.waiting, done.inline) == (250, 0, inline)
    assert heard.words == [AWAY, BACK]
    assert set(embedder.paid.values()) == {1}


@pytest.mark.parametrize("inline", [False, True])
async def test_a_model_server_that_stays_away_ends_the_backfill_and_every_row_waits(
    *,
    inline: bool,
    worked: tuple[Backfilling, Working],
    heard: Heard,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools, dispatcher = worked
    monkeypatch.setattr("winnow.pipeline.backfill.QUIET_SECONDS", 0.1)
    monkeypatch.setattr("winnow.pipeline.sent.PATIENCE_SECONDS", 0.5)
    await embed_rows(tools.embedding, M, await add_messages(sql, ["one"]))
    await add_messages(sql, [f"text {number}" for number in range(300)])
    await add_row(sql, Kind.TOPICS, "text")
    goes_away(embedder)
    done = await heard.run(tools, Plan(batch_size=10, inline=inline))
    assert (done.total, done.success, done.waiting, done.failed) == (301, 0, 301, 0)
    assert heard.words[0] == AWAY
    assert heard.words[1].endswith("the rest is left to the workers")
    assert len(heard.words) == 2
    assert len(dispatcher.jobs) <= 22, "not all of them are sent to find it so"
    assert len(embedder.calls) <= 4
    comes_back(embedder)
    await come_due(sql)
    assert (await heard.run(tools, Plan(limit=20, inline=True))).success == 20


async def test_a_pause_from_before_is_looked_into_at_once(
    tools: Backfilling, heard: Heard, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    """Somebody has mended the server after an hour and starts a backfill."""
    ids = await add_messages(sql, ["text"])
    await tools.embedding.spaces.ours()
    goes_away(embedder)
    await embed_rows(tools.embedding, M, ids)
    comes_back(embedder)
    await sql.execute(
        "UPDATE embedding_spaces SET paused_since = now() - interval '1 hour', paused_until = now() + interval '1 hour'"
    )
    done = await heard.run(tools, Plan(inline=True))
    assert (done.success, done.waiting, heard.words) == (1, 0, [])


async def test_workers_that_are_gone_while_the_server_is_away_are_not_waited_for(
    worked: tuple[Backfilling, Working],
    heard: Heard,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools, _ = worked
    monkeypatch.setattr("winnow.pipeline.backfill.QUIET_SECONDS", 0.1)
    await tools.embedding.spaces.ours()
    await add_messages(sql, ["text 1", "text 2"])
    goes_away(embedder)

    class Leaving(Workforce):
        @override
        async def present(self, lane: Lane) -> bool:
            return AWAY not in heard.words

    following = asyncio.create_task(heard.run(replace(tools, workforce=Leaving()), Plan(batch_size=1)))
    await eventually(lambda: AWAY in heard.words)
    comes_back(embedder)
    await come_due(sql)
    done = await following
    assert (done.success, done.inline) == (2, True)
    assert heard.words == [AWAY, "the workers are gone; embedding the rest in this process", BACK]


async def test_a_lost_task_is_sent_again_when_its_turn_is_over(
    *,
    worked: tuple[Backfilling, Working],
    heard: Heard,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.pipeline.sent.RESEND_SECONDS", 0.2)
    tools, _ = worked
    dispatcher = Working(embedding, lost=2)
    ids = await add_messages(sql, [f"text {number}" for number in range(50)])
    done = await heard.run(replace(tools, dispatcher=dispatcher), Plan(batch_size=10))
    assert (done.success, heard.words) == (50, [])
    sent = Counter(job.ids for job in dispatcher.jobs if isinstance(job, EmbedJob))
    assert [sent[tuple(ids[start : start + 10])] for start in range(0, 50, 10)] == [2, 2, 1, 1, 1]
    assert set(embedder.paid.values()) == {1}


@pytest.mark.parametrize("inline", [False, True])
async def test_a_text_that_somebody_else_has_in_hand_is_not_hung_on(
    *,
    inline: bool,
    worked: tuple[Backfilling, Working],
    heard: Heard,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    database: Database,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is left alone by the first task, stays plainly pending, and costs nothing in the end."""
    monkeypatch.setattr("winnow.pipeline.sent.RESEND_SECONDS", 0.2)
    tools, _ = worked
    (first,) = await add_messages(sql, ["the same"])
    slow, thinking, go_on = SteeredEmbedder(), asyncio.Event(), asyncio.Event()

    async def think(_texts: Sequence[str]) -> None:
        thinking.set()
        await go_on.wait()

    slow.during = think
    other = asyncio.create_task(embed_rows(another(embedding, database, slow), M, [first]))
    await thinking.wait()
    (second,) = await add_messages(sql, ["the same"])
    following = asyncio.create_task(heard.run(tools, Plan(inline=inline)))
    await asyncio.sleep(0.5)
    assert not following.done()
    go_on.set()
    assert (await following).success == 2
    assert (await other).embedded == 1
    assert second > first
    assert embedder.paid["the same"] + slow.paid["the same"] == 1


async def test_a_row_that_nobody_can_take_is_not_waited_for(
    *,
    worked: tuple[Backfilling, Working],
    heard: Heard,
    database: Database,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody is about to delete it, and does not come to an end."""
    monkeypatch.setattr("winnow.pipeline.sent.RESEND_SECONDS", 0.2)
    tools, dispatcher = worked
    ids = await add_messages(sql, [f"text {number}" for number in range(30)])
    await tools.embedding.spaces.ours()
    async with database.transaction() as connection:
        await connection.exec_driver_sql("DELETE FROM messages WHERE id = $1", (ids[15],))
        done = await heard.run(tools, Plan(batch_size=10))
        assert (done.success, done.waiting) == (29, 1)
        assert len(dispatcher.jobs) <= 5
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NULL") == 0


async def test_where_batches_stand_is_one_question(store: EmbeddingStore, sql: asyncpg.Connection) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(12)])
    await sql.execute("INSERT INTO embedding_spaces (provider, model, dimensions) VALUES ('test', 'steered', 3)")
    await sql.execute("UPDATE messages SET embedding = '[1,2,3]' WHERE id = $1", ids[0])
    await sql.execute("DELETE FROM messages WHERE id = $1", ids[1])
    jobs: list[tuple[int, str, str | None, int, int]] = [
        (2, "leased", None, 60, 0),
        (3, "leased", None, -60, 0),
        (4, "waiting", "ProviderBusy", 60, 0),
        (5, "waiting", "ProviderBusy", -60, 0),
        (6, "waiting", "locked", 60, 0),
        (7, "waiting", "TextRefused", 60, 1),
        (8, "failed", "TextRefused", 0, 3),
        (9, "skipped", "blank", 0, 0),
    ]
    for place, state, error_kind, seconds, attempts in jobs:
        await sql.execute(
            "INSERT INTO embedding_jobs "
            "(kind, entity_id, space_id, state, error_kind, attempts, lease_until, not_before) "
            "SELECT 'messages', $1, id, $2, $3, $4, now() + $5 * interval '1 s', now() + $5 * interval '1 s' "
            "FROM embedding_spaces",
            ids[place], state, error_kind, attempts, seconds,
        )  # fmt: skip
    batches = {7: ids[:2], 8: ids[2:10], 9: ids[10:]}
    assert await standing_of_batches(store._database, M, batches) == {
        7: BatchStanding(),
        8: BatchStanding(in_hand=1, free=frozenset({ids[3], ids[5]}), resting=1, waiting=2, failed=1, skipped=1),
        9: BatchStanding(free=frozenset(ids[10:])),
    }
    assert await standing_of_batches(store._database, M, {}) == {}
