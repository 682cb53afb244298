"""A worker that stood still for longer than its lease wakes up, and harms nothing that was done meanwhile."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.world import World


async def test_frozen_with_the_question_asked(world: World) -> None:
    world.model.delay_seconds = 0.5
    texts = [f"frozen {number}" for number in range(6)]
    ids = await world.add(*texts)
    sleeper = world.start_worker()
    world.start_sweeper()
    await world.asked_by(sleeper)
    async with world.frozen(sleeper):
        await world.sql("UPDATE messages SET text = text || ', edited' WHERE id = ANY($1)", ids[:2])
        world.start_worker()
        await world.settled(len(texts))
    # It wakes with the answer to what it asked, of which nothing is wanted any more; and goes on with the next rows.
    await world.add("after the sleep")
    await world.settled(len(texts) + 1)
    account = await world.account()
    twice, once = texts[2:], [*texts[:2], *(f"{text}, edited" for text in texts[:2]), "after the sleep"]
    assert account.paid == Counter(dict.fromkeys(twice, 2) | dict.fromkeys(once, 1))
    assert account.events["stored"] == len(texts) + 1
    assert sleeper.code is None


async def test_frozen_with_the_write_to_come(world: World) -> None:
    """Its lease is gone, and so is the row: its vectors find nothing to belong to."""
    world.model.delay_seconds = 0.5
    (row,) = await world.add("frozen and deleted")
    sleeper = world.start_worker()
    world.start_sweeper()
    await world.asked_by(sleeper)
    async with world.frozen(sleeper):
        await world.sql("DELETE FROM messages WHERE id = $1", row)
    await world.add("another one")
    await world.settled(1)
    account = await world.account()
    assert account.paid == Counter({"frozen and deleted": 1, "another one": 1})
