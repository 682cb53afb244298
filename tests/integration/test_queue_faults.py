"""Whatever happens to NATS, a stored task is neither lost nor run twice, and nobody waits longer than promised."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import structlog
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from plugins.jetstream import eventually, working
from winnow.embedded.nats import find_binary
from winnow.errors import Permanent, QueueUnavailable, SetupFault
from winnow.queue.broker import JetStreamBroker
from winnow.queue.lanes import LIVE, Depth, lane_depth
from winnow.queue.streams import tasks_stream
from winnow.queue.workers import list_workers

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.jetstream import MakeBroker
    from plugins.nats import NatsServer


def counting(broker: JetStreamBroker, seconds: float = 0) -> Counter[int]:
    """Registers the task `count` on the broker; the counter says how often each number ran."""
    runs: Counter[int] = Counter()

    @broker.task("count")
    async def count(number: int) -> None:
        runs[number] += 1
        await asyncio.sleep(seconds)

    return runs


async def send(broker: JetStreamBroker, number: int) -> None:
    task = broker.find_task("count")
    assert task is not None
    await task.kiq(number)


async def test_300_tasks_run_once_each_through_a_kill_of_the_server(
    nats_server: NatsServer, make_broker: MakeBroker
) -> None:
    broker = make_broker(ack_wait_seconds=2)
    runs = counting(broker, seconds=0.02)
    await broker.startup()
    for number in range(300):
        await send(broker, number)
    async with working(broker, slots=8):
        await eventually(lambda: len(runs) >= 60)
        nats_server.kill()
        await asyncio.sleep(0.5)
        await nats_server.start()
        await eventually(lambda: len(runs) == 300)
        await eventually(lambda: broker.client.is_connected)
        await eventually(lambda: _empty(broker))
        await asyncio.sleep(2.5)  # longer than ack_wait: whatever was not acknowledged would come again
    assert runs == Counter(range(300))


async def _empty(broker: JetStreamBroker) -> bool:
    return await lane_depth(broker.client, broker.lane) == Depth(pending=0, in_hand=0)


async def test_a_task_in_hand_while_the_server_is_killed_runs_once(
    nats_server: NatsServer, make_broker: MakeBroker
) -> None:
    broker = make_broker(ack_wait_seconds=1)
    runs = counting(broker, seconds=2)
    async with working(broker):
        await send(broker, 1)
        await eventually(lambda: runs)
        await nats_server.restart_killed()
        await eventually(lambda: broker.client.is_connected)
        await eventually(lambda: _empty(broker))
        await asyncio.sleep(1.5)
    assert runs == Counter([1])


async def test_tasks_sent_while_the_server_is_killed_and_started_are_stored_once(
    nats_server: NatsServer, make_broker: MakeBroker
) -> None:
    broker = make_broker(send_timeout_seconds=10)
    counting(broker)
    await broker.startup()
    sending = [asyncio.create_task(send(broker, number)) for number in range(100)]
    await asyncio.sleep(0)
    await nats_server.restart_killed()
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert [error for error in results if error is not None and not isinstance(error, QueueUnavailable)] == []
    stored = (await lane_depth(broker.client, LIVE)).pending
    assert results.count(None) <= stored <= 100


async def test_a_worker_outlives_its_deleted_consumer(make_broker: MakeBroker) -> None:
    broker = make_broker()
    runs = counting(broker)
    async with working(broker):
        await send(broker, 1)
        await eventually(lambda: runs[1])
        await broker.js.delete_consumer("TASKS", LIVE.durable)
        await send(broker, 2)
        await eventually(lambda: runs[2])
        assert len(await list_workers(broker.client)) == 1
    assert runs == Counter([1, 2])


async def test_a_task_in_hand_while_its_consumer_is_deleted_runs_once(make_broker: MakeBroker) -> None:
    broker = make_broker()
    runs = counting(broker, seconds=2)
    async with working(broker):
        await send(broker, 1)
        await eventually(lambda: runs[1])
        await broker.js.delete_consumer("TASKS", LIVE.durable)
        await eventually(lambda: _empty(broker))
    assert runs == Counter([1])


async def test_sender_and_worker_outlive_the_deleted_stream(make_broker: MakeBroker) -> None:
    broker = make_broker()
    runs = counting(broker)
    async with working(broker):
        await send(broker, 1)
        await eventually(lambda: runs[1])
        await broker.js.delete_stream("TASKS")
        await send(broker, 2)
        await eventually(lambda: runs[2])
    assert runs == Counter([1, 2])


async def test_a_known_outage_refuses_a_task_at_once_and_ends_by_itself(
    nats_server: NatsServer, make_broker: MakeBroker
) -> None:
    broker = make_broker()
    counting(broker)
    await broker.startup()
    nats_server.kill()
    await eventually(lambda: not broker.client.is_connected)
    started = time.monotonic()
    with pytest.raises(QueueUnavailable, match="NATS_URL"):
        await send(broker, 1)
    assert time.monotonic() - started < 0.2
    await nats_server.start()
    await eventually(lambda: broker.client.is_connected)
    await send(broker, 2)
    assert await lane_depth(broker.client, LIVE) == Depth(pending=1, in_hand=0)  # the refused one never left


async def test_a_server_that_hangs_delays_a_sender_no_longer_than_its_timeout(
    nats_server: NatsServer, make_broker: MakeBroker
) -> None:
    broker = make_broker(send_timeout_seconds=1)
    counting(broker)
    await broker.startup()
    pid = nats_server.embedded.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(QueueUnavailable, match="may be stored or not"):
            await send(broker, 1)
        assert time.monotonic() - started < 3
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_sender_repeats_with_the_same_id_until_the_hanging_server_goes_on(
    nats_server: NatsServer, make_broker: MakeBroker
) -> None:
    broker = make_broker(send_timeout_seconds=10)
    counting(broker)
    await broker.startup()
    pid = nats_server.embedded.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    sending = asyncio.create_task(send(broker, 1))
    await asyncio.sleep(2.5)  # longer than one try
    os.kill(pid, signal.SIGCONT)
    await sending
    assert await lane_depth(broker.client, LIVE) == Depth(pending=1, in_hand=0)


async def test_a_connection_that_the_server_ended_for_good_is_opened_again(make_broker: MakeBroker) -> None:
    broker = make_broker()
    runs = counting(broker)
    async with working(broker):
        await send(broker, 1)
        await eventually(lambda: runs[1])
        await broker.client._process_err("'Authentication Timeout'")  # as the server would say; nats-py then closes
        await eventually(lambda: broker.client.is_closed)
        await eventually(lambda: broker.client.is_connected)
        await send(broker, 2)
        await eventually(lambda: runs[2])
    assert runs == Counter([1, 2])


async def test_starting_without_nats_fails_in_one_sentence(tmp_path: Path) -> None:
    broker = JetStreamBroker("nats://secret@127.0.0.1:1", LIVE, connect_timeout_seconds=0.5)
    with structlog.testing.capture_logs() as lines, pytest.raises(QueueUnavailable) as raised:
        await broker.startup()
    assert str(raised.value) == (
        "NATS at 127.0.0.1:1 does not answer (Connection refused); start it, or check NATS_URL."
    )
    assert [line["event"] for line in lines] == ["queue.error"]
    assert all("exc_info" not in line and "secret" not in str(line) for line in lines)


async def test_a_wrong_token_is_named_as_such(nats_server: NatsServer) -> None:
    broker = JetStreamBroker(nats_server.url.replace("://", "://not-"), LIVE, connect_timeout_seconds=0.5)
    with pytest.raises(SetupFault, match="refuses the user, password or token"):
        await broker.startup()


async def test_a_broker_can_be_started_again(make_broker: MakeBroker) -> None:
    broker = make_broker()
    runs = counting(broker)
    for number in (1, 2):
        async with working(broker):
            await send(broker, number)
            await eventually(lambda: runs[number])  # noqa: B023 - awaited in this very round
    assert runs == Counter([1, 2])


async def test_a_process_that_only_sends_creates_no_consumer(make_broker: MakeBroker) -> None:
    broker = make_broker()
    counting(broker)
    await broker.startup()
    await send(broker, 1)
    with pytest.raises(NotFoundError):
        await broker.js.consumer_info("TASKS", LIVE.durable)


async def test_a_task_larger_than_nats_takes_is_refused_for_good(make_broker: MakeBroker) -> None:
    broker = make_broker()

    @broker.task("large")
    async def large(text: str) -> None: ...

    await broker.startup()
    with pytest.raises(Permanent, match="send ids"):
        await large.kiq("x" * 2_000_000)


async def test_changed_settings_of_the_stream_are_applied(make_broker: MakeBroker) -> None:
    await make_broker().startup()
    changed = make_broker(tasks=tasks_stream(max_age_seconds=3_600))
    await changed.startup()
    config = (await changed.js.stream_info("TASKS")).config
    assert config.max_age == 3_600
    assert config.retention == RetentionPolicy.WORK_QUEUE


async def test_a_stream_that_cannot_become_ours_is_named(make_broker: MakeBroker) -> None:
    broker = make_broker()
    await broker.startup()
    await broker.js.delete_stream("TASKS")
    await broker.js.add_stream(StreamConfig(name="TASKS", subjects=["tasks.>"], retention=RetentionPolicy.LIMITS))
    with pytest.raises(SetupFault, match=r"stream TASKS .* cannot be changed"):
        await make_broker().startup()


async def test_changed_settings_of_the_consumer_are_applied_and_said(make_broker: MakeBroker) -> None:
    broker = make_broker(ack_wait_seconds=2)
    await broker.startup()
    await broker.js.add_consumer(
        "TASKS", ConsumerConfig(name="live", durable_name="live", filter_subject=LIVE.subject, ack_wait=30)
    )
    with structlog.testing.capture_logs() as lines:
        async with working(broker):
            await eventually(lambda: list_workers(broker.client))
    assert (await broker.js.consumer_info("TASKS", "live")).config.ack_wait == 2
    said = next(line for line in lines if line["event"] == "queue.consumer_changed")
    assert said["ack_wait"] == "30.0 -> 2"


async def test_a_nats_without_jetstream_is_named(tmp_path: Path) -> None:
    server = subprocess.Popen(  # noqa: ASYNC220 - a fork takes a millisecond
        [find_binary(), "--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir", tmp_path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ports = tmp_path / f"nats-server_{server.pid}.ports"
        await eventually(lambda: ports.exists() and ports.read_text().endswith("}"))
        broker = JetStreamBroker(json.loads(ports.read_text())["nats"], LIVE, connect_timeout_seconds=0.5)
        with pytest.raises(QueueUnavailable, match="its JetStream does not"):
            await broker.startup()
    finally:
        server.terminate()
        server.wait(10)


async def test_a_stream_of_somebody_else_is_refused_and_left_as_it_is(make_broker: MakeBroker) -> None:
    broker = make_broker()
    await broker.startup()
    await broker.js.delete_stream("TASKS")
    await broker.js.add_stream(StreamConfig(name="TASKS", subjects=["their.tasks.>"]))
    with pytest.raises(SetupFault, match="somebody else's"):
        await make_broker().startup()
    assert (await broker.js.stream_info("TASKS")).config.subjects == ["their.tasks.>"]


async def test_a_stop_that_the_client_loses_is_kept_all_the_same(make_broker: MakeBroker) -> None:
    """As Python 3.11's `wait_for` loses one, within nats-py, that comes together with its answer."""
    broker = make_broker()
    await broker.startup()
    asked = asyncio.Event()

    async def deaf() -> None:
        asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    broker._next = deaf  # type: ignore[method-assign]
    listening = broker.listen()
    waiting = asyncio.ensure_future(anext(listening))
    await asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
