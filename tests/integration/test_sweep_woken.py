"""Rows that somebody else writes wake the sweeper; indexes that are missing or broken come back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from plugins.jetstream import eventually
from plugins.pipeline import add_messages, come_due
from plugins.sweeping import leads
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.pipeline import RecordingDispatcher
    from plugins.sweeping import Lanes
    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.sweep import Sweeping
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES
INSERTS = {
    M: "INSERT INTO messages (source, channel, external_id, text, sent_at) VALUES ('psql', '#x', '1', 'words', now())",
    Kind.TOPICS: "INSERT INTO topics (name) VALUES ('a topic')",
    Kind.ATOMS: "INSERT INTO atoms (type, title, content) VALUES ('idea', 'a title', 'and words')",
}


@pytest.fixture
async def slow_sweeper(sweeping: Sweeping) -> AsyncIterator[Sweeper]:
    """A leader that looks by itself once in ten minutes, and at old rows only."""
    sweeper, stop = Sweeper(replace(sweeping, every_seconds=600, age_seconds=600)), asyncio.Event()
    running = asyncio.create_task(sweeper.sweep_forever(stop))
    yield sweeper
    stop.set()
    await running


@pytest.mark.parametrize("kind", list(Kind))
async def test_rows_that_somebody_else_writes_or_edits_wake_the_sweeper(
    kind: Kind,
    slow_sweeper: Sweeper,
    embedding: Embedding,
    dispatcher: RecordingDispatcher,
    sql: asyncpg.Connection,
) -> None:
    await leads(sql)
    await sql.execute(INSERTS[kind])
    await eventually(lambda: dispatcher.ids(EmbedJob, kind))
    (row_id,) = dispatcher.ids(EmbedJob, kind)
    await embed_rows(embedding, kind, [row_id])
    dispatcher.calls.clear()
    column = {M: "text", Kind.TOPICS: "description", Kind.ATOMS: "title"}[kind]
    await sql.execute(f"UPDATE {kind.value} SET {column} = 'something else' WHERE id = $1", row_id)
    await eventually(lambda: dispatcher.ids(EmbedJob, kind))
    assert dispatcher.ids(EmbedJob, kind) == [row_id]


async def test_copy_wakes_the_sweeper_and_what_winnow_writes_itself_does_not(
    slow_sweeper: Sweeper, dispatcher: RecordingDispatcher, database: Database, sql: asyncpg.Connection
) -> None:
    await leads(sql)
    async with database.transaction() as connection:
        await connection.exec_driver_sql("INSERT INTO topics (name) VALUES ('its own promises are enough')")
    await asyncio.sleep(0.3)
    assert not dispatcher.calls
    rows = [(f"topic {number}",) for number in range(5)]
    await sql.copy_records_to_table("topics", records=rows, columns=["name"])
    await eventually(lambda: len(dispatcher.ids(EmbedJob, Kind.TOPICS)) == 6)
    assert Lane.LIVE in dispatcher.lanes, "the latest go first"


async def test_of_many_open_transactions_one_notifies_and_none_waits_for_another(
    database_url: str, sql: asyncpg.Connection
) -> None:
    heard: list[object] = []
    await sql.add_listener("winnow_rows", lambda *said: heard.append(said))
    others = [await asyncpg.connect(database_url) for _ in range(3)]
    for number, other in enumerate(others):
        await other.execute("BEGIN")
        await other.execute("INSERT INTO topics (name) VALUES ($1)", f"topic {number}")
    for other in reversed(others):
        await asyncio.wait_for(other.execute("COMMIT"), 5)
        await other.close()
    await sql.execute("SELECT 1")
    assert len(heard) == 1


async def test_the_leader_builds_an_index_that_is_missing_or_broken(
    sweeping: Sweeping, embedding: Embedding, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winnow.pipeline.sweep.MEND_EVERY_SECONDS", 0.1)
    await embedding.spaces.ours()
    await sql.execute("DROP INDEX atoms_nearest")
    await sql.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'topics_nearest'::regclass")
    stop = asyncio.Event()
    running = asyncio.create_task(Sweeper(sweeping).sweep_forever(stop))

    async def both_there() -> bool:
        valid = "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid::regclass::text = ANY($1)"
        return bool(await sql.fetchval(valid, ["atoms_nearest", "topics_nearest"]) == 2)

    await eventually(both_there)
    stop.set()
    await running


# -- while the model server is not asked


async def test_while_the_model_server_is_not_asked_nothing_is_sent_until_it_is_time_to_look(
    sweeping: Sweeping,
    store: EmbeddingStore,
    dispatcher: RecordingDispatcher,
    sql: asyncpg.Connection,
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(9)])
    space = await sweeping.spaces.ours()
    await store.begin_pause(space, seconds=60, error_kind="ProviderUnavailable", because="away", pauses=0)
    sweeper = Sweeper(sweeping)
    assert await sweeper.sweep() == 0
    await come_due(sql)
    assert await sweeper.sweep() == 1, "one task is enough to find out"
    assert await sweeper.sweep() == 0, "not again at once"
    await store.resume(space)
    assert await sweeper.sweep() == 3
    assert len(dispatcher.jobs) == 4


async def test_the_look_is_sent_whatever_is_in_the_lane(
    sweeping: Sweeping, store: EmbeddingStore, lanes: Lanes, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["one"])
    space = await sweeping.spaces.ours()
    await store.begin_pause(space, seconds=60, error_kind="ProviderUnavailable", because="away", pauses=0)
    await come_due(sql)
    lanes.bulk = 500
    assert await Sweeper(sweeping).sweep() == 1


async def test_after_a_pause_the_latest_go_before_all_that_is_older(
    sweeping: Sweeping, store: EmbeddingStore, dispatcher: RecordingDispatcher, lanes: Lanes, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(40)])
    space = await sweeping.spaces.ours()
    await store.begin_pause(space, seconds=60, error_kind="ProviderUnavailable", because="away", pauses=0)
    sweeper = Sweeper(sweeping)
    await sweeper.sweep()
    await store.resume(space)
    lanes.bulk = 500
    assert await sweeper.sweep() == 1
    assert dispatcher.calls == [((EmbedJob(M, tuple(ids[-3:])),), Lane.LIVE)]
