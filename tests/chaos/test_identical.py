"""Texts that are the same are paid for once, however many rows have them, whoever writes them, and whenever."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from winnow.domain.jobs import Kind

if TYPE_CHECKING:
    from chaos.world import World


async def test_at_once_in_one_batch_in_many_transactions_and_later(world: World) -> None:
    world.model.delay_seconds = 0.5
    world.start_sweeper()
    await world.listening(*[world.start_worker() for _ in range(3)])
    await world.add(*["the same message"] * 8)
    for _ in range(4):  # while the first are in hand, and after that
        await asyncio.gather(
            *[world.add("the same message", f"the other message {number % 2}") for number in range(4)],
            world.add(*["the same atom\nits content"] * 2, kind=Kind.ATOMS),
            return_exceptions=True,  # no more than four atoms are so much the same
        )
        await asyncio.sleep(0.3)
    await world.settled()
    await world.add("the same message", "the other message 0")
    await world.settled()
    account = await world.account()
    once = ["the same message", "the other message 0", "the other message 1", "the same atom\nits content"]
    assert account.paid == Counter(dict.fromkeys(once, 1))


async def test_the_row_that_was_asked_for_is_edited_and_its_twin_is_not_forgotten(world: World) -> None:
    world.model.delay_seconds = 0.7
    world.start_sweeper()
    await world.listening(world.start_worker(), world.start_worker())
    (first,) = await world.add("twins")
    await world.until(lambda: any("twins" in asked.texts for asked in world.model.asked), "the first is asked for")
    await world.add("twins")
    await world.sql("UPDATE messages SET text = 'no twin' WHERE id = $1", first)
    await world.settled(2)
    account = await world.account()
    assert account.paid["no twin"] == 1
    assert account.rows == Counter(embedded=2)


async def test_the_worker_that_held_the_text_is_killed_and_its_twin_is_not_forgotten(world: World) -> None:
    (first,) = await world.add("twins")
    world.start_sweeper()
    await world.death_of(world.start_worker(CHAOS_DIE_AT="answered"))
    world.start_worker()
    await world.add("twins", "and a stranger")
    await world.sql("DELETE FROM messages WHERE id = $1", first)
    await world.settled(2)
    account = await world.account()
    assert account.paid == Counter({"twins": 2, "and a stranger": 1})


async def test_a_twin_that_somebody_has_locked_is_not_paid_for(world: World) -> None:
    """The scoring of a new message locks it for a moment; what is known of its text is worth to wait for."""
    world.start_sweeper()
    await world.listening(world.start_worker())
    await world.add("twins")
    await world.settled(1)
    async with world.connected() as sql, sql.transaction():
        # The first of these is nobody's yet for half a second: the sweeper waits so long.
        (second,) = await world.add("twins")
        await sql.execute("SELECT FROM messages WHERE id = $1 FOR NO KEY UPDATE", second)
        await asyncio.sleep(2)
    await world.settled(2)
    account = await world.account()
    assert account.paid == Counter({"twins": 1})
