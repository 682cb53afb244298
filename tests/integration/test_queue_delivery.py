"""A task runs once when all goes well, again when it fails, and ends among the dead letters rather than nowhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from taskiq import Context, TaskiqDepends, TaskiqMiddleware
from taskiq.exceptions import TaskRejectedError
from typing_extensions import override

from plugins.jetstream import eventually, working
from winnow.errors import QueueUnavailable, Transient
from winnow.queue.delivery import current_delivery
from winnow.queue.lanes import BULK, LIVE, Depth, dead_letters, lane_depth
from winnow.queue.middleware import LogContextMiddleware
from winnow.queue.workers import list_workers

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from plugins.jetstream import MakeBroker
    from winnow.queue.broker import JetStreamBroker

EMPTY = Depth(pending=0, in_hand=0)


async def drained(broker: JetStreamBroker) -> bool:
    return await lane_depth(broker.client, broker.lane) == EMPTY


async def dead_letter(broker: JetStreamBroker) -> Msg:
    """The first dead letter of the lane."""
    subscription = await broker.js.pull_subscribe(broker.lane.dead_subject, stream="DEAD")
    return (await subscription.fetch(1, timeout=10))[0]


async def test_a_task_longer_than_ack_wait_runs_once(make_broker: MakeBroker) -> None:
    broker, runs = make_broker(ack_wait_seconds=0.6), []

    @broker.task("long")
    async def long() -> None:
        runs.append(1)
        await asyncio.sleep(2)

    async with working(broker):
        await long.kiq()
        await eventually(lambda: drained(broker))
    assert runs == [1]


async def test_a_failing_task_is_tried_once_more_than_backoff_has_steps_then_buried(make_broker: MakeBroker) -> None:
    broker, deliveries = make_broker(), []

    @broker.task("failing")
    async def failing() -> None:
        delivery = current_delivery()
        assert delivery is not None
        deliveries.append(delivery.number)
        raise ValueError("nö")

    async with working(broker):
        sent = await failing.kiq()
        await eventually(lambda: drained(broker))
        letter = await dead_letter(broker)
        assert deliveries == [1, 2, 3]
        assert await dead_letters(broker.client) == {"live": 1}
    assert letter.headers is not None
    assert letter.headers["Reason"] == "ValueError: n\\xf6"
    assert letter.headers["Task-Name"] == "failing"
    assert letter.headers["Task-Id"] == sent.task_id
    assert letter.headers["Deliveries"] == "3"
    assert broker.formatter.loads(letter.data).task_id == sent.task_id


async def test_weather_outlives_every_number_of_tries(make_broker: MakeBroker) -> None:
    broker, tries = make_broker(), []

    @broker.task("weather")
    async def weather() -> None:
        tries.append(1)
        if len(tries) < 8:
            raise Transient("raining", retry_after_seconds=0.1)

    async with working(broker):
        await weather.kiq()
        await eventually(lambda: drained(broker))
        assert await dead_letters(broker.client) == {}
    assert len(tries) == 8


async def test_a_rejected_task_is_buried_at_once(make_broker: MakeBroker) -> None:
    broker, runs = make_broker(), []

    @broker.task("rejecting")
    async def rejecting() -> None:
        runs.append(1)
        raise TaskRejectedError

    async with working(broker):
        await rejecting.kiq()
        await eventually(lambda: drained(broker))
        letter = await dead_letter(broker)
    assert letter.headers is not None
    assert letter.headers["Reason"].startswith("TaskRejectedError")
    assert runs == [1]


async def test_an_unreadable_payload_is_buried(make_broker: MakeBroker) -> None:
    broker = make_broker()
    async with working(broker):
        await broker.js.publish(LIVE.subject, b"\xff not json")
        letter = await dead_letter(broker)
        await eventually(lambda: drained(broker))
    assert letter.data == b"\xff not json"
    assert letter.headers is not None
    assert letter.headers["Reason"].startswith("unreadable: ")


async def test_an_unknown_task_is_buried(make_broker: MakeBroker) -> None:
    broker, other = make_broker(), make_broker()

    @other.task("nobody-knows")
    async def unknown() -> None: ...

    await other.startup()
    async with working(broker):
        await unknown.kiq()
        letter = await dead_letter(broker)
        await eventually(lambda: drained(broker))
    assert letter.headers is not None
    assert letter.headers["Reason"] == "unknown task nobody-knows"


@pytest.mark.parametrize("dispensable", [False, True])
async def test_a_task_whose_worker_died_each_time_never_runs_again(make_broker: MakeBroker, dispensable: bool) -> None:
    broker, runs = make_broker(ack_wait_seconds=0.3), []

    @broker.task("deadly", dispensable=dispensable)
    async def deadly() -> None:
        runs.append(1)

    async with working(broker):
        await eventually(lambda: list_workers(broker.client))  # now the consumer is there
    await broker.startup()
    await deadly.kiq()
    victim = await broker.js.pull_subscribe_bind(durable=LIVE.durable, stream="TASKS")
    for number in (1, 2, 3):
        taken = await victim.fetch(1, timeout=5)  # and dies
        assert taken[0].metadata.num_delivered == number
    async with working(broker):
        await eventually(lambda: drained(broker))
        letters = [] if dispensable else [await dead_letter(broker)]
        assert sum((await dead_letters(broker.client)).values()) == len(letters)
    reasons = [(letter.headers or {})["Reason"] for letter in letters]
    assert reasons == ["no worker finished it in 3 deliveries"] * len(letters)
    assert runs == []


async def test_the_same_id_or_dedup_label_is_stored_once_in_each_lane(make_broker: MakeBroker) -> None:
    live, bulk = make_broker(LIVE), make_broker(BULK)

    @live.task("embed")
    async def embed(number: int) -> None: ...

    await live.startup()
    await bulk.startup()
    for broker in (live, bulk):
        for number in (1, 2):
            await embed.kicker().with_broker(broker).with_labels(dedup="rows-1-100").kiq(number)
            await embed.kicker().with_broker(broker).with_task_id("mine").kiq(number)
        assert await lane_depth(broker.client, broker.lane) == Depth(pending=2, in_hand=0)


async def test_a_requeued_task_runs_again_and_keeps_its_labels(make_broker: MakeBroker) -> None:
    broker, seen = make_broker(), []

    @broker.task("again")
    async def again(context: Context = TaskiqDepends()) -> None:
        seen.append(dict(context.message.labels))
        if len(seen) < 3:
            await context.requeue()

    async with working(broker):
        await again.kicker().with_labels(number=5, text="ü", flag=True).kiq()
        await eventually(lambda: drained(broker))
    assert [labels.get("X-Taskiq-requeue") for labels in seen] == [None, "1", "2"]
    assert all((labels["number"], labels["text"], labels["flag"]) == (5, "ü", True) for labels in seen)


async def test_a_worker_takes_no_more_tasks_than_it_has_slots(make_broker: MakeBroker) -> None:
    broker, gate, most = make_broker(), asyncio.Event(), []
    running = 0

    @broker.task("slow")
    async def slow() -> None:
        nonlocal running
        running += 1
        most.append(running)
        await gate.wait()
        running -= 1

    async with working(broker, slots=2):
        for _ in range(6):
            await slow.kiq()
        await eventually(lambda: len(most) == 2)
        await asyncio.sleep(1.5)  # longer than ack_wait, and than a fetch
        assert await lane_depth(broker.client, LIVE) == Depth(pending=4, in_hand=2)
        gate.set()
        await eventually(lambda: drained(broker))
    assert max(most) == 2
    assert len(most) == 6


async def test_what_crashes_around_a_task_never_ends_the_listener(make_broker: MakeBroker) -> None:
    class Crashing(TaskiqMiddleware):
        @override
        def pre_execute(self, message: Any) -> Any:
            if message.task_name == "unlucky":
                raise RuntimeError("in a middleware")
            return message

    broker, runs = make_broker(), []
    broker.add_middlewares(Crashing())

    @broker.task("unlucky")
    async def unlucky() -> None: ...

    @broker.task("lucky")
    async def lucky() -> None:
        runs.append(1)

    async with working(broker, slots=1):
        await unlucky.kiq()
        await lucky.kiq()
        await eventually(lambda: drained(broker))
        assert await dead_letters(broker.client) == {"live": 1}
    assert runs == [1]


async def test_ids_of_the_sender_are_bound_in_the_task_and_each_task_ends_with_one_line(
    make_broker: MakeBroker,
) -> None:
    broker, bound, headers = make_broker(), [], []
    broker.add_middlewares(LogContextMiddleware())

    @broker.task("bound")
    async def task(fail: bool) -> None:
        bound.append(structlog.contextvars.get_contextvars())
        delivery = current_delivery()
        assert delivery is not None
        headers.append(delivery.raw.headers or {})
        if fail:
            raise QueueUnavailable("away")

    async with working(broker):
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            with structlog.contextvars.bound_contextvars(request_id="r1", run_id=7, secret="no"):
                sent = await task.kiq(fail=False)
            await eventually(lambda: drained(broker))
            await task.kicker().with_labels(request_id="r2").kiq(fail=True)
            await eventually(lambda: any(line["event"] == "task.failed" for line in lines))
    assert bound[0] == {"request_id": "r1", "run_id": "7", "task_id": sent.task_id, "task_name": "bound"}
    assert headers[0].items() >= {"request_id": "r1", "run_id": "7"}.items()
    assert "secret" not in headers[0]
    finished = [line for line in lines if line["event"] == "task.finished"]
    assert len(finished) == 1
    assert finished[0].items() >= {"lane": "live", "deliveries": 1, "request_id": "r1", "log_level": "info"}.items()
    failed = next(line for line in lines if line["event"] == "task.failed")
    assert failed.items() >= {"lane": "live", "request_id": "r2", "then": "retry", "log_level": "warning"}.items()
    assert 0 < failed["retry_in_seconds"] <= 0.1
