"""Runs beside each other, runs that die, runs that are slow: no message is read by two or held for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from plugins.extraction import NOTHING, an_atom_a_message, atom, left, numbers
from plugins.jetstream import eventually
from plugins.pipeline import SteeredExtractor, add_messages
from winnow.domain.jobs import Lane
from winnow.domain.knowledge import Extraction
from winnow.errors import DatabaseUnavailable
from winnow.pipeline.extract import Extracted, extract_knowledge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.pipeline import RecordingDispatcher
    from winnow.domain.knowledge import Window
    from winnow.pipeline.extract import Extracting


async def test_concurrent_calls_never_read_a_message_twice(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(35)])

    async def think(_window: Window) -> None:
        await asyncio.sleep(0.01)

    extractor.during = think
    done = await asyncio.gather(
        *(extract_knowledge(extracting, part, lane=Lane.LIVE) for part in (ids, ids[::-1], ids[5:20], ids[10:]))
    )
    assert sum(one.messages for one in done) == 35
    assert sum(one.failed for one in done) == 0
    read = [message.id for window in extractor.windows for message in window.messages]
    assert sorted(read) == ids
    assert all(window.messages for window in extractor.windows), "no run without a message"
    of_runs = [row["id"] for row in await sql.fetch("SELECT unnest(message_ids) AS id FROM extraction_runs")]
    assert sorted(of_runs) == ids, "a run names the messages it has read, no others"


async def test_a_dead_run_is_given_up_and_its_late_commit_is_refused(
    extracting: Extracting, extractor: SteeredExtractor, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])

    async def freeze(_window: Window) -> None:
        assert await extracting.store.fail_dead_runs() == 0, "its lease is good"
        await sql.execute("UPDATE extraction_runs SET lease_until = now() - interval '1 second'")
        assert await extracting.store.fail_dead_runs() == 1
        assert await extracting.store.fail_dead_runs() == 0

    extractor.during, extractor.answer = freeze, an_atom_a_message
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(failed=1)
    assert await numbers(sql) == NOTHING | {"extraction_queue": 1}
    await extracting.units.drain()
    assert dispatcher.jobs == []
    run = await sql.fetchrow("SELECT state, error FROM extraction_runs")
    assert tuple(run) == ("failed", "its worker stopped in the middle")
    assert await left(sql) == [(ids[0], None, 1)], "given up once, not again by the run that comes late"
    extractor.during = None
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(done=1, messages=1, atoms=2)


async def test_giving_up_a_run_in_the_middle_of_its_commit_ends_in_no_deadlock(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    """Both need the run and its queue entries; here the sweeper has the first when the commit begins."""
    ids = await add_messages(sql, ["one"])
    seen = asyncio.Event()

    async def freeze(_window: Window) -> None:
        await somebody.execute("BEGIN")
        await somebody.execute("UPDATE extraction_runs SET state = 'failed', lease_until = NULL")
        seen.set()

    extractor.during, extractor.answer = freeze, an_atom_a_message
    run = asyncio.create_task(extract_knowledge(extracting, ids, lane=Lane.LIVE))
    await seen.wait()
    await wait_until_blocked(sql)
    await somebody.execute("UPDATE extraction_queue SET run_id = NULL")
    await somebody.execute("COMMIT")
    assert await run == Extracted(failed=1)
    assert await numbers(sql) == NOTHING | {"extraction_queue": 1}


async def test_runs_that_find_the_same_atoms_in_another_order_do_not_deadlock(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection, somebody: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    extractor.answer = lambda _window: Extraction(atoms=(atom(ids[0], "b", "o"), atom(ids[0], "A", "o")))
    insert = "INSERT INTO atoms (type, title, content) VALUES ('problem', 't', $1)"
    await somebody.execute("BEGIN")
    await somebody.execute(insert, "a")  # another run, that goes by the order of contents as well
    run = asyncio.create_task(extract_knowledge(extracting, ids, lane=Lane.LIVE))
    await wait_until_blocked(sql)
    await somebody.execute(insert, "b")
    await somebody.execute("COMMIT")
    assert await run == Extracted(done=1, messages=1, atoms=2)
    assert await sql.fetchval("SELECT count(*) FROM atoms") == 2


@pytest.fixture
async def somebody(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another session on the database, that may leave a transaction open."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def wait_until_blocked(sql: asyncpg.Connection) -> None:
    """Until one session of this database waits for another."""
    await eventually(
        lambda: sql.fetchval(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() "
            "AND cardinality(pg_blocking_pids(pid)) > 0"
        )
    )


async def test_the_lease_of_a_run_is_kept_while_the_extractor_is_slow(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])

    async def think(_window: Window) -> None:
        for _ in range(3):
            await asyncio.sleep(0.45)
            assert await extracting.store.fail_dead_runs() == 0

    extractor.during = think
    assert (await extract_knowledge(replace(extracting, lease_seconds=1), ids, lane=Lane.LIVE)).done == 1


async def test_a_cancelled_call_gives_its_messages_back(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    thinking = asyncio.Event()

    async def think(_window: Window) -> None:
        thinking.set()
        await asyncio.sleep(60)

    extractor.during = think
    call = asyncio.create_task(extract_knowledge(extracting, ids, lane=Lane.LIVE))
    await thinking.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await left(sql) == [(ids[0], None, 0)]
    assert await sql.fetchval("SELECT count(*) FROM extraction_runs") == 0, "a shutdown is no failed run"
    extractor.during = None
    assert (await extract_knowledge(extracting, ids, lane=Lane.LIVE)).done == 1


async def test_a_shutdown_that_cannot_reach_the_database_is_still_one(
    extracting: Extracting,
    extractor: SteeredExtractor,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = await add_messages(sql, ["one"])

    async def away(*_: object) -> None:
        raise DatabaseUnavailable

    async def stop(_window: Window) -> None:
        monkeypatch.setattr(extracting.store, "forget_run", away)
        raise asyncio.CancelledError

    extractor.during = stop
    with pytest.raises(asyncio.CancelledError):
        await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert await sql.fetchval("SELECT state FROM extraction_runs") == "running", "until its lease runs out"


async def test_no_transaction_is_open_while_the_extractor_thinks(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    seen = []

    async def look(_window: Window) -> None:
        seen.append(
            await sql.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            )
        )

    extractor.during = look
    await extract_knowledge(extracting, await add_messages(sql, ["one"]), lane=Lane.LIVE)
    assert seen == [0]
