"""A worker killed in any phase loses no row, and costs a text at most the one answer that died with it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chaos.processes import Child
    from chaos.world import World

# What each text was paid for at the end: an answer that was given to a dead worker, or died with it, is paid again.
PHASES = [
    ("claimed", 1, "openai"),
    ("asked", 2, "ollama"),
    ("answered", 2, "openai"),
    ("before_commit", 2, "ollama"),
    ("after_commit", 1, "openai"),
    ("before_ack", 1, "ollama"),
]
DEADLY = "deadlyword"


@pytest.mark.parametrize(("phase", "times", "model"), PHASES, indirect=["model"])
async def test_killed_in_any_phase(world: World, phase: str, times: int) -> None:
    world.model.delay_seconds = 0.6 if phase == "asked" else 0
    texts = [f"killed {phase} {number}" for number in range(6)]
    await world.add(*texts)
    world.start_sweeper()
    await world.death_of(world.start_worker(CHAOS_DIE_AT=phase))
    world.start_worker()
    await world.settled(len(texts))
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(texts, times))


async def test_a_text_that_kills_every_worker_is_left_to_a_person_and_takes_nobody_with_it(world: World) -> None:
    lease = {"WINNOW_LEASE_SECONDS": "1.5", "WINNOW_ACK_WAIT_SECONDS": "1.5"}
    neighbours = [f"neighbour {number}" for number in range(5)]
    await world.add(*neighbours, f"the {DEADLY} itself")
    world.start_sweeper(**lease)
    while not await world.is_settled():
        doomed = world.start_worker(**lease, CHAOS_DIE_OF=DEADLY)
        await world.until(partial(dead_or_settled, world, doomed), "it dies, or all is settled")
        if doomed.code is not None:
            await world.death_of(doomed)
    # A task that none of five workers finished is put among the dead letters: its rows are no longer in it.
    account = await world.account(dead_letters=True)
    assert account.rows == Counter(embedded=len(neighbours), failed=1)
    # Twice in company; after that the others no longer go down with it.
    assert all(account.paid[text] <= 3 for text in neighbours)


async def dead_or_settled(world: World, doomed: Child) -> bool:
    return doomed.code is not None or await world.is_settled()
