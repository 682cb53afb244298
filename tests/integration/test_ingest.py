"""Each message is stored once, and what it promises leaves after the commit or not at all."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from plugins.jetstream import eventually
from plugins.pipeline import RecordingDispatcher, incoming, winnow_over
from winnow.domain.jobs import EmbedJob, Kind, Lane, ScoreJob
from winnow.domain.scoring import score
from winnow.errors import QueueUnavailable
from winnow.pipeline.ingest import Ingested, ingest
from winnow.pipeline.overview import overview
from winnow.pipeline.score import Scoring, score_messages
from winnow.storage.messages import Fate, insert_messages
from winnow.storage.unit_of_work import UnitsOfWork

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from plugins.nats import NatsServer
    from winnow.bootstrap import Winnow
    from winnow.domain.jobs import Job
    from winnow.storage.engine import Database


async def test_a_message_is_stored_as_it_was_said(units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    moment = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    message = incoming(1, "what\x00ever \ud800 🙂", sent_at=moment, reply_to="0", thread="t")
    (row_id,) = (await ingest(units, [message], lane=Lane.LIVE)).ids
    row = await sql.fetchrow("SELECT * FROM messages WHERE id = $1", row_id)
    assert (row["source"], row["channel"], row["external_id"], row["author"]) == ("test", "#team", "1", "ann")
    assert row["text"].startswith("what\ufffdever ")
    assert row["text"].endswith(" 🙂")
    assert (row["sent_at"], row["reply_to"], row["thread"]) == (moment, "0", "t")
    assert row["embedding"] is None
    assert await sql.fetchval("SELECT run_id IS NULL FROM extraction_queue WHERE message_id = $1", row_id)


async def test_what_is_known_is_left_as_it_is_and_promises_nothing(
    units: UnitsOfWork, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    first = await ingest(units, [incoming(1), incoming(2)], lane=Lane.LIVE)
    await units.drain()
    dispatcher.calls.clear()
    again = await ingest(units, [incoming(2, "another text"), incoming(1)], lane=Lane.LIVE)
    assert len(first.ids) == 2
    told = [(message.id, message.fate) for message in again.messages]
    assert told == [(first.ids[1], Fate.DIFFERS), (first.ids[0], Fate.KNOWN)]
    assert (again.ids, again.known, again.differing) == ((), 1, 1)
    await units.drain()
    assert dispatcher.calls == []
    assert await sql.fetchval("SELECT text FROM messages WHERE external_id = '2'") == "words number 2"
    assert await sql.fetchval("SELECT count(*) FROM extraction_queue") == 2


async def test_identity_is_source_channel_and_external_id(units: UnitsOfWork) -> None:
    same = [incoming(1), incoming(1, channel="#other"), incoming(1, source="irc"), incoming(1), incoming(2)]
    done = await ingest(units, same, lane=Lane.LIVE)
    assert (len(done.ids), done.known) == (4, 1)


async def test_duplicates_in_one_call_are_stored_once_the_first_wins(
    units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    done = await ingest(units, [incoming(1, "first"), incoming(1, "second")], lane=Lane.LIVE)
    assert (len(done.ids), done.known, done.differing) == (1, 0, 1)
    assert await sql.fetchval("SELECT text FROM messages") == "first"


async def test_ids_follow_the_order_they_were_given_in(units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    await ingest(units, [incoming(number) for number in (5, 1, 9, 3)], lane=Lane.LIVE)
    assert [row[0] for row in await sql.fetch("SELECT external_id FROM messages ORDER BY id")] == ["5", "1", "9", "3"]


async def test_nothing_given_is_nothing_done(units: UnitsOfWork, dispatcher: RecordingDispatcher) -> None:
    assert await ingest(units, [], lane=Lane.LIVE) == Ingested(())
    await units.drain()
    assert dispatcher.calls == []


async def test_promises_leave_in_batches(units: UnitsOfWork, dispatcher: RecordingDispatcher) -> None:
    ids = (await ingest(units, [incoming(number) for number in range(7)], lane=Lane.LIVE)).ids
    await units.drain()
    assert dispatcher.jobs == [
        *(ScoreJob(part) for part in (ids[:3], ids[3:6], ids[6:])),
        *(EmbedJob(Kind.MESSAGES, part) for part in (ids[:3], ids[3:6], ids[6:])),
    ]
    assert dispatcher.lanes == {Lane.LIVE}


async def test_an_import_s_vectors_are_left_to_the_sweeper(units: UnitsOfWork, dispatcher: RecordingDispatcher) -> None:
    ids = (await ingest(units, [incoming(number) for number in range(7)], lane=Lane.BULK)).ids
    await units.drain()
    assert dispatcher.jobs == [ScoreJob(part) for part in (ids[:3], ids[3:6], ids[6:])]
    assert dispatcher.lanes == {Lane.BULK}


async def test_promises_leave_after_the_commit(database: Database, sql: asyncpg.Connection) -> None:
    class Looking(RecordingDispatcher):
        @override
        async def dispatch(self, jobs: Sequence[Job], lane: Lane) -> None:
            await super().dispatch(jobs, lane)
            seen.append(await sql.fetchval("SELECT count(*) FROM messages"))
            open_transactions.append(
                await sql.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
                )
            )

    seen: list[int] = []
    open_transactions: list[int] = []
    units = UnitsOfWork(database, looking := Looking(), batch_size=100)
    await ingest(units, [incoming(1), incoming(2)], lane=Lane.LIVE)
    await units.drain()
    assert len(looking.jobs) == 2
    assert (seen, open_transactions) == ([2], [0])


async def test_promises_vanish_with_a_rollback(
    units: UnitsOfWork, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    async def fail_after_promising() -> None:
        async with units.begin() as work:
            (stored,) = await insert_messages(work, [incoming(1)], [score("words", "ann")])
            assert stored.id is not None
            work.promise(ScoreJob((stored.id,)), Lane.LIVE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_after_promising()
    await units.drain()
    assert dispatcher.calls == []
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0


async def test_promises_vanish_when_the_commit_itself_fails(
    units: UnitsOfWork, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        """
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$;
        CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION fail()
        """
    )
    with pytest.raises(Exception, match="no room"):
        await ingest(units, [incoming(1)], lane=Lane.LIVE)
    await units.drain()
    assert dispatcher.calls == []


async def test_a_promise_that_cannot_be_kept_is_counted_and_the_commit_stands(
    units: UnitsOfWork, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    for number, error in enumerate((QueueUnavailable(), ZeroDivisionError("a bug")), start=1):
        dispatcher.error = error
        assert len((await ingest(units, [incoming(number)], lane=Lane.LIVE)).ids) == 1
        await units.drain()
        assert await sql.fetchval("SELECT value FROM counters WHERE name = 'hook.failed'") == number
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NULL") == 2


async def test_a_failure_that_cannot_even_be_counted_changes_nothing_about_the_commit(
    units: UnitsOfWork, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    await sql.execute("DROP TABLE counters")
    dispatcher.error = QueueUnavailable()
    assert len((await ingest(units, [incoming(1)], lane=Lane.LIVE)).ids) == 1
    await units.drain()


async def test_with_nats_killed_messages_are_stored_quickly_and_the_failure_counted(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection
) -> None:
    async with winnow_over(database_url, nats_server.url) as winnow:
        assert len((await ingest(winnow.units, [incoming(1)], lane=Lane.LIVE)).ids) == 1
        await winnow.units.drain()
        nats_server.kill()
        started = time.monotonic()
        for number in (2, 3):
            assert len((await ingest(winnow.units, [incoming(number)], lane=Lane.LIVE)).ids) == 1
        await winnow.units.drain()
        assert time.monotonic() - started < 15
        assert await sql.fetchval("SELECT value FROM counters WHERE name = 'hook.failed'") == 2
        state = await overview(winnow.overviewing())
        assert (state.hook_failures, state.queue) == (2, None)
        assert "NATS" in (state.queue_error or "")
        await nats_server.start()
        await eventually(lambda: queue_is_back(winnow))
        await ingest(winnow.units, [incoming(4)], lane=Lane.LIVE)
        await winnow.units.drain()
        assert await sql.fetchval("SELECT value FROM counters WHERE name = 'hook.failed'") == 2


async def queue_is_back(winnow: Winnow) -> bool:
    return (await overview(winnow.overviewing())).queue is not None


async def test_the_same_messages_ingested_at_once_in_another_order_are_stored_once(
    database: Database, sql: asyncpg.Connection
) -> None:
    units = UnitsOfWork(database, RecordingDispatcher(), batch_size=100)
    messages = [incoming(number) for number in range(2000)]
    done = await asyncio.gather(
        *(ingest(units, part, lane=Lane.BULK) for part in (messages, messages[::-1], messages[500:] + messages[:500]))
    )
    assert sum(len(one.ids) for one in done) == 2000
    assert await sql.fetchval("SELECT count(*) FROM messages") == 2000


async def test_each_message_is_stored_with_its_importance_and_why(units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    texts = ["RESOLVED: we use Postgres for all storage", "ok", ""]
    await ingest(units, [incoming(n, text) for n, text in enumerate(texts)], lane=Lane.LIVE)
    rows = await sql.fetch("SELECT importance, signal, factors::text AS factors FROM messages ORDER BY id")
    assert rows[0]["importance"] > 0.5 > rows[1]["importance"] >= rows[2]["importance"] >= 0
    assert [row["signal"] for row in rows] == ["signal", "weak", "noise"]
    assert "explicit mark" in rows[0]["factors"]


async def test_rows_that_others_wrote_are_scored_once(
    units: UnitsOfWork, database: Database, sql: asyncpg.Connection
) -> None:
    ids = (await ingest(units, [incoming(1), incoming(2)], lane=Lane.LIVE)).ids
    await sql.execute("UPDATE messages SET importance = NULL, signal = NULL")
    scoring = Scoring(database=database, units=units)
    assert await score_messages(scoring, ids) == 2
    assert await score_messages(scoring, ids) == 0
    assert all(row["signal"] for row in await sql.fetch("SELECT signal FROM messages"))


async def test_what_else_a_source_says_is_kept(units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    edited = datetime(2025, 1, 2, tzinfo=UTC)
    message = incoming(
        1, author_id="u7", channel_title="Team", edited_at=edited, details={"media": "photo", "reactions": 2}
    )
    await ingest(units, [message, incoming(2, channel_title="Team")], lane=Lane.LIVE)
    row = await sql.fetchrow("SELECT author_id, edited_at, details->>'media' AS media FROM messages ORDER BY id")
    assert tuple(row) == ("u7", edited, "photo")
    assert tuple(await sql.fetchrow("SELECT title, mode FROM channels WHERE channel = '#team'")) == ("Team", "on")
    await ingest(units, [incoming(3, channel_title="The team")], lane=Lane.LIVE)
    assert await sql.fetchval("SELECT title FROM channels") == "The team"


async def test_what_is_not_watched_or_was_forgotten_is_left_out(units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    await sql.execute("INSERT INTO channels (source, channel, mode) VALUES ('test', '#off', 'off')")
    await sql.execute("INSERT INTO forgotten_messages VALUES (winnow_identity('test', '#team', '2'))")
    done = await ingest(units, [incoming(1), incoming(2), incoming(3, channel="#off")], lane=Lane.LIVE)
    assert [message.fate for message in done.messages] == [Fate.NEW, Fate.FORGOTTEN, Fate.OFF]
    assert await sql.fetchval("SELECT count(*) FROM messages") == 1


async def test_of_two_texts_the_one_edited_later_is_the_newer(units: UnitsOfWork) -> None:
    moments = [datetime(2025, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    await ingest(units, [incoming(1, "second", edited_at=moments[1])], lane=Lane.LIVE)
    late = [
        incoming(1, "original"),
        incoming(1, "first", edited_at=moments[0]),
        incoming(1, "third", edited_at=moments[2]),
        incoming(1, "another", edited_at=moments[1]),
        incoming(1, "another", edited_at=moments[2]),
    ]
    fates = [(await ingest(units, [one], lane=Lane.LIVE)).messages[0].fate for one in late]
    assert fates == [Fate.OLDER, Fate.OLDER, Fate.EDITED, Fate.OLDER, Fate.DIFFERS]
