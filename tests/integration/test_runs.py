"""Runs are looked at, ended and asked for again; each has its account, and a window that was read is not read twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from plugins.extraction import NOTHING, an_atom_a_message, left, numbers
from plugins.pipeline import START, RecordingDispatcher, SteeredExtractor, add_atom, add_messages, incoming
from winnow.domain.jobs import Asked, EmbedJob, ExtractJob, Kind, Lane, ScoreJob
from winnow.domain.knowledge import AtomType, Claim, ExtractedAtom, Extraction, ExtractionFailed, ModelUse
from winnow.errors import InvalidInput, Permanent, ProviderUnavailable, RunNotFound
from winnow.pipeline.extract import Extracted, extract_knowledge
from winnow.pipeline.forget import by_ids, forget, weigh_forgetting
from winnow.pipeline.ingest import ingest
from winnow.pipeline.request_extraction import Requested, Requesting, request_by_hand
from winnow.pipeline.runs import Cancelled, cancel, retry, run_of
from winnow.storage.runs import Wanted, list_runs

if TYPE_CHECKING:
    import asyncpg

    from winnow.domain.knowledge import Window
    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork

USE = ModelUse(requests=3, input_tokens=2000, output_tokens=400, cost_usd=Decimal("0.0125"), seconds=1.5)


@pytest.fixture
def requesting(database: Database, units: UnitsOfWork, dispatcher: RecordingDispatcher) -> Requesting:
    return Requesting(database=database, units=units, dispatcher=dispatcher)


async def queue(sql: asyncpg.Connection, ids: list[int]) -> None:
    await sql.execute("INSERT INTO extraction_queue (message_id) SELECT unnest($1::bigint[])", ids)


# -- accounts


async def test_a_run_tells_what_it_found_and_what_that_cost(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    claim = Claim(message_id=ids[0], quote="x")
    unproven = ExtractedAtom(type=AtomType.RISK, title="r", content="r", confidence=0.6, evidence=(), claims=(claim,))
    extractor.answer = lambda window: replace(
        an_atom_a_message(window), atoms=(*an_atom_a_message(window).atoms, unproven), use=USE
    )
    await extract_knowledge(extracting, ids, lane=Lane.LIVE, asked=Asked.QUIET)
    (listed,) = await list_runs(database, limit=9)
    run = await run_of(database, listed.id)
    assert (run.state, run.asked, run.messages, run.unproven) == ("done", "quiet", 2, 1)
    assert (run.extractor, run.extractor_version, run.channel) == ("steered", "1", "#team")
    assert (run.requests, run.input_tokens, run.output_tokens, run.cost_usd) == (3, 2000, 400, Decimal("0.0125"))
    assert run.message_ids == tuple(ids)
    assert len(run.found) == run.atoms
    assert run.answer is None


async def test_a_failed_run_keeps_what_the_model_said_until_a_message_of_it_is_forgotten(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(4)])

    async def fail(_window: Window) -> None:
        raise ExtractionFailed("no JSON\x00 in it", answer="I \x00 think " + "x" * 200_000, use=USE)

    extractor.during = fail
    for shown in (ids[3], ids[1]):  # the one as context of the other run, and by itself
        await extract_knowledge(extracting, [shown], lane=Lane.LIVE)
    for run in await list_runs(database, limit=9):
        found = await run_of(database, run.id)
        assert (found.state, found.requests, found.cost_usd) == ("failed", 3, Decimal("0.0125"))
        assert found.answer is not None
        assert (found.answer[:9], len(found.answer)) == ("I \ufffd think", 100_000)
    chosen = by_ids([ids[1]])
    foreseen = await weigh_forgetting(database, chosen)
    receipt = await forget(extracting.units, database, chosen, for_ever=False)
    assert foreseen.removed.run_errors == receipt.removed.run_errors == 2
    assert [run["answer"] for run in await sql.fetch("SELECT answer FROM extraction_runs")] == [None, None]
    assert {run["error"] for run in await sql.fetch("SELECT error FROM extraction_runs")} == {
        "a message of it was removed"
    }


async def test_what_was_asked_of_a_model_is_told_though_the_commit_failed(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])

    async def delete(_window: Window) -> None:
        await sql.execute("UPDATE messages SET text = 'other'")

    extractor.during = delete
    extractor.answer = lambda window: replace(an_atom_a_message(window), use=USE)
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(failed=1)
    (run,) = await list_runs(database, limit=9)
    assert (run.state, run.requests, run.atoms) == ("abandoned", 3, 0)


# -- the same window


async def test_a_window_that_was_read_is_not_read_again(
    extracting: Extracting,
    extractor: SteeredExtractor,
    dispatcher: RecordingDispatcher,
    database: Database,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    extractor.answer = an_atom_a_message
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    await queue(sql, ids)
    await sql.execute("UPDATE messages SET importance = NULL, signal = NULL")
    await sql.execute("DELETE FROM message_threads")
    await extracting.units.drain()
    dispatcher.calls.clear()
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted()
    assert len(extractor.windows) == 1
    assert await left(sql) == []
    assert len(await list_runs(database, limit=9)) == 1, "no run is left of it"
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE importance IS NULL") == 0
    await extracting.units.drain()
    assert dispatcher.ids(ScoreJob) == ids, "what is in no conversation is still linked"


@pytest.mark.parametrize("change", ["version", "context", "words"])
async def test_what_changed_is_read_again(
    change: str, extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    await extract_knowledge(extracting, ids[1:], lane=Lane.LIVE)
    if change == "version":
        extractor.version = "2"
    else:
        await sql.execute("UPDATE messages SET text = 'changed' WHERE id = $1", ids[change == "words"])
    await queue(sql, ids[1:])
    assert (await extract_knowledge(extracting, ids[1:], lane=Lane.LIVE)).messages == 2


async def test_a_text_that_is_edited_back_is_read_again_for_what_was_known_from_it_went(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = list((await ingest(extracting.units, [incoming(1, "we use it")], lane=Lane.LIVE)).ids)
    extractor.answer = an_atom_a_message
    for number, words in enumerate(("we use it", "we use it not", "we use it")):
        moment = START + timedelta(days=number + 1)
        await ingest(extracting.units, [incoming(1, words, edited_at=moment)], lane=Lane.LIVE)
        assert (await extract_knowledge(extracting, ids, lane=Lane.LIVE)).done == 1
        assert await sql.fetchval("SELECT min(quote) FROM atom_evidence") == words
    assert await sql.fetchval("SELECT count(*) FROM extraction_runs WHERE state = 'done'") == 3


# -- by hand


async def test_what_was_extracted_is_read_again_when_a_person_says_so(
    extracting: Extracting,
    extractor: SteeredExtractor,
    requesting: Requesting,
    dispatcher: RecordingDispatcher,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    extractor.answer = an_atom_a_message
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert await request_by_hand(requesting, Wanted(ids=tuple(ids)), again=False) == Requested(left_out=2)
    done = await request_by_hand(requesting, Wanted(ids=tuple(ids)), again=True)
    assert done == Requested(messages=2, tasks=1, again=2)
    assert dispatcher.jobs[-1] == ExtractJob(tuple(ids), Asked.HAND)
    assert (await extract_knowledge(extracting, ids, lane=Lane.LIVE)).messages == 2
    assert len(extractor.windows) == 2


async def test_channels_and_a_period_say_which_messages(requesting: Requesting, sql: asyncpg.Connection) -> None:
    ids = {channel: await add_messages(sql, ["one", "two", "three"], channel=channel) for channel in ("#a", "#b", "#c")}
    await sql.execute("INSERT INTO channels (source, channel, title) VALUES ('test', '#b', 'The b')")
    await sql.execute("UPDATE messages SET signal = 'noise' WHERE id = $1", ids["#a"][0])
    dispatcher = requesting.dispatcher
    assert isinstance(dispatcher, RecordingDispatcher)
    two = START + timedelta(minutes=2)
    for wanted, expected in [
        (Wanted(channels=("#a", "The b")), ids["#a"][1:] + ids["#b"]),
        (Wanted(since=two, until=two + timedelta(seconds=1)), [ids[name][1] for name in ids]),
        (Wanted(ids=(ids["#a"][0], ids["#c"][2], 2**40)), [ids["#c"][2]]),
        (Wanted(channels=("#nowhere",)), []),
    ]:
        dispatcher.calls.clear()
        done = await request_by_hand(requesting, wanted, again=True)
        assert sorted(dispatcher.ids(ExtractJob)) == sorted(expected)
        assert (done.messages, done.again) == (len(expected), 0)
    with pytest.raises(InvalidInput, match="before it begins"):
        await request_by_hand(requesting, Wanted(since=two, until=two), again=False)


async def test_noise_and_what_nobody_extracts_stay_as_they_are_also_by_name(
    extracting: Extracting, requesting: Requesting, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"]) + await add_messages(sql, ["two"], channel="#search")
    await sql.execute("UPDATE messages SET signal = 'noise' WHERE id = $1", ids[0])
    await sql.execute("INSERT INTO channels (source, channel, mode) VALUES ('test', '#search', 'search')")
    assert await request_by_hand(requesting, Wanted(ids=tuple(ids)), again=True) == Requested(left_out=2)
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted()


# -- cancel and retry


async def test_a_cancelled_run_commits_nothing_and_its_messages_wait_aside(
    extracting: Extracting,
    extractor: SteeredExtractor,
    requesting: Requesting,
    database: Database,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, ["one", "two"])

    async def end(_window: Window) -> None:
        (run,) = await list_runs(database, state="running", limit=9)
        assert await cancel(requesting, run.id) == Cancelled((run.id,), 2)
        with pytest.raises(InvalidInput, match="it is cancelled"):
            await cancel(requesting, run.id)

    extractor.during, extractor.answer = end, an_atom_a_message
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(failed=1)
    assert await numbers(sql) == NOTHING | {"extraction_queue": 2}
    (run,) = await list_runs(database, limit=9)
    assert (run.state, run.error) == ("cancelled", "somebody cancelled it")
    assert await left(sql) == [(row, None, 3) for row in ids]
    extractor.during = None
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE, asked=Asked.THRESHOLD) == Extracted()
    assert (await extract_knowledge(extracting, ids, lane=Lane.LIVE, asked=Asked.RETRY)).messages == 2


async def test_a_worker_is_told_by_its_heartbeat_that_its_run_was_cancelled(
    extracting: Extracting, extractor: SteeredExtractor, requesting: Requesting, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    stopped = asyncio.Event()

    async def think(_window: Window) -> None:
        await cancel(requesting, None)
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    extractor.during = think
    call = extract_knowledge(replace(extracting, lease_seconds=0.3), ids, lane=Lane.LIVE)
    assert await asyncio.wait_for(call, 20) == Extracted(failed=1)
    assert stopped.is_set()


async def test_a_failed_run_is_retried_with_what_still_waits(
    extracting: Extracting,
    extractor: SteeredExtractor,
    requesting: Requesting,
    dispatcher: RecordingDispatcher,
    sql: asyncpg.Connection,
) -> None:
    database = extracting.database
    one, two = await add_messages(sql, ["one"], channel="#a"), await add_messages(sql, ["two", "three"], channel="#b")
    extractor.during = _refuse
    await extract_knowledge(extracting, one + two, lane=Lane.LIVE)
    extractor.during = None
    await extract_knowledge(extracting, two[:1], lane=Lane.LIVE)
    done, failed_b, failed_a = await list_runs(database, limit=9)
    await extracting.units.drain()
    dispatcher.calls.clear()
    assert (await retry(requesting, failed_b.id)).messages == 1
    assert (await retry(requesting, failed_a.id)).messages == 1
    assert (await retry(requesting, None)).messages == 2
    assert dispatcher.jobs == [
        ExtractJob((two[1],), Asked.RETRY),
        ExtractJob((one[0],), Asked.RETRY),
        ExtractJob((one[0], two[1]), Asked.RETRY),
    ]
    with pytest.raises(InvalidInput, match="--again"):
        await retry(requesting, done.id)
    with pytest.raises(RunNotFound):
        await retry(requesting, 2**40)
    await extract_knowledge(extracting, [one[0], two[1]], lane=Lane.LIVE, asked=Asked.RETRY)
    assert (await list_runs(database, limit=1))[0].asked == "retry"
    assert (await retry(requesting, None)).messages == 0


async def _refuse(_window: Window) -> None:
    raise Permanent


async def test_an_abandoned_run_does_not_hold_its_channel_up_and_a_failed_one_does(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    due = {"threshold": 1, "quiet_seconds": 0.0, "failed_pause_seconds": 60.0}

    async def remove(_window: Window) -> None:
        await forget(extracting.units, database, by_ids(ids[:1]), for_ever=False)

    extractor.during = remove
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert [run.state for run in await list_runs(database, limit=9)] == ["abandoned"]
    assert [one.ids for one in await extracting.store.due(**due)] == [(ids[1],)]  # type: ignore[arg-type]

    async def away(_window: Window) -> None:
        raise ProviderUnavailable("away")

    extractor.during = away
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert await extracting.store.due(**due) == []  # type: ignore[arg-type]


# -- who reads


async def test_a_channel_whose_extractor_changed_meanwhile_is_left_to_the_other(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    """As when somebody marks it local-only: nothing leaves for a model that is elsewhere."""
    ids = await add_messages(sql, ["one"])
    local, asked = SteeredExtractor(name="local"), []

    async def choose(source: str, channel: str) -> SteeredExtractor:
        asked.append((source, channel))
        return extractor if len(asked) == 1 else local

    tools = replace(extracting, extractor_for=choose)
    assert await extract_knowledge(tools, ids, lane=Lane.LIVE) == Extracted(failed=1)
    assert (extractor.windows, local.windows) == ([], [])
    assert await left(sql) == [(ids[0], None, 0)]
    assert (await extract_knowledge(tools, ids, lane=Lane.LIVE)).done == 1
    assert [run.extractor for run in await list_runs(database, limit=9)] == ["local", "steered"]
    assert set(asked) == {("test", "#team")}


async def test_known_atoms_and_topics_are_offered_to_who_wants_them(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    extractor.answer = an_atom_a_message
    await extract_knowledge(extracting, await add_messages(sql, ["the parser breaks", "apples"]), lane=Lane.LIVE)
    await add_atom(sql, "elsewhere", "of no message of the channel")
    await extract_knowledge(extracting, await add_messages(sql, ["more"]), lane=Lane.LIVE)
    extractor.wants_known = True
    await extract_knowledge(extracting, await add_messages(sql, ["apples again"]), lane=Lane.LIVE)
    first, second, third = extractor.windows
    assert first.known == second.known == ()
    assert third.topics == ("releases",)
    assert {atom.content for atom in third.known[:2]} == {"problem apples", "solution apples"}, "the most alike first"
    assert {atom.content for atom in third.known[2:]} == {
        f"{kind} {words}" for kind in ("problem", "solution") for words in ("the parser breaks", "more")
    }


async def test_a_window_knows_its_conversations(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    long = await add_messages(sql, [f"long {number}" for number in range(7)])
    short = await add_messages(sql, ["short"])
    await sql.execute("UPDATE message_threads SET parent_id = $1, vote = 1 WHERE message_id = $2", long[4], long[6])
    await extract_knowledge(extracting, [*long[4:6], *short], lane=Lane.LIVE)
    talk, alone = sorted(extractor.windows, key=lambda window: window.messages[0].id)
    assert [(one.id, one.conversation, one.votes) for one in talk.messages] == [
        (long[4], long[0], 1), (long[5], long[0], 0)
    ]  # fmt: skip
    assert [one.id for one in talk.context] == long[2:4]
    assert [one.conversation for one in alone.messages] == short


async def test_every_promise_of_a_run_goes_over_its_lane(
    extracting: Extracting, extractor: SteeredExtractor, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    extractor.answer = lambda _window: Extraction()
    await extract_knowledge(extracting, ids, lane=Lane.BULK)
    await extracting.units.drain()
    assert (dispatcher.ids(EmbedJob, Kind.MESSAGES), dispatcher.lanes) == (ids, {Lane.BULK})
