"""What came past Winnow's own doors is queued and linked in the end, and nothing else is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import RecordingDispatcher, add_messages, incoming
from winnow.domain.jobs import Lane, ScoreJob
from winnow.pipeline import stragglers as module
from winnow.pipeline.ingest import ingest
from winnow.pipeline.score import Scoring, score_messages
from winnow.pipeline.stragglers import Stragglers
from winnow.storage.threads import unjudged_messages

if TYPE_CHECKING:
    import asyncpg

    from plugins.sweeping import Lanes
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork


@pytest.fixture
def stragglers(database: Database, dispatcher: RecordingDispatcher, lanes: Lanes) -> Stragglers:
    return Stragglers(database=database, dispatcher=dispatcher, backlog=lanes, batch_size=3)


async def foreign(sql: asyncpg.Connection, *texts: str) -> list[int]:
    """Rows as somebody writes them with plain SQL, an hour ago."""
    ids = await add_messages(sql, list(texts), judged=False)
    await sql.execute("DELETE FROM extraction_queue WHERE message_id = ANY($1)", ids)
    return ids


async def queue(sql: asyncpg.Connection) -> dict[int, bool]:
    rows = await sql.fetch("SELECT message_id, parked FROM extraction_queue ORDER BY 1")
    return {row["message_id"]: row["parked"] for row in rows}


async def test_rows_written_with_plain_sql_are_queued_scored_and_linked(
    stragglers: Stragglers, units: UnitsOfWork, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await foreign(sql, "we decided to take it", "one more")
    await sql.execute("UPDATE messages SET channel = '#search' WHERE id = $1", ids[1])
    await sql.execute("INSERT INTO channels (source, channel, mode) SELECT source, channel, 'search' FROM messages "
                      "WHERE id = $1", ids[1])  # fmt: skip
    (fresh,) = await foreign(sql, "just being written")
    await sql.execute("UPDATE messages SET received_at = now() WHERE id = $1", fresh)
    assert await stragglers.look() == 2 + 1
    assert await queue(sql) == {ids[0]: False, ids[1]: True}
    found = await unjudged_messages(database, age_seconds=30, limit=10)
    assert found == ids
    await score_messages(Scoring(database=database, units=units), found)
    assert await sql.fetchval("SELECT count(*) FROM message_threads") == 2
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE importance IS NULL") == 1
    assert await stragglers.look() == 0


async def test_each_look_is_bounded_and_the_next_goes_on_behind_it(
    stragglers: Stragglers, units: UnitsOfWork, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRAYS_OF_A_LOOK", 2)
    units.rules = None
    waiting = (await ingest(units, [incoming(number) for number in range(4)], lane=Lane.LIVE)).ids
    ids = await foreign(sql, "one", "two", "three")
    stragglers._unlinked_after = None  # of the other walk
    assert [await stragglers.look() for _ in range(5)] == [0, 0, 2, 1, 0]
    assert list(await queue(sql)) == [*waiting, *ids]


async def test_what_was_read_before_there_were_conversations_is_linked_once(
    stragglers: Stragglers, units: UnitsOfWork, dispatcher: RecordingDispatcher, lanes: Lanes, sql: asyncpg.Connection
) -> None:
    database = stragglers.database
    done = (await ingest(units, [incoming(number) for number in range(3)], lane=Lane.LIVE)).ids
    await score_messages(Scoring(database=database, units=units), done)
    await sql.execute("TRUNCATE extraction_queue")
    old = await foreign(sql, "an old decision", "an old answer")
    await sql.execute("UPDATE messages SET importance = 0.6, signal = 'signal' WHERE id = ANY($1)", old)
    dispatcher.calls.clear()
    lanes.bulk = 1000
    assert await stragglers.look() == 0
    lanes.bulk = 0
    assert await stragglers.look() == 2
    assert (dispatcher.ids(ScoreJob), dispatcher.lanes) == (old, {Lane.BULK})
    await score_messages(Scoring(database=database, units=units), old)
    assert await sql.fetchval("SELECT count(*) FROM message_threads") == 5
    assert await stragglers.look() == 0
    assert await queue(sql) == {}
