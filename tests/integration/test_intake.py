"""Messages that arrive together are stored together, and each caller is answered for its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import RecordingDispatcher, incoming
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.errors import DatabaseUnavailable
from winnow.pipeline.intake import MOST_MESSAGES, Intake
from winnow.storage.messages import Fate
from winnow.storage.unit_of_work import UnitsOfWork

if TYPE_CHECKING:
    import asyncpg

    from winnow.storage.engine import Database


@pytest.fixture
def intake(units: UnitsOfWork) -> Intake:
    return Intake(units, Lane.LIVE)


async def transactions(sql: asyncpg.Connection) -> int:
    return int(await sql.fetchval("SELECT count(DISTINCT xmin::text) FROM messages"))


async def test_what_waits_goes_into_the_next_transaction(
    database: Database, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    units = UnitsOfWork(database, dispatcher, batch_size=100)
    intake = Intake(units, Lane.LIVE)
    done = await asyncio.gather(*(intake.store([incoming(number)]) for number in range(50)))
    assert [len(one.messages) for one in done] == [1] * 50
    assert all(one.messages[0].fate is Fate.NEW for one in done)
    texts = {row["id"]: row["text"] for row in await sql.fetch("SELECT id, text FROM messages")}
    assert [texts[one.messages[0].id] for one in done] == [f"words number {number}" for number in range(50)]
    assert await transactions(sql) == 1
    await units.drain()
    embedding = [job for job in dispatcher.jobs if isinstance(job, EmbedJob)]
    assert sorted(row for job in embedding for row in job.ids) == sorted(texts)
    assert len(embedding) == 1
    assert {job.kind for job in embedding} == {Kind.MESSAGES}


async def test_each_is_told_of_its_own(intake: Intake) -> None:
    first, same, other, two = await asyncio.gather(
        intake.store([incoming(1, "a")]),
        intake.store([incoming(1, "a")]),
        intake.store([incoming(1, "b")]),
        intake.store([incoming(2), incoming(1, "a")]),
    )
    row = first.messages[0].id
    assert (first.ids, same.ids, other.ids, two.ids) == ((row,), (), (), (two.messages[0].id,))
    assert (same.known, other.known, other.differing, two.known) == (1, 0, 1, 1)
    assert same.messages[0].id == other.messages[0].id == two.messages[1].id == row


async def test_a_transaction_stays_within_its_size(intake: Intake, sql: asyncpg.Connection) -> None:
    parts = [[incoming(part * 400 + number) for number in range(400)] for part in range(5)]
    await asyncio.gather(*(intake.store(part) for part in parts))
    sizes = [row[0] for row in await sql.fetch("SELECT count(*) FROM messages GROUP BY xmin::text")]
    assert sum(sizes) == 2000
    assert max(sizes) <= MOST_MESSAGES


async def test_a_message_at_fault_is_its_callers_alone(intake: Intake, sql: asyncpg.Connection) -> None:
    await sql.execute("ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (text <> 'poison')")
    texts = ["first", "good", "poison", "fine"]
    calls = (intake.store([incoming(number, text)]) for number, text in enumerate(texts))
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(one, Exception) for one in done] == [False, False, True, False]
    assert await sql.fetchval("SELECT count(*) FROM messages") == 3


async def test_weather_is_everybodys_and_the_next_caller_is_served(
    intake: Intake, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(database, "transaction", _away)
        patch.setattr(database, "autocommit", _away)
        done = await asyncio.gather(*(intake.store([incoming(n)]) for n in range(3)), return_exceptions=True)
    assert [type(one) for one in done] == [DatabaseUnavailable] * 3
    assert len((await intake.store([incoming(9)])).ids) == 1


def _away() -> None:
    raise DatabaseUnavailable


async def test_a_caller_that_is_cancelled_takes_nobody_along(intake: Intake, sql: asyncpg.Connection) -> None:
    async with sql.transaction():
        await sql.execute("LOCK TABLE messages IN SHARE MODE")
        calls = []
        for number in range(5):
            calls.append(asyncio.create_task(intake.store([incoming(number)])))
            await asyncio.sleep(0.05)
        calls[0].cancel()  # its transaction is under way, and so is the next one's
        calls[3].cancel()  # it waits
        await asyncio.sleep(0.1)
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(one, BaseException) for one in done] == [True, False, False, True, False]
    assert len((await intake.store([incoming(7)])).ids) == 1
    stored = {row["external_id"] for row in await sql.fetch("SELECT external_id FROM messages")}
    assert {"1", "2", "4", "7"} <= stored
    assert "3" not in stored, "it was cancelled before its turn"


async def test_nobody_is_forgotten_when_both_writers_end_at_once(database: Database) -> None:
    intake = Intake(UnitsOfWork(database, RecordingDispatcher(), batch_size=100), Lane.LIVE)

    async def caller(number: int) -> None:
        for turn in range(40):
            await intake.store([incoming(number * 1000 + turn)])

    async with asyncio.timeout(60):
        await asyncio.gather(*(caller(number) for number in range(4)))
