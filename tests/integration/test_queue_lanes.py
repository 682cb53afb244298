"""Anybody can ask how full the lanes are and who works on them, and an empty answer comes at once."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from plugins.jetstream import eventually, working
from winnow.errors import QueueUnavailable
from winnow.queue.delivery import current_delivery
from winnow.queue.lanes import BULK, LIVE, Depth, dead_letters, lane_depth
from winnow.queue.workers import Worker, list_workers

if TYPE_CHECKING:
    from plugins.jetstream import MakeBroker
    from plugins.nats import NatsServer
    from winnow.queue.broker import JetStreamBroker


async def test_depth_counts_what_waits_and_what_is_in_hand(make_broker: MakeBroker) -> None:
    live, bulk, gate = make_broker(LIVE), make_broker(BULK), asyncio.Event()

    @live.task("wait")
    async def wait() -> None:
        await gate.wait()

    await live.startup()
    await bulk.startup()
    assert await lane_depth(live.client, LIVE) == Depth(pending=0, in_hand=0)
    for _ in range(3):
        await wait.kiq()
    await wait.kicker().with_broker(bulk).kiq()
    assert await lane_depth(live.client, LIVE) == Depth(pending=3, in_hand=0)
    async with working(live, slots=2):
        await eventually(lambda: _is(live, Depth(pending=1, in_hand=2)))
        assert await lane_depth(live.client, BULK) == Depth(pending=1, in_hand=0)
        gate.set()
        await eventually(lambda: _is(live, Depth(pending=0, in_hand=0)))
    assert await dead_letters(live.client) == {}


async def _is(broker: JetStreamBroker, wanted: Depth) -> bool:
    return await lane_depth(broker.client, LIVE) == wanted


async def test_a_function_registered_on_both_brokers_runs_on_both_lanes(make_broker: MakeBroker) -> None:
    live, bulk = make_broker(LIVE), make_broker(BULK)
    lanes = []

    async def both() -> None:
        delivery = current_delivery()
        assert delivery is not None
        lanes.append(delivery.lane)

    tasks = [broker.register_task(both, task_name="both") for broker in (live, bulk)]
    async with working(live), working(bulk):
        for task in tasks:
            await task.kiq()
        await eventually(lambda: len(lanes) == 2)
    assert sorted(lanes) == ["bulk", "live"]


async def test_a_process_is_one_worker_with_all_its_lanes_while_it_listens(make_broker: MakeBroker) -> None:
    live, bulk = make_broker(LIVE), make_broker(BULK)
    await live.startup()
    await bulk.startup()
    started = time.monotonic()
    assert await list_workers(live.client, timeout_seconds=10) == []
    assert time.monotonic() - started < 5
    async with working(live):
        async with working(bulk):
            await eventually(lambda: _lanes(live, ("bulk", "live")))
            assert await list_workers(live.client) == [Worker(socket.gethostname(), os.getpid(), ("bulk", "live"))]
        await eventually(lambda: _lanes(live, ("live",)))
    assert await list_workers(live.client) == []


async def _lanes(broker: JetStreamBroker, wanted: tuple[str, ...]) -> bool:
    return [worker.lanes for worker in await list_workers(broker.client)] == [wanted]


async def test_questions_are_refused_at_once_while_nats_is_away(
    nats_server: NatsServer, make_broker: MakeBroker
) -> None:
    broker = make_broker()
    await broker.startup()
    nats_server.kill()
    await eventually(lambda: not broker.client.is_connected)
    started = time.monotonic()
    for question in (lane_depth(broker.client, LIVE), dead_letters(broker.client), list_workers(broker.client)):
        with pytest.raises(QueueUnavailable):
            await question
    assert time.monotonic() - started < 1
