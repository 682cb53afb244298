"""PostgreSQL may die and drop every connection: what was committed stays, and what was not is done again."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import pytest

from plugins.postgres import LoopThread
from winnow.errors import DatabaseUnavailable
from winnow.storage import engine

if TYPE_CHECKING:
    from chaos.world import World
    from winnow.storage.engine import Database

WAVES, ROWS = 2, 30


async def test_killed_in_the_middle_of_the_work(world: World) -> None:
    """Whoever has rows in hand waits for the database with the vectors, and no row is taken for a deadly one."""
    world.model.delay_seconds = 0.3
    world.start_sweeper()
    workers = [world.start_worker(WINNOW_LEASE_SECONDS="30"), world.start_worker(WINNOW_LEASE_SECONDS="30")]
    await world.listening(*workers)
    texts: list[str] = []
    for wave in range(WAVES):
        fresh = [f"wave {wave} row {number}" for number in range(ROWS)]
        texts += fresh
        await asyncio.gather(world.asked_again(), world.add(*fresh))
        await world.restart_postgres()
    await world.settled(len(texts))
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(texts, 1))
    assert all(worker.code is None for worker in workers)
    deaths = await world.sql("SELECT coalesce(max(deaths), 0) AS number FROM chaos.record")
    assert deaths[0]["number"] == 0


async def test_a_row_deleted_under_a_worker_that_dies_leaves_no_job(world: World) -> None:
    world.model.delay_seconds = 0.6
    sweeper = world.start_sweeper()
    await world.until(lambda: "space.created" in sweeper.output, "there is a vector space")
    deleted, _ = await world.add("deleted while it is claimed", "stays")
    async with world.connected() as sql, sql.transaction():
        await sql.execute("DELETE FROM messages WHERE id = $1", deleted)
        await world.death_of(world.start_worker(CHAOS_DIE_AT="asked"))
    world.start_worker()
    await world.settled(1)
    account = await world.account()
    assert account.orphans == 0


async def test_connections_dropped_while_the_model_thinks_cost_nothing(world: World) -> None:
    """The rows are still in hand, and so are their vectors: they are written over another connection."""
    world.model.delay_seconds = 0.5
    world.start_sweeper()
    worker = world.start_worker()
    await world.listening(worker)
    texts = [f"dropped {number}" for number in range(8)]
    await world.add(*texts)
    await world.asked_by(worker)
    await world.drop_connections()
    await world.settled(len(texts))
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(texts, 1))


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_that_ends_between_two_steps_of_the_driver_is_weather(
    database: Database, turns: int
) -> None:
    """After two turns of the loop asyncpg has read the server's farewell, but not yet that nothing more will come."""
    await end_its_connection(database)
    for _ in range(turns):
        await asyncio.sleep(0)
    with suppress(DatabaseUnavailable):
        async with database.autocommit() as connection:
            assert (await connection.exec_driver_sql("SELECT 1")).scalar_one() == 1


async def test_an_idle_connection_that_ends_while_it_is_asked_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "IDLE_SECONDS", -1.0)
    await end_its_connection(database)
    for _ in range(2):
        await asyncio.sleep(0)
    async with database.autocommit() as connection:
        assert (await connection.exec_driver_sql("SELECT 1")).scalar_one() == 1


async def test_a_connection_that_ends_while_it_is_set_up_is_weather(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def register_vector(_connection: asyncpg.Connection) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")

    monkeypatch.setattr(engine, "register_vector", register_vector)
    with pytest.raises(DatabaseUnavailable):
        async with database.autocommit():
            pass


async def end_its_connection(database: Database) -> None:
    """Ends the pool's one connection, while the loop stands still."""
    async with database.autocommit() as connection:
        pid = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
    loop = LoopThread()
    loop.run(terminate(database.url, pid))
    loop.close()


async def terminate(url: str, pid: int) -> None:
    """Ends a connection, and waits until it has."""
    sql = await asyncpg.connect(url)
    await sql.execute("SELECT pg_terminate_backend($1, 10000)", pid)
    await sql.close()
