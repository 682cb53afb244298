"""A row that somebody has locked, or edits in a transaction that stays open, is not paid for again and again."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.world import World

LOCKED_SECONDS = 4.0


async def test_locked_for_longer_than_a_worker_waits(world: World) -> None:
    sweeper = world.start_sweeper()
    await world.until(lambda: "space.created" in sweeper.output, "there is a vector space")
    await world.listening(world.start_worker())
    (row,) = await world.add("locked")
    async with world.connected() as sql, sql.transaction():
        await sql.execute("SELECT FROM messages WHERE id = $1 FOR NO KEY UPDATE", row)
        await asyncio.sleep(LOCKED_SECONDS)
    await world.settled(1)
    account = await world.account()
    assert account.paid == Counter({"locked": 1})


async def test_edited_in_a_transaction_that_stays_open(world: World) -> None:
    sweeper = world.start_sweeper()
    await world.until(lambda: "space.created" in sweeper.output, "there is a vector space")
    await world.listening(world.start_worker())
    (row,) = await world.add("before")
    async with world.connected() as sql, sql.transaction():
        await sql.execute("UPDATE messages SET text = 'after' WHERE id = $1", row)
        await asyncio.sleep(LOCKED_SECONDS)
    await world.settled(1)
    account = await world.account()
    assert account.paid["before"] <= 1
    assert account.paid["after"] == 1
