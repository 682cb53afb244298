"""Brokers on the test's own nats-server, and workers that run inside the test."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from winnow.queue.broker import JetStreamBroker
from winnow.queue.lanes import LIVE, Lane
from winnow.queue.receiver import JetStreamReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from plugins.nats import NatsServer


class MakeBroker(Protocol):
    """Builds a broker on the test's server; it is not started."""

    def __call__(self, lane: Lane = LIVE, **options: Any) -> JetStreamBroker: ...


@pytest.fixture
async def make_broker(nats_server: NatsServer) -> AsyncIterator[MakeBroker]:
    """A maker of brokers with short times. What is left open at the end of the test is closed."""
    brokers: list[JetStreamBroker] = []

    def make(lane: Lane = LIVE, **options: Any) -> JetStreamBroker:
        settings: dict[str, Any] = {
            "ack_wait_seconds": 1,
            "backoff_seconds": (0.1, 0.1),
            "fetch_seconds": 0.3,
        } | options
        brokers.append(JetStreamBroker(nats_server.url, lane, **settings))
        return brokers[-1]

    yield make
    for broker in brokers:
        if broker.client.is_connected or broker.client.is_reconnecting:
            await broker.shutdown()


@asynccontextmanager
async def working(broker: JetStreamBroker, slots: int = 4, **options: Any) -> AsyncIterator[JetStreamReceiver]:
    """A worker inside the test: started brokers stay started, others are started for the block."""
    async with AsyncExitStack() as stack:
        if not broker.client.is_connected:
            await broker.startup()
            stack.push_async_callback(broker.shutdown)
        receiver = JetStreamReceiver(broker, run_startup=False, max_async_tasks=slots, **options)
        stop = asyncio.Event()
        listening = asyncio.create_task(receiver.listen(stop))
        try:
            yield receiver
        finally:
            stop.set()
            await listening


async def eventually(condition: Callable[[], Any], seconds: float = 15) -> None:
    """Waits until `condition` holds (it may be a coroutine function)."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if await held if asyncio.iscoroutine(held) else held:
                return
            await asyncio.sleep(0.02)
