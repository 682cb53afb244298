"""The sweeper sends conversations to be extracted when they hold enough or are quiet, and a backlog bit by bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import RecordingDispatcher, add_messages
from winnow.domain.jobs import Asked, ExtractJob, Lane, ScoreJob
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.sweep import BATCHES_AHEAD, Sweeper, Sweeping
from winnow.storage.channels import park_queue
from winnow.storage.named import statement

if TYPE_CHECKING:
    import asyncpg

    from plugins.sweeping import Lanes
    from winnow.pipeline.extract import Extracting


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


async def test_what_is_in_nobodys_hand_is_sent_again_once_the_lanes_are_empty(
    extraction_sweeping: Sweeping,
    dispatcher: RecordingDispatcher,
    lanes: Lanes,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.pipeline.sweep_extraction.PROMISED_SECONDS", 0)
    many = await add_messages(sql, ["text"] * 5)
    sweeper = Sweeper(extraction_sweeping)
    lanes.bulk = 1
    for _ in range(3):
        await sweeper.sweep()
    assert dispatcher.ids(ExtractJob) == many, "it may still be in the lane"
    lanes.bulk = 0
    await sweeper.sweep()
    assert dispatcher.ids(ExtractJob) == many * 2
    lanes.bulk = 1
    monkeypatch.setattr("winnow.pipeline.sweep_extraction.PROMISED_AT_MOST_SECONDS", 0)
    await sweeper.sweep()
    assert dispatcher.ids(ExtractJob) == many * 3, "a lane that is never empty does not hide that it is lost"


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
