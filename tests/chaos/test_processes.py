"""Processes come and go: told to end, told twice, one of several, or living in another hour."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from chaos.world import DRAIN_SECONDS

if TYPE_CHECKING:
    from chaos.world import World

HOUR = 3600.0
# What a loaded machine may take longer than the drain to tidy up and be gone.
LEEWAY_SECONDS = 6.0
LEADER = """
SELECT count(*) AS leaders FROM pg_locks WHERE locktype = 'advisory' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def test_told_to_end_it_finishes_what_it_has_in_hand(world: World) -> None:
    world.model.delay_seconds = 1.0
    texts = [f"drained {number}" for number in range(20)]
    await world.add(*texts)
    world.start_sweeper()
    worker = world.start_worker()
    await world.asked_by(worker)
    began = time.time()
    worker.send(signal.SIGTERM)
    assert await worker.ended(DRAIN_SECONDS + LEEWAY_SECONDS) == 0
    world.note("SIGTERM", began)
    taken = [text for asked in world.model.asked_by(worker.name) for text in asked.texts]
    assert (await world.progress())["embedded"] == len(taken) > 0
    world.start_worker()
    await world.settled(len(texts))
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(texts, 1))


async def test_what_it_cannot_finish_in_time_it_gives_back_at_once(world: World) -> None:
    world.model.delay_seconds = DRAIN_SECONDS + 20
    texts = [f"given back {number}" for number in range(20)]
    await world.add(*texts)
    world.start_sweeper()
    worker = world.start_worker()
    await world.asked_by(worker)
    began = time.time()
    worker.send(signal.SIGTERM)
    assert await worker.ended(DRAIN_SECONDS + LEEWAY_SECONDS) == 0
    world.note("SIGTERM", began, victim=worker.name, costs=True)
    assert "worker.finishing" in worker.output, "it says what it waits for"
    assert (await world.progress())["pending"] == len(texts)
    world.model.delay_seconds = 0
    world.start_worker()
    await world.settled(len(texts))
    account = await world.account()
    assert set(account.paid) == set(texts)


async def test_told_twice_it_leaves_now_and_gives_back_what_it_has(world: World) -> None:
    world.model.delay_seconds = 30
    texts = [f"left {number}" for number in range(20)]
    await world.add(*texts)
    world.start_sweeper()
    worker = world.start_worker(WINNOW_DRAIN_SECONDS="60")
    await world.asked_by(worker)
    worker.send(signal.SIGTERM)
    await world.until(lambda: "process.stopping" in worker.output, "it has heard")
    worker.send(signal.SIGTERM)
    assert await worker.ended(LEEWAY_SECONDS) == 130
    assert (await world.progress())["pending"] == len(texts)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_worker_whose_clock_is_an_hour_off(world: World, hours: int) -> None:
    world.start_sweeper()
    worker = world.start_worker(CHAOS_CLOCK_SHIFT=str(hours * HOUR))
    await world.listening(worker)
    said = datetime.fromisoformat(worker.log[0]["timestamp"])
    assert abs((said - datetime.now(UTC)).total_seconds() - hours * HOUR) < 60
    texts = [f"another hour {number}" for number in range(25)]
    await world.add(*texts)
    world.model.next("429 after", "503")
    await world.settled(len(texts))
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(texts, 1))


async def test_a_date_in_retry_after_means_the_servers_clock(world: World) -> None:
    world.start_sweeper()
    await world.add("the first")
    await world.listening(world.start_worker(CHAOS_CLOCK_SHIFT=str(-HOUR)))
    await world.settled(1)
    world.model.next("429 date")
    await world.add("one that is put off for a second")
    look = "SELECT extract(epoch FROM paused_until - now()) AS seconds FROM embedding_spaces"
    await world.until(lambda: "429 date" in world.model.answers, "the server has asked for a pause")
    await asyncio.sleep(0.5)
    longest = (await world.sql(look))[0]["seconds"] or 0
    assert longest < 60


async def test_of_two_sweepers_one_leads_and_the_other_follows_when_it_is_killed(world: World) -> None:
    world.start_worker()
    sweepers = [world.start_sweeper(), world.start_sweeper()]

    def leaders() -> list[str]:
        return [sweeper.name for sweeper in sweepers if sweeper.code is None and "sweep.leading" in sweeper.output]

    await world.until(lambda: bool(leaders()), "one leads")
    await world.add("for the first")
    await world.settled(1)
    assert len(leaders()) == 1
    first, second = sorted(sweepers, key=lambda sweeper: sweeper.name not in leaders())
    await world.kill(first, "kill -9 of a sweeper")
    await world.add("for the second")
    await world.settled(2)
    assert leaders() == [second.name]
    account = await world.account()
    assert account.paid == Counter({"for the first": 1, "for the second": 1})


async def test_the_same_work_sent_to_three_workers_is_done_once(world: World) -> None:
    """Tasks are repeated, late and out of order: what counts is who has the row in hand."""
    world.model.delay_seconds = 0.3
    await world.listening(*[world.start_worker() for _ in range(3)])
    texts = [f"sent thrice {number}" for number in range(30)]
    ids = await world.add(*texts)
    for _ in range(3):
        await world.send_tasks(ids[::-1])
        await world.send_tasks(ids)
    await world.settled(len(texts))
    account = await world.account()
    assert account.paid == Counter(dict.fromkeys(texts, 1))
