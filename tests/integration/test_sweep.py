"""The sweeper finds what nobody promised, what was lost and what has come due; of many copies one sweeps."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from plugins.jetstream import eventually
from plugins.pipeline import RecordingDispatcher, SteeredEmbedder, add_messages, add_row
from plugins.sweeping import LEADER, Lanes
from winnow.domain.jobs import Asked, EmbedJob, ExtractJob, Kind, Lane, ScoreJob
from winnow.errors import ProviderUnavailable, QueueUnavailable, SpaceMismatch
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.spaces import Spaces
from winnow.pipeline.sweep import BATCHES_AHEAD, Sweeper, Sweeping
from winnow.storage.channels import park_queue
from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.engine import Database
from winnow.storage.extraction import ExtractionStore
from winnow.storage.named import statement

if TYPE_CHECKING:
    import asyncpg

    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.extract import Extracting

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


# -- extraction


@pytest.fixture
def extraction_sweeping(sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch) -> Sweeping:
    """Extraction at five messages or after two hours of quiet; looked at in every sweep."""
    monkeypatch.setattr("winnow.pipeline.sweep.EXTRACTION_EVERY_SECONDS", 0)
    monkeypatch.setattr("winnow.pipeline.sweep.LOOKS_SHARE", 1e9)
    return replace(sweeping, extraction_threshold=5, extraction_quiet_seconds=7200)


async def test_enough_unclaimed_messages_start_an_extraction(
    extraction_sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    many = await add_messages(sql, ["text"] * 5, channel="#many")
    await add_messages(sql, ["text"] * 4, channel="#few")
    sweeper = Sweeper(extraction_sweeping)
    await sweeper.sweep()
    assert dispatcher.ids(ExtractJob) == many
    assert (dispatcher.calls[0][1], dispatcher.calls[0][0]) == (
        Lane.LIVE,
        (ExtractJob(tuple(many), Asked.THRESHOLD),),
    )
    await sweeper.sweep()
    assert dispatcher.ids(ExtractJob) == many, "promised is promised"


async def test_a_quiet_channel_is_extracted_below_the_threshold(
    extraction_sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    quiet = await add_messages(sql, ["text"] * 2, channel="#quiet")
    await add_messages(sql, ["text"] * 2, channel="#lively")
    await sql.execute("UPDATE messages SET received_at = now() - interval '3 hours' WHERE channel = '#quiet'")
    await sql.execute(
        "UPDATE messages SET received_at = now() - interval '3 hours' WHERE id = (SELECT max(id) FROM messages)"
    )
    await Sweeper(extraction_sweeping).sweep()
    assert dispatcher.ids(ExtractJob) == quiet


async def test_messages_after_the_promised_ones_wait_for_company(
    extraction_sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    first = await add_messages(sql, ["text"] * 5)
    sweeper = Sweeper(extraction_sweeping)
    await sweeper.sweep()
    await add_messages(sql, ["one more"], conversation=first[0])
    await sweeper.sweep()
    assert dispatcher.ids(ExtractJob) == first, "one message alone makes no window"
    await add_messages(sql, ["text"] * 4, conversation=first[0])
    await sweeper.sweep()
    assert len(dispatcher.ids(ExtractJob)) == 10


async def test_a_quiet_conversation_of_a_lively_channel_is_extracted_and_no_other(
    extraction_sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    quiet = await add_messages(sql, ["text"] * 2, hours_ago=3)
    await add_messages(sql, ["text"] * 4)
    await Sweeper(extraction_sweeping).sweep()
    assert dispatcher.jobs[0] == ExtractJob(tuple(quiet), Asked.QUIET)
    assert dispatcher.ids(ExtractJob) == quiet


async def test_a_conversation_is_not_cut_where_a_task_ends(
    extraction_sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    talks = [await add_messages(sql, ["text"] * 80) for _ in range(4)]
    await Sweeper(extraction_sweeping).sweep()
    jobs = [job.ids for job in dispatcher.jobs if isinstance(job, ExtractJob)]
    assert jobs == [(*talks[0], *talks[1]), (*talks[2], *talks[3])]


async def test_of_a_backlog_no_more_is_sent_than_the_lane_is_to_hold_and_what_was_just_said_goes_beside_it(
    extraction_sweeping: Sweeping,
    dispatcher: RecordingDispatcher,
    extracting: Extracting,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.pipeline.sweep_extraction.PAGE", 300)
    monkeypatch.setattr("winnow.pipeline.sweep_extraction.PAGE_OF_LATEST", 5)
    monkeypatch.setattr("winnow.pipeline.sweep_extraction.MOST_AHEAD", 150)
    backlog = await add_messages(sql, ["text"] * 400)
    said = await add_messages(sql, ["text"] * 5, channel="#now")
    sweeper = Sweeper(extraction_sweeping)
    await sweeper.sweep()
    assert sorted(dispatcher.ids(ExtractJob)) == [*backlog[:150], *said]
    await sweeper.sweep()
    assert len(dispatcher.ids(ExtractJob)) == 155, "nobody has taken any of it"
    await extract_knowledge(extracting, [*backlog[:150], *said], lane=Lane.BULK)
    for _ in range(3):
        await sweeper.sweep()
    assert sorted(dispatcher.ids(ExtractJob))[:300] == backlog[:300], "the rest of the page"
    await extract_knowledge(extracting, backlog[150:300], lane=Lane.BULK)
    for _ in range(3):
        await sweeper.sweep()
    assert sorted(dispatcher.ids(ExtractJob)) == [*backlog, *said]


async def test_what_nobody_extracts_is_not_even_looked_at(
    extraction_sweeping: Sweeping, extracting: Extracting, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["text"] * 300, channel="#search")
    ids = await add_messages(sql, ["text"] * 5)
    await sql.execute("INSERT INTO channels (source, channel, mode) VALUES ('test', '#search', 'search')")
    await park_queue(extraction_sweeping.database)
    assert await extracting.store.next_page(after=0, most=5) == ids[-1]
    await sql.execute("SET enable_seqscan = off")  # which so small a table would be read by
    plan = await sql.fetch("EXPLAIN " + statement("latest_page").replace("$1::int", "2000"))
    assert any("extraction_queue_due" in row[0] for row in plan), plan
    await sql.execute("UPDATE channels SET mode = 'on'")
    await park_queue(extraction_sweeping.database)
    assert len(await due(extracting)) == 305


async def due(extracting: Extracting) -> list[int]:
    found = await extracting.store.due(threshold=1, quiet_seconds=0, failed_pause_seconds=0)
    return [row for conversation in found for row in conversation.ids]


async def test_an_import_is_extracted_over_the_bulk_lane_in_batches(
    extraction_sweeping: Sweeping, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["text"] * 450)
    await Sweeper(extraction_sweeping).sweep()
    jobs = [(job, lane) for jobs, lane in dispatcher.calls for job in jobs if isinstance(job, ExtractJob)]
    assert [len(job.ids) for job, _ in jobs] == [200, 200, 50]
    assert {lane for _, lane in jobs} == {Lane.BULK}
    assert dispatcher.ids(ExtractJob) == ids


async def test_a_channel_whose_run_just_failed_has_a_pause(
    extraction_sweeping: Sweeping, extracting: Extracting, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["text"] * 5)
    run = await extracting.store.start_run(source="test", channel="#team", extractor="x", ids=ids, lease_seconds=30)
    assert run is not None
    await Sweeper(extraction_sweeping).sweep()
    assert dispatcher.ids(ExtractJob) == [], "in a run's hand"
    await extracting.store.fail_run(run[0], "away", fault=False)
    await Sweeper(extraction_sweeping).sweep()
    assert dispatcher.ids(ExtractJob) == []
    await sql.execute("UPDATE extraction_runs SET finished_at = now() - interval '2 minutes'")
    await Sweeper(extraction_sweeping).sweep()
    assert dispatcher.ids(ExtractJob) == ids


async def test_messages_that_kill_every_run_are_left_aside(
    extraction_sweeping: Sweeping, extracting: Extracting, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["text"] * 5)
    for sent in (ids, ids, []):
        await extracting.store.start_run(source="test", channel="#team", extractor="x", ids=ids, lease_seconds=-1)
        await Sweeper(extraction_sweeping).sweep()
        await sql.execute("UPDATE extraction_runs SET finished_at = now() - interval '2 minutes'")
        dispatcher.calls.clear()
        await Sweeper(extraction_sweeping).sweep()
        assert dispatcher.ids(ExtractJob) == sent


async def test_a_killed_run_s_messages_are_sent_again(
    extraction_sweeping: Sweeping, extracting: Extracting, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["text"] * 5)
    await extracting.store.start_run(source="test", channel="#team", extractor="x", ids=ids, lease_seconds=30)
    await sql.execute("UPDATE extraction_runs SET lease_until = now() - interval '2 minutes'")
    await Sweeper(extraction_sweeping).sweep()
    assert await sql.fetchval("SELECT state FROM extraction_runs") == "failed"
    await sql.execute("UPDATE extraction_runs SET finished_at = now() - interval '2 minutes'")
    await Sweeper(extraction_sweeping).sweep()
    assert dispatcher.ids(ExtractJob) == ids


async def test_what_has_no_score_or_conversation_is_sent_once_unless_the_lane_is_full(
    extraction_sweeping: Sweeping,
    dispatcher: RecordingDispatcher,
    lanes: Lanes,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.pipeline.sweep.UNJUDGED_EVERY_SECONDS", 0)
    monkeypatch.setattr("winnow.pipeline.sweep.LOOKS_SHARE", 1e9)
    ids = await add_messages(sql, ["text"] * 3, judged=False)
    sweeper = Sweeper(extraction_sweeping)
    lanes.bulk = BATCHES_AHEAD
    await sweeper.sweep()
    assert dispatcher.ids(ScoreJob) == []
    lanes.bulk = 0
    for _ in range(2):
        await sweeper.sweep()
    assert dispatcher.ids(ScoreJob) == ids
    await Sweeper(extraction_sweeping).sweep()
    assert dispatcher.ids(ScoreJob) == ids * 2, "another process does not know of the promise"


# -- leadership


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
