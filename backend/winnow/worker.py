"""The worker process: one receiver a lane, side by side.

For those who know TaskIQ, the same by its own command line (one process a lane):

    taskiq worker winnow.worker:broker_live --receiver winnow.queue.receiver:JetStreamReceiver \
        --workers 1 --max-async-tasks 8 --max-prefetch 0 --wait-tasks-timeout 25 --no-configure-logging
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Lane
from winnow.queue.receiver import JetStreamReceiver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.bootstrap import Winnow
    from winnow.queue.broker import JetStreamBroker

log = structlog.get_logger(__name__)


async def work(winnow: Winnow, lanes: Sequence[Lane], stop: asyncio.Event) -> None:
    """Serves the lanes until told to stop; then waits for the tasks in hand as long as the drain allows.

    Raises:
        SpaceMismatch: the stored vectors are another embedder's.
        QueueUnavailable: NATS does not answer at the start.
    """
    await winnow.spaces.check()
    settings = winnow.settings
    for lane in lanes:
        winnow.brokers[lane].is_worker_process = True
    await winnow.start_queue()
    receivers = [
        JetStreamReceiver(
            winnow.brokers[lane],
            max_async_tasks=winnow.concurrency[lane],
            run_startup=False,
            wait_tasks_timeout=settings.drain_seconds,
        )
        for lane in lanes
    ]
    log.info("worker.started", lanes=[lane.value for lane in lanes], embedder=str(winnow.embedder.identity))
    async with asyncio.TaskGroup() as group:
        for lane, receiver in zip(lanes, receivers, strict=True):
            group.create_task(receiver.listen(stop), name=f"lane {lane.value}")
        await stop.wait()
        if tasks := sum(receiver.in_hand for receiver in receivers):
            log.info("worker.finishing", tasks=tasks, at_most_seconds=settings.drain_seconds)
    log.info("worker.stopped")


def __getattr__(name: str) -> JetStreamBroker:
    """`broker_live` and `broker_bulk` for taskiq's command line, built from the settings when they are asked for."""
    lanes = {f"broker_{lane.value}": lane for lane in Lane}
    if name not in lanes:
        raise AttributeError(name)
    from winnow.bootstrap import build  # noqa: PLC0415 - only here is anything built on import
    from winnow.logs import configure_logging  # noqa: PLC0415
    from winnow.servers import running_servers  # noqa: PLC0415
    from winnow.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    configure_logging(settings)
    winnow = build(settings, running_servers(settings))
    broker = winnow.brokers[lanes[name]]
    _attach(winnow, broker)
    return broker


def _attach(winnow: Winnow, broker: JetStreamBroker) -> None:
    """With taskiq's worker in charge, the other lane's broker (promises go there too) and the rest follow this one."""
    others = [other for other in winnow.brokers.values() if other is not broker]

    async def start(_state: object) -> None:
        await winnow.spaces.check()
        for other in others:
            await other.startup()

    async def stop(_state: object) -> None:
        for other in others:
            await other.shutdown()
        await winnow.meter.close()
        await winnow.spaces.close()
        await winnow.database.close()

    from taskiq import TaskiqEvents  # noqa: PLC0415

    broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, start)
    broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, stop)
