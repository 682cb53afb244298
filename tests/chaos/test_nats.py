"""NATS may die, forget everything and lose its streams: no row is lost, and no text is paid for twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chaos.world import World

WAVES, ROWS = 2, 30


@pytest.mark.parametrize("what", ["killed", "wiped", "consumers deleted", "streams deleted"])
async def test_in_the_middle_of_the_work(world: World, what: str) -> None:
    world.model.delay_seconds = 0.15
    world.start_sweeper()
    workers = [world.start_worker(), world.start_worker()]
    await world.listening(*workers)
    texts: list[str] = []
    for wave in range(WAVES):
        fresh = [f"wave {wave} row {number}" for number in range(ROWS)]
        texts += fresh
        await asyncio.gather(world.asked_again(), world.add(*fresh))
        match what:
            case "killed" | "wiped":
                await world.restart_nats(wiped=what == "wiped")
            case _:
                await world.delete_streams(consumers_only=what == "consumers deleted")
    await world.settled(len(texts))
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(texts, 1))
    assert all(worker.code is None for worker in workers)
