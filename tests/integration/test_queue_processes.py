"""A real `taskiq worker` process stops quickly when idle, waits when busy, and loses nothing when it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from plugins.jetstream import eventually
from winnow.queue.lanes import Depth, lane_depth
from winnow.queue.workers import list_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plugins.jetstream import MakeBroker
    from plugins.nats import NatsServer
    from winnow.queue.broker import JetStreamBroker

FIXTURES = Path(__file__).parents[1] / "fixtures"
COMMAND = [
    *(sys.executable, "-m", "taskiq", "worker", "queue_app:broker"),
    *("--receiver", "winnow.queue.receiver:JetStreamReceiver"),
    *("--workers", "1"),
    *("--max-async-tasks", "2"),
    *("--max-prefetch", "0"),
    *("--shutdown-timeout", "5"),
    *("--app-dir", str(FIXTURES)),
]


class TaskiqWorker:
    """A `taskiq worker` and its notes."""

    def __init__(self, nats_url: str, notes: Path, *options: str) -> None:
        self._notes = notes
        self.output = notes.with_suffix(".log")
        environment = os.environ | {"NATS_URL": nats_url, "NOTES": str(notes)}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen([*COMMAND, *options], env=environment, stdout=output, stderr=output)

    @property
    def notes(self) -> list[str]:
        """What its tasks have written."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    def child(self) -> psutil.Process:
        """The process that runs the tasks."""
        return next(
            child
            for child in psutil.Process(self.process.pid).children()
            if "resource_tracker" not in str(child.cmdline())
        )

    async def stop(self) -> float:
        """SIGTERM; the seconds until it had ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 30)
        return time.monotonic() - started

    def kill(self) -> None:
        """Ends what is left of it."""
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def start_worker(nats_server: NatsServer, tmp_path: Path) -> Iterator[Callable[..., TaskiqWorker]]:
    started: list[TaskiqWorker] = []

    def start(*options: str) -> TaskiqWorker:
        started.append(TaskiqWorker(nats_server.url, tmp_path / "notes.txt", *options))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture
async def broker(make_broker: MakeBroker) -> JetStreamBroker:
    """A sender of the tasks in fixtures/queue_app.py."""
    broker = make_broker()

    @broker.task("note")
    async def slow_note(name: str, seconds: float) -> None: ...

    await broker.startup()
    return broker


async def send(broker: JetStreamBroker, name: str, seconds: float) -> None:
    task = broker.find_task("note")
    assert task is not None
    await task.kiq(name, seconds)


async def test_an_idle_worker_stops_within_three_seconds(
    broker: JetStreamBroker, start_worker: Callable[..., TaskiqWorker]
) -> None:
    worker = start_worker()
    await eventually(lambda: list_workers(broker.client))
    assert await worker.stop() < 3
    assert worker.process.returncode == 0
    assert await list_workers(broker.client) == []
    assert "Traceback" not in worker.output.read_text()


async def test_a_worker_whose_nats_is_gone_stops_within_three_seconds(
    nats_server: NatsServer, broker: JetStreamBroker, start_worker: Callable[..., TaskiqWorker]
) -> None:
    worker = start_worker()
    await eventually(lambda: list_workers(broker.client))
    nats_server.kill()
    await asyncio.sleep(0.5)
    assert await worker.stop() < 3
    assert worker.process.returncode == 0


async def test_a_busy_worker_finishes_what_it_has_in_hand_and_leaves_the_rest(
    broker: JetStreamBroker, start_worker: Callable[..., TaskiqWorker]
) -> None:
    worker = start_worker()
    for name in ("first", "second", "third"):
        await send(broker, name, 3)
    await eventually(lambda: len(worker.notes) == 2)
    assert await worker.stop() < 8
    assert sorted(line for line in worker.notes if "ends" in line) == ["first ends", "second ends"]
    assert await lane_depth(broker.client, broker.lane) == Depth(pending=1, in_hand=0)


async def test_a_worker_gives_back_what_outlasts_the_wait(
    broker: JetStreamBroker, start_worker: Callable[..., TaskiqWorker]
) -> None:
    slow = start_worker("--wait-tasks-timeout", "1")
    await send(broker, "endless", 60)
    await eventually(lambda: slow.notes)
    assert await slow.stop() < 8
    other = start_worker()
    await eventually(lambda: len(other.notes) == 2)
    assert [line.rsplit(" ", 1)[0] for line in other.notes] == ["endless begins", "endless begins"]


async def test_a_killed_worker_leaves_its_task_to_the_next(
    broker: JetStreamBroker, start_worker: Callable[..., TaskiqWorker]
) -> None:
    worker = start_worker()
    await send(broker, "task", 1.5)
    await eventually(lambda: worker.notes)
    worker.child().kill()  # its parent starts another
    await eventually(lambda: "task ends" in worker.notes)
    assert [line.split()[1] for line in worker.notes] == ["begins", "begins", "ends"]
    assert await lane_depth(broker.client, broker.lane) == Depth(pending=0, in_hand=0)
