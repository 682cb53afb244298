"""Every message is in one state, and the counts add up at any moment, whatever is done meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from plugins.pipeline import add_messages, incoming
from plugins.reading import quoting_all
from winnow.domain.jobs import Lane
from winnow.domain.messages import MessageState
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.forget import by_ids, forget
from winnow.pipeline.ingest import ingest
from winnow.pipeline.score import Scoring, score_messages
from winnow.storage.status import message_states

if TYPE_CHECKING:
    import asyncpg

    from plugins.pipeline import SteeredExtractor
    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database


async def recount(sql: asyncpg.Connection) -> dict[str, int]:
    """The same from the view, message by message."""
    counted = Counter({row["state"]: row["n"] for row in await sql.fetch(
        "SELECT state, count(*) AS n FROM message_states GROUP BY 1"
    )})  # fmt: skip
    return {"total": counted.total()} | {state.value: counted[state.value] for state in MessageState}


async def test_each_state_is_counted(extracting: Extracting, database: Database, sql: asyncpg.Connection) -> None:
    assert set((await message_states(database)).values()) == {0}
    texts = ["signal enough to be read", "", " ", "we decided to use it", "another one of these"]
    ids = list((await ingest(extracting.units, [incoming(n, t) for n, t in enumerate(texts)], lane=Lane.LIVE)).ids)
    ids += await add_messages(sql, ["nobody scored this", "nor this"])
    quiet = (await ingest(extracting.units, [incoming(9, channel="#search")], lane=Lane.LIVE)).ids
    await sql.execute("INSERT INTO channels (source, channel, mode) VALUES ('test', '#search', 'search')")
    await sql.execute("INSERT INTO message_threads SELECT unnest($1::bigint[]), 1", [ids[0], ids[4], *quiet])
    await sql.execute("DELETE FROM extraction_queue WHERE message_id = ANY($1)", [ids[1], ids[3]])
    await sql.execute("UPDATE extraction_queue SET failures = 3 WHERE message_id = ANY($1)", [ids[4], ids[6], ids[2]])
    run = await extracting.store.start_run(
        source="test", channel="#team", extractor="x", ids=[ids[5]], lease_seconds=30
    )
    assert run is not None
    states = await message_states(database)
    assert states == await recount(sql)
    assert states == {
        "total": 8, "received": 0, "scored": 1, "noise": 1, "waiting": 1, "extracting": 1, "extracted": 1, "failed": 3
    }  # fmt: skip


async def test_what_others_wrote_as_noise_without_a_score_is_counted_once(
    database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    await sql.execute("UPDATE messages SET signal = 'noise', importance = NULL WHERE id = ANY($1)", ids[:2])
    await sql.execute("INSERT INTO extraction_queue (message_id, failures) VALUES ($1, 3) ON CONFLICT (message_id) "
                      "DO UPDATE SET failures = 3", ids[1])  # fmt: skip
    states = await message_states(database)
    assert states == await recount(sql)
    assert (states["received"], states["failed"], states["noise"]) == (1, 1, 0)


async def test_they_add_up_while_everything_happens(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    extractor.answer, choose = quoting_all, random.Random(3)
    ids: list[int] = []
    moment, until, seen = datetime(2025, 1, 1, tzinfo=UTC), asyncio.get_running_loop().time() + 2.5, set[int]()

    async def write() -> None:
        nonlocal moment
        moment += timedelta(seconds=1)
        texts = [choose.choice(["", "ok", f"we decided to use number {number}"]) for number in range(8)]
        numbers = choose.sample(range(60), 8)
        messages = [incoming(number, text, edited_at=moment) for number, text in zip(numbers, texts, strict=True)]
        ids.extend((await ingest(extracting.units, messages, lane=Lane.LIVE)).ids)

    async def read() -> None:
        await extract_knowledge(extracting, choose.sample(ids, min(len(ids), 20)), lane=Lane.LIVE)

    async def remove() -> None:
        if ids:
            await forget(extracting.units, database, by_ids([choose.choice(ids)]), for_ever=False)

    async def score() -> None:
        await score_messages(Scoring(database=database, units=extracting.units), ids)

    async def count() -> None:
        states = dict(await message_states(database))
        total = states.pop("total")
        assert sum(states.values()) == total
        assert all(number >= 0 for number in states.values()), states
        seen.add(total)

    async def again_and_again(work: object) -> None:
        while asyncio.get_running_loop().time() < until:
            await work()  # type: ignore[operator]
            await asyncio.sleep(0)

    await asyncio.gather(*map(again_and_again, (write, read, remove, score, count, count)))
    assert len(seen) > 1
    assert await message_states(database) == await recount(sql)
