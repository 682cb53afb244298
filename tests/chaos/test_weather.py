"""Whatever a model server does, no row is lost and no text is paid for twice, over both protocols."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

import pytest

from chaos.model import NAN, REFUSED, Mishap
from winnow.domain.jobs import Kind

if TYPE_CHECKING:
    from chaos.world import World


@pytest.mark.parametrize("model", ["openai", "ollama"], indirect=True)
async def test_every_mishap_in_turn(world: World, request: pytest.FixtureRequest) -> None:
    world.start_sweeper()
    await world.listening(world.start_worker())
    texts = ["the first one"]
    await world.add(*texts)
    await world.settled(1)
    for mishap in get_args(Mishap):
        if mishap == "order" and not hasattr(world.model, "tells_order"):
            continue
        fresh = [f"{mishap} {number}\nof a topic" for number in range(5)]
        texts += fresh
        world.model.next(mishap)
        await world.add(*fresh, kind=Kind.TOPICS)
        await world.settled(len(texts))
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(texts, 1))
    assert account.rows == Counter(embedded=len(texts))


@pytest.mark.parametrize("model", ["openai", "ollama"], indirect=True)
async def test_texts_at_fault_fail_and_their_neighbours_do_not(world: World) -> None:
    world.start_sweeper()
    world.start_worker()
    good = [f"good {number}" for number in range(12)]
    await world.add(*good[:6], f"a {REFUSED}", " ", *good[6:], f"a {NAN}", "")
    await world.settled(16)
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(good, 1))
    assert account.rows == Counter(embedded=12, failed=2, skipped=2)
