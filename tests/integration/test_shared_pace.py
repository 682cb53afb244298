"""Processes that ask one server keep its pace together, by way of the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from winnow.domain.pacing import LARGE_SHARE, Pace, RateLimits
from winnow.errors import DatabaseUnavailable
from winnow.providers.gate import SharedGate
from winnow.storage.engine import Database
from winnow.storage.rates import RateStore

if TYPE_CHECKING:
    import asyncpg


def gate(database: Database, name: str = "openai", **limits: float) -> SharedGate:
    return SharedGate(RateStore(database, name, **limits))


async def passed(at: SharedGate, most: int = 200, *, tokens: int = 1, is_large: bool = False) -> int:
    """How many requests get through at once."""
    for count in range(most):
        if (await at.enter(tokens=tokens, is_large=is_large)).wait_seconds:
            return count
    return most


async def test_a_limit_that_was_set_is_one_of_all_together(database: Database) -> None:
    one, two = (gate(database, requests_per_minute=10) for _ in range(2))
    assert await passed(one, is_large=True) == 10 * LARGE_SHARE
    assert await passed(two, is_large=True) == 0, "the other's requests count"
    assert await passed(two) == 2, "what is kept for small batches"
    assert await passed(gate(database, "another", requests_per_minute=10), is_large=True) == 8


async def test_what_one_is_told_holds_for_all(database: Database, sql: asyncpg.Connection) -> None:
    one = gate(database)
    assert await passed(one, 20) == 20
    await one.told(RateLimits(tokens=1000, tokens_left=400))
    assert await passed(gate(database), tokens=100) == 4
    assert await sql.fetchval("SELECT tokens_per_minute FROM provider_rates WHERE name = 'openai'") == 1000


async def test_a_refusal_holds_up_everybody_and_spaces_what_follows(database: Database) -> None:
    one = gate(database)
    entry = await one.enter(tokens=1, is_large=False)
    assert await one.refused(1.5, sent_at=entry.at)
    two = gate(database)
    held_up = await two.enter(tokens=1, is_large=False)
    assert 0 < held_up.wait_seconds <= 1.5
    assert two.seconds_ahead(3) > 0
    assert not await two.refused(60, sent_at=held_up.at), "that long a wish is for others to decide about"


async def test_a_server_without_limits_is_asked_without_asking_the_database(
    database: Database, sql: asyncpg.Connection
) -> None:
    one = gate(database)
    await one.enter(tokens=1, is_large=False)
    await sql.execute("UPDATE provider_rates SET requests_per_minute = 1, requests_at = now() + interval '1 hour'")
    assert await passed(one, 20) == 20


async def test_a_limit_that_a_person_raises_or_takes_away_is_forgotten(
    database: Database, sql: asyncpg.Connection
) -> None:
    assert await passed(gate(database, requests_per_minute=2)) == 2
    await sql.execute("UPDATE provider_rates SET requests_at = now()")  # a minute later
    assert await passed(gate(database, requests_per_minute=600), 20) == 20
    assert await passed(gate(database), 20) == 20


async def test_while_the_database_is_away_each_keeps_its_own_pace() -> None:
    away = Database("postgresql://winnow@127.0.0.1:9/winnow")
    one = SharedGate(RateStore(away, "openai"), own=Pace(most_requests_per_minute=5))
    assert await passed(one) == 5
    assert await one.refused(1.0, sent_at=0) is True
    await one.told(RateLimits(requests=1, requests_left=0))
    await one.answered()
    await away.close()


async def test_a_crash_that_empties_the_table_stops_nobody(database: Database, sql: asyncpg.Connection) -> None:
    one = gate(database, requests_per_minute=10)
    assert await passed(one, 3) == 3
    await sql.execute("TRUNCATE provider_rates")
    assert await passed(one) == 10
    assert await sql.fetchval("SELECT count(*) FROM provider_rates") == 1


async def test_a_first_request_that_is_rolled_back_leaves_the_row_to_the_next(database: Database) -> None:
    store = RateStore(database, "openai")
    with pytest.raises(RuntimeError):
        async with store.held():
            raise RuntimeError
    async with store.held() as (pace, _):
        assert not pace.is_limited


async def test_on_a_database_that_can_only_be_read_each_keeps_its_own_pace(
    database: Database, sql: asyncpg.Connection
) -> None:
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    reader = Database(database.url)
    store = RateStore(reader, "openai")
    with pytest.raises(DatabaseUnavailable):
        async with store.held():
            pass
    one = SharedGate(store, own=Pace(most_requests_per_minute=5))
    assert await passed(one) == 5
    await reader.close()


async def test_what_was_seen_holds_while_another_process_is_stuck_with_the_row(
    database: Database, sql: asyncpg.Connection
) -> None:
    one = gate(database)
    await one.told(RateLimits(requests=10, requests_left=4))
    async with sql.transaction():
        await sql.execute("SELECT FROM provider_rates FOR UPDATE")
        async with asyncio.timeout(30):
            assert await passed(one) == 4, "by the limit that it has learned from the others"
