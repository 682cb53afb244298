"""What is forgotten while somebody stores it does not stay, whoever comes first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import incoming
from winnow.domain.jobs import Lane
from winnow.pipeline.forget import by_ids, forget, forget_identities
from winnow.pipeline.ingest import ingest
from winnow.storage.messages import Fate, insert_messages

if TYPE_CHECKING:
    import asyncpg

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork


async def somebody_waits(sql: asyncpg.Connection) -> None:
    """Returns when a statement waits for a lock."""
    async with asyncio.timeout(30):
        while not await sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - the database tells
            await asyncio.sleep(0)


@pytest.mark.parametrize("count", [1, 3])
async def test_what_is_stored_but_not_yet_committed_goes_as_well(
    units: UnitsOfWork, database: Database, sql: asyncpg.Connection, count: int
) -> None:
    messages = [incoming(number) for number in range(count)]
    async with units.begin() as work:
        stored = await insert_messages(work, messages, [None] * count)
        assert {one.fate for one in stored} == {Fate.NEW}
        names = [message.external_id for message in messages]
        forgetting = asyncio.create_task(forget_identities(units, database, "test", "#team", names))
        await somebody_waits(sql)
    assert (await forgetting).removed.messages == count
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0
    again = await ingest(units, messages, lane=Lane.LIVE)
    assert again.of(Fate.FORGOTTEN) == count


async def test_many_who_store_and_forget_the_same_leave_nothing(
    units: UnitsOfWork, database: Database, sql: asyncpg.Connection
) -> None:
    messages = [incoming(number) for number in range(40)]
    names = [message.external_id for message in messages]
    await asyncio.gather(
        *(ingest(units, [message], lane=Lane.LIVE) for message in messages),
        forget_identities(units, database, "test", "#team", names[::-1]),
        ingest(units, messages[::-1], lane=Lane.BULK),
        forget_identities(units, database, "test", "#team", names),
    )
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0


async def test_one_that_is_forgotten_by_its_id_is_not_stored_anew_in_the_same_moment(
    units: UnitsOfWork, database: Database, sql: asyncpg.Connection
) -> None:
    ids = (await ingest(units, [incoming(1)], lane=Lane.LIVE)).ids
    async with units.begin() as work:
        assert (await insert_messages(work, [incoming(1)], [None]))[0].fate is Fate.KNOWN
        forgetting = asyncio.create_task(forget(units, database, by_ids(ids)))
        await somebody_waits(sql)
    assert (await forgetting).removed.messages == 1
    assert (await ingest(units, [incoming(1)], lane=Lane.LIVE)).of(Fate.FORGOTTEN) == 1
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0
