"""What a person chooses for a channel holds: nothing stored, nothing extracted, nothing kept for longer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import add_messages, incoming
from winnow.domain.jobs import Lane
from winnow.domain.messages import ChannelMode
from winnow.errors import ChannelNotFound, InvalidInput
from winnow.pipeline.channels import Channelling, set_channel
from winnow.pipeline.extract import Extracted, extract_knowledge
from winnow.pipeline.housekeeping import remove_overdue
from winnow.pipeline.ingest import ingest
from winnow.pipeline.sweep import Sweeper
from winnow.storage.channels import Choice, list_channels
from winnow.storage.messages import Fate
from winnow.storage.runs import Wanted, waiting_messages

if TYPE_CHECKING:
    import asyncpg

    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.extract import Extracting
    from winnow.pipeline.sweep import Sweeping
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork


@pytest.fixture
def channelling(database: Database, embedding: Embedding) -> Channelling:
    """For changing channels."""
    return Channelling(database=database, embeddings=embedding.store, spaces=embedding.spaces)


async def test_channels_are_listed_with_what_is_in_them(
    channelling: Channelling, database: Database, units: UnitsOfWork
) -> None:
    said = [incoming(1), incoming(2), incoming(3, channel="-100", channel_title="The team"), incoming(4, channel="x")]
    await ingest(units, said, lane=Lane.LIVE)
    await set_channel(channelling, "test", "The team", Choice(mode=ChannelMode.SEARCH, keep=True, keep_days=30_000))
    await set_channel(channelling, "test", "to come", Choice(mode=ChannelMode.OFF))
    found = await list_channels(database, limit=10)
    assert [(one.channel, one.title, one.mode, one.messages, one.queued, one.keep_days) for one in found] == [
        ("x", "", ChannelMode.ON, 1, 1, None),
        ("-100", "The team", ChannelMode.SEARCH, 1, 1, 30_000),
        ("#team", "", ChannelMode.ON, 2, 2, None),
        ("to come", "", ChannelMode.OFF, 0, 0, None),
    ]
    assert [one.channel for one in await list_channels(database, limit=1, offset=1)] == ["-100"]


async def test_what_cannot_be_meant_is_refused(channelling: Channelling, units: UnitsOfWork) -> None:
    twins = [incoming(1, channel="a", channel_title="Twin"), incoming(2, channel="b", channel_title="Twin")]
    await ingest(units, twins, lane=Lane.LIVE)
    with pytest.raises(InvalidInput, match="a, b"):
        await set_channel(channelling, "test", "Twin", Choice(mode=ChannelMode.OFF))
    with pytest.raises(InvalidInput, match="36,500"):
        await set_channel(channelling, "test", "a", Choice(keep=True, keep_days=0))
    with pytest.raises(ChannelNotFound):
        await set_channel(channelling, "test", "nobody", Choice())


async def test_a_channel_for_searching_is_not_extracted_until_it_is_again(
    channelling: Channelling, extracting: Extracting, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    due = {"threshold": 1, "quiet_seconds": 0, "failed_pause_seconds": 0}
    for mode in (ChannelMode.SEARCH, ChannelMode.OFF):
        await set_channel(channelling, "test", "#team", Choice(mode=mode))
        assert await extracting.store.due(**due) == []
        assert await waiting_messages(extracting.database, Wanted(), limit=9) == []
        assert await sql.fetchval("SELECT bool_and(parked) FROM extraction_queue")
        assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted()
    await set_channel(channelling, "test", "#team", Choice(mode=ChannelMode.ON))
    assert not await sql.fetchval("SELECT bool_or(parked) FROM extraction_queue")
    assert (await extract_knowledge(extracting, ids, lane=Lane.LIVE)).messages == 2


async def test_what_is_too_old_goes_and_does_not_come_in(
    channelling: Channelling, database: Database, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    now = datetime.now(UTC)
    moments = [now - timedelta(days=8), now - timedelta(days=6), now + timedelta(days=900), now + timedelta(days=900)]
    messages = [incoming(number, sent_at=moment) for number, moment in enumerate(moments)]
    await ingest(units, [*messages, incoming(9, channel="#else")], lane=Lane.BULK)
    await sql.execute("UPDATE messages SET received_at = now() - interval '8 days' WHERE external_id = '3'")
    assert await remove_overdue(units, database) == 0
    await set_channel(channelling, "test", "#team", Choice(keep=True, keep_days=7))
    assert await remove_overdue(units, database) == 2
    kept = {row["external_id"] for row in await sql.fetch("SELECT external_id FROM messages")}
    assert kept == {"1", "2", "9"}
    again = await ingest(units, messages[:2], lane=Lane.BULK)
    assert [one.fate for one in again.messages] == [Fate.OFF, Fate.KNOWN]
    assert await sql.fetchval("SELECT count(*) FROM forgotten_messages") == 0
    await set_channel(channelling, "test", "#team", Choice(keep=True, keep_days=None))
    assert [one.fate for one in (await ingest(units, messages[:1], lane=Lane.BULK)).messages] == [Fate.NEW]


async def test_the_sweeper_sees_to_it(channelling: Channelling, sweeping: Sweeping, sql: asyncpg.Connection) -> None:
    await add_messages(sql, ["from last year"])
    await sql.execute("INSERT INTO idempotency_keys VALUES ('', 'old', '', 201, '[]', now() - interval '25 hours')")
    await set_channel(channelling, "test", "#team", Choice(keep=True, keep_days=7))
    stop = asyncio.Event()
    sweeper = asyncio.create_task(Sweeper(sweeping).sweep_forever(stop))
    try:
        async with asyncio.timeout(10):
            while await sql.fetchval(  # noqa: ASYNC110 - a table tells nobody
                "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM idempotency_keys)"
            ):
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        await sweeper
