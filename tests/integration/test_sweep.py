"""The sweeper finds what nobody promised, what was lost and what has come due; of many copies one sweeps."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from plugins.jetstream import eventually
from plugins.pipeline import RecordingDispatcher, SteeredEmbedder, add_messages, add_row
from plugins.sweeping import LEADER, Lanes
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.errors import ProviderUnavailable, QueueUnavailable, SpaceMismatch
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.spaces import Spaces
from winnow.pipeline.sweep import Sweeper, Sweeping
from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.engine import Database
from winnow.storage.extraction import ExtractionStore

if TYPE_CHECKING:
    import asyncpg

    from winnow.pipeline.embed import Embedding

M = Kind.MESSAGES


async def job(sql: asyncpg.Connection, row_id: int, space: int, state: str, when: str) -> None:
    await sql.execute(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, lease_until, not_before) "
        "VALUES ('messages', $1, $2, $3, now() + $4::text::interval, now() + $4::text::interval)",
        row_id,
        space,
        state,
        when,
    )


async def test_rows_that_nobody_promised_are_sent_when_they_are_old_enough(
    sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    old = await add_messages(sql, [f"text {number}" for number in range(4)])
    fresh = await add_messages(sql, ["fresh"])
    await sql.execute("UPDATE messages SET text_changed_at = now() WHERE id = $1", fresh[0])
    topic = await add_row(sql, Kind.TOPICS)
    await sql.execute("UPDATE topics SET text_changed_at = now() - interval '2 minutes'")
    assert await Sweeper(sweeping).sweep() == 3
    assert dispatcher.jobs == [
        EmbedJob(M, tuple(old[:3])),
        EmbedJob(M, tuple(old[3:])),
        EmbedJob(Kind.TOPICS, (topic,)),
    ]
    assert dispatcher.lanes == {Lane.BULK}


async def test_an_edit_makes_a_row_young_again(
    sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["one"])
    await sql.execute("UPDATE messages SET text = 'edited'")
    assert await Sweeper(sweeping).sweep() == 0


async def test_what_is_due_is_sent_and_what_is_settled_or_in_hand_is_not(
    sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    space = (await sweeping.spaces.ours()).id
    ids = await add_messages(sql, [f"text {number}" for number in range(7)])
    await sql.execute("UPDATE messages SET text_changed_at = now()")  # age matters to rows without a job only
    states = [
        ("waiting", "-1 second"), ("waiting", "1 hour"), ("leased", "-1 second"),
        ("leased", "1 hour"), ("failed", "-1 hour"), ("skipped", "-1 hour"),
    ]  # fmt: skip
    for row_id, (state, when) in zip(ids, states, strict=False):
        await job(sql, row_id, space, state, when)
    await Sweeper(sweeping).sweep()
    assert dispatcher.ids(EmbedJob, M) == [ids[0], ids[2]]


async def test_rows_are_not_sent_again_while_the_lane_holds_them(
    sweeping: Sweeping,
    dispatcher: RecordingDispatcher,
    lanes: Lanes,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(100)])
    sweeper = Sweeper(sweeping)
    assert await sweeper.sweep() == 20, "as many batches as are kept ahead"
    lanes.bulk = 20
    assert await sweeper.sweep() == 0
    lanes.bulk = 5  # fifteen were worked (though here nobody did): it goes on behind them
    assert await sweeper.sweep() == 14
    assert dispatcher.ids(EmbedJob, M) == ids
    lanes.bulk = 19
    assert await sweeper.sweep() == 0
    lanes.bulk = 0  # all gone and still NULL after a while: they were lost
    assert await sweeper.sweep() == 0
    monkeypatch.setattr("winnow.pipeline.sweep.RESEND_SECONDS", 0.0)
    assert await sweeper.sweep() == 20
    assert dispatcher.ids(EmbedJob, M) == ids + ids[:60]


async def test_rows_that_were_lost_are_sent_again_though_the_lane_is_never_empty(
    sweeping: Sweeping,
    dispatcher: RecordingDispatcher,
    lanes: Lanes,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.pipeline.sweep.SENT_SECONDS", 0.5)
    ids = await add_messages(sql, [f"text {number}" for number in range(4)])
    sweeper = Sweeper(sweeping)
    assert await sweeper.sweep() == 2
    lanes.bulk = 1  # a task that waits for its next try
    for _ in range(3):
        assert await sweeper.sweep() == 0, "they may still be in the lane"
    await asyncio.sleep(0.5)
    assert await sweeper.sweep() == 2
    assert await sweeper.sweep() == 0
    assert dispatcher.ids(EmbedJob, M) == ids + ids


async def test_what_is_on_the_way_is_not_sent_twice_and_what_comes_due_before_it_is_sent(
    sweeping: Sweeping, dispatcher: RecordingDispatcher, lanes: Lanes, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(8)])
    sweeper = Sweeper(replace(sweeping, age_seconds=0))
    lanes.bulk = 19  # room for one task of three rows
    for _ in range(3):
        await sweeper.sweep()
    assert dispatcher.ids(EmbedJob, M) == ids
    assert await sweeper.sweep() == 0
    (another,) = await add_messages(sql, ["another text"], judged=False)
    await sql.execute("DELETE FROM extraction_queue")
    await sql.execute("UPDATE messages SET id = -1 WHERE id = $1", another)
    assert await sweeper.sweep() == 1
    assert dispatcher.ids(EmbedJob, M) == [*ids, -1]


async def test_rows_that_cannot_be_claimed_keep_no_others_from_being_sent(
    sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(70)])
    sweeper = Sweeper(sweeping)
    for _ in range(2):  # the lane is empty again each time, for nothing came of the tasks
        await sweeper.sweep()
    assert set(dispatcher.ids(EmbedJob, M)) == set(ids)


async def test_a_moment_in_the_future_is_no_reason_to_wait(sweeping: Sweeping, sql: asyncpg.Connection) -> None:
    (row_id,) = await add_messages(sql, ["from a dump of another machine"])
    await sql.execute("UPDATE messages SET text_changed_at = now() + interval '1 hour' WHERE id = $1", row_id)
    assert await Sweeper(sweeping).sweep() == 1


async def test_embedded_rows_are_not_sent(
    sweeping: Sweeping, embedding: Embedding, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", " "])
    await embed_rows(embedding, M, ids)
    assert await Sweeper(sweeping).sweep() == 0


async def test_without_a_usable_space_nothing_is_sent(
    *,
    sweeping: Sweeping,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    dispatcher: RecordingDispatcher,
    database: Database,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    embedder.probe_error = ProviderUnavailable()
    with pytest.raises(ProviderUnavailable):
        await Sweeper(sweeping).sweep()
    embedder.probe_error = None
    await embed_rows(embedding, M, ids[:1])
    with pytest.raises(SpaceMismatch):
        await Sweeper(replace(sweeping, spaces=Spaces(database, SteeredEmbedder(model="other")))).sweep()
    assert dispatcher.calls == []


async def test_one_of_two_leads_and_the_other_takes_over_when_its_connection_dies(
    sweeping: Sweeping, database_url: str, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winnow.pipeline.sweep.TROUBLE_PAUSE_SECONDS", 0.1)
    second = Database(database_url, pool_size=2)
    dispatchers = (RecordingDispatcher(), RecordingDispatcher())
    copies = [
        Sweeper(replace(sweeping, dispatcher=dispatchers[0])),
        Sweeper(
            replace(
                sweeping,
                database=second,
                embeddings=EmbeddingStore(second),
                extractions=ExtractionStore(second),
                spaces=Spaces(second, SteeredEmbedder()),
                dispatcher=dispatchers[1],
            )
        ),
    ]
    stop = asyncio.Event()
    first = asyncio.create_task(copies[0].sweep_forever(stop))
    await add_messages(sql, ["one"])
    await eventually(lambda: dispatchers[0].calls)
    other = asyncio.create_task(copies[1].sweep_forever(stop))
    await asyncio.sleep(0.5)
    assert not dispatchers[1].calls
    for _ in range(3):  # whoever leads dies; there is always one again, and never two
        (holder,) = await sql.fetch(LEADER)
        await sql.execute("SELECT pg_terminate_backend($1)", holder["pid"])

        async def led_by_another(before: int = holder["pid"]) -> bool:
            holders = [row["pid"] for row in await sql.fetch(LEADER)]
            assert len(holders) <= 1
            return bool(holders) and holders != [before]

        await eventually(led_by_another)
    assert not first.done()
    assert not other.done()
    stop.set()
    await asyncio.gather(first, other)
    assert await sql.fetch(LEADER) == [], "who stops gives the lock back"
    await second.close()


async def test_trouble_is_waited_for(
    *,
    sweeping: Sweeping,
    dispatcher: RecordingDispatcher,
    embedder: SteeredEmbedder,
    lanes: Lanes,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.pipeline.sweep.TROUBLE_PAUSE_SECONDS", 0.05)
    await add_messages(sql, ["one"])
    embedder.probe_error, lanes.error, dispatcher.error = ProviderUnavailable(), QueueUnavailable(), QueueUnavailable()
    stop = asyncio.Event()
    sweeper = asyncio.create_task(Sweeper(sweeping).sweep_forever(stop))
    await asyncio.sleep(0.3)
    embedder.probe_error = None
    await asyncio.sleep(0.2)
    lanes.error = None
    await asyncio.sleep(0.2)
    dispatcher.error = None
    await eventually(lambda: dispatcher.calls)
    stop.set()
    await sweeper
