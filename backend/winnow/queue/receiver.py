"""Runs the tasks of a `JetStreamBroker` and settles each one by how it ended."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import structlog
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.api import Header
from taskiq.receiver import Receiver
from typing_extensions import override

from .delivery import Delivery, JetStreamMessage, current_delivery, enter_delivery, header_text
from .errors import QueueUnavailable
from .verdicts import Action, Verdict, describe, judge

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    from nats.aio.msg import Msg
    from taskiq import AckableMessage, AsyncBroker, TaskiqMessage, TaskiqResult
    from taskiq.acks import AckController

    from .broker import JetStreamBroker

log = structlog.get_logger(__name__)

# On a task whose work is found again without it: when its workers die with it, it needs no dead letter.
DISPENSABLE_LABEL: Final = "dispensable"
REASON_HEADER: Final = "Reason"
TASK_NAME_HEADER: Final = "Task-Name"
TASK_ID_HEADER: Final = "Task-Id"
DELIVERIES_HEADER: Final = "Deliveries"

_TICK_SECONDS: Final = 0.5
_ACK_TRY_SECONDS: Final = 1.0
_ACK_TRIES: Final = 3
_CANCEL_SECONDS: Final = 5.0
_FINISHED_REMEMBERED: Final = 1_000

_Key = tuple[int, "datetime"]


class JetStreamReceiver(Receiver):
    """The receiver for `JetStreamBroker`: heartbeat, acknowledgement, backoff and dead letters.

    It takes only as many tasks as it has free slots. Acknowledgement types and `Context.ack` do not apply.
    """

    broker: JetStreamBroker

    def __init__(self, broker: AsyncBroker, **options: Any) -> None:
        """Takes taskiq's own options (those of `taskiq worker`).

        Raises:
            ValueError: no bound on the tasks at once.
        """
        # A prefetched task waits here without a heartbeat, is handed to somebody else, and runs twice.
        options["max_prefetch"] = 0
        if (options.get("max_async_tasks") or 0) < 1:
            raise ValueError("A receiver needs a bound: set max_async_tasks to 1 or more.")
        super().__init__(broker, **options)
        self._callbacks: set[asyncio.Task[Any]] = set()
        self._in_hand: set[_Key] = set()
        self._finished: deque[_Key] = deque(maxlen=_FINISHED_REMEMBERED)
        self._stopping = False

    @property
    def in_hand(self) -> int:
        """Tasks that are worked just now."""
        return len(self._in_hand)

    @override
    async def listen(self, finish_event: asyncio.Event) -> None:
        """Works until `finish_event` is set, then waits for the tasks in hand as long as `wait_tasks_timeout` allows.

        Tasks that still run then are cancelled and given back to the lane.
        """
        self._stopping = False
        ticker = asyncio.create_task(_tick(), name="queue-tick")
        try:
            await super().listen(finish_event)
        finally:
            ticker.cancel()
            await self._hand_back()

    @override
    async def callback(self, message: bytes | AckableMessage, raise_err: bool = False) -> None:
        """Runs one task and settles it. Nothing that goes wrong leaves here: an unsettled task comes again."""
        if not isinstance(message, JetStreamMessage):
            await super().callback(message, raise_err)
            return
        running = asyncio.current_task()
        if running is not None:
            self._callbacks.add(running)
            running.add_done_callback(self._callbacks.discard)
        try:
            await self._work(message.raw)
        except (NatsError, TimeoutError) as error:
            log.warning("task.unsettled", queue=self.broker.lane.name, error=describe(error))
        except Exception:
            log.exception("task.unsettled", queue=self.broker.lane.name)

    @override
    async def run_task(
        self,
        target: Callable[..., Any],
        message: TaskiqMessage,
        ack_controller: AckController | None = None,
    ) -> TaskiqResult[Any]:
        """Runs the function and decides what becomes of the delivery, so that middlewares can tell."""
        result = await super().run_task(target, message, ack_controller)
        if (delivery := current_delivery()) is not None:
            delivery.verdict = self._judge(result.error, delivery.number)
        return result

    def _judge(self, error: BaseException | None, number: int) -> Verdict:
        return judge(
            error,
            delivery=number,
            backoff_seconds=self.broker.backoff_seconds,
            chance=random.random(),  # noqa: S311 - jitter
            stopping=self._stopping,
        )

    async def _work(self, raw: Msg) -> None:
        """Takes the message once: a server that was killed, or a new consumer, may deliver it here a second time."""
        key = (raw.metadata.sequence.stream, raw.metadata.timestamp)
        if key in self._in_hand:
            return
        if key in self._finished:
            await self._acknowledge(raw)
            return
        self._in_hand.add(key)
        try:
            async with self._heartbeat(raw):
                delivery = Delivery(raw, lane=self.broker.lane.name, number=raw.metadata.num_delivered)
                await self._settle(delivery, await self._run(delivery), key)
        finally:
            self._in_hand.discard(key)

    async def _run(self, delivery: Delivery) -> Verdict:
        """Runs the task of a delivery, unless nobody should."""
        if (refused := self._refused(delivery)) is not None:
            return refused
        enter_delivery(delivery)
        try:
            # The bare bytes: taskiq then finds nothing to acknowledge, which it would do whatever the result.
            await super().callback(delivery.raw.data, raise_err=True)
        except Exception as error:  # noqa: BLE001 - whatever a middleware raises counts as the task's failure
            delivery.verdict = self._judge(error, delivery.number)
        return delivery.verdict or self._judge(LookupError("the task did not run"), delivery.number)

    def _refused(self, delivery: Delivery) -> Verdict | None:
        """What becomes of a delivery that must not run. taskiq acknowledges what it cannot read or does not know."""
        exhausted = delivery.number > len(self.broker.backoff_seconds) + 1
        died = f"no worker finished it in {delivery.number - 1} deliveries" if exhausted else ""
        try:
            message = self.broker.formatter.loads(delivery.raw.data)
            message.parse_labels()
        except Exception as error:  # noqa: BLE001 - a formatter may raise anything on foreign bytes
            return Verdict(Action.BURY, reason=died or f"unreadable: {type(error).__name__}")
        task = self.broker.find_task(message.task_name)
        if task is None:
            return Verdict(Action.BURY, reason=died or f"unknown task {message.task_name}")
        if not exhausted:
            return None
        if not task.labels.get(DISPENSABLE_LABEL):
            return Verdict(Action.BURY, reason=died)
        log.warning("task.dropped", queue=delivery.lane, reason=died, task_name=task.task_name)
        return Verdict(Action.ACKNOWLEDGE, reason=died)

    async def _settle(self, delivery: Delivery, verdict: Verdict, key: _Key) -> None:
        """Carries the verdict out: first what must not get lost is stored, then the message leaves the lane."""
        raw = delivery.raw
        match verdict.action:
            case Action.RETURN:
                await raw.nak()
            case Action.RETRY:
                await raw.nak(delay=verdict.delay_seconds)
            case Action.BURY:
                await self._bury(delivery, verdict.reason)
                self._finished.append(key)
                await raw.term()
            case Action.RENEW:
                await self._renew(raw)
                self._finished.append(key)
                await self._acknowledge(raw)
            case Action.ACKNOWLEDGE:
                self._finished.append(key)
                await self._acknowledge(raw)

    async def _acknowledge(self, raw: Msg) -> None:
        """Acknowledges, through an outage, until JetStream confirms it: else a finished task would run again.

        A server that was killed has forgotten its last deliveries and never answers for them. It delivers those
        messages a second time, and then they are acknowledged as finished (see `_work`).
        """
        tries = 0
        while tries < _ACK_TRIES and not raw.is_acked:
            if not self.broker.client.is_connected:
                await asyncio.sleep(_TICK_SECONDS)
                continue
            tries += 1
            try:
                await raw.ack_sync(timeout=_ACK_TRY_SECONDS)
            except TimeoutError:
                continue
            except NoRespondersError:  # JetStream is still starting, or somebody deleted the consumer
                await asyncio.sleep(_ACK_TRY_SECONDS)

    async def _renew(self, raw: Msg) -> None:
        """Puts a fresh copy at the end of the lane, so that weather never uses up a task's deliveries."""
        await self._store(self.broker.lane.subject, raw.data, {Header.MSG_ID: f"renewed:{_identity(raw)}"})

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        raw = delivery.raw
        name, task_id = self._name_and_id(raw)
        headers = {
            Header.MSG_ID: f"buried:{_identity(raw)}",
            REASON_HEADER: header_text(reason),
            TASK_NAME_HEADER: header_text(name),
            TASK_ID_HEADER: header_text(task_id),
            DELIVERIES_HEADER: str(delivery.number),
        }
        await self._store(self.broker.lane.dead_subject, raw.data, headers)
        log.error("task.dead", queue=delivery.lane, reason=reason, task_name=name, task_id=task_id)

    async def _store(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """Stores a message however long it takes: given up, it would come once too often, and be buried for that."""
        while True:
            try:
                return await self.broker.store(subject, payload, headers)
            except QueueUnavailable as error:
                log.debug("task.stored_later", queue=self.broker.lane.name, error=str(error))
            await asyncio.sleep(_TICK_SECONDS)

    def _name_and_id(self, raw: Msg) -> tuple[str, str]:
        try:
            message = self.broker.formatter.loads(raw.data)
        except Exception:  # noqa: BLE001 - a formatter may raise anything on foreign bytes
            return "", ""
        return message.task_name, message.task_id

    @asynccontextmanager
    async def _heartbeat(self, raw: Msg) -> AsyncGenerator[None, None]:
        """Tells JetStream that the task is in hand, so that one longer than ack_wait runs once.

        It needs the event loop: a task that blocks the loop for longer than ack_wait is delivered again.
        """
        beating = asyncio.create_task(self._beat(raw), name=f"queue-heartbeat-{raw.metadata.sequence.stream}")
        try:
            yield
        finally:
            beating.cancel()

    async def _beat(self, raw: Msg) -> None:
        while True:
            await asyncio.sleep(self.broker.ack_wait_seconds / 3)
            if self.broker.client.is_connected:
                with suppress(NatsError):
                    await raw.in_progress()

    async def _hand_back(self) -> None:
        """Cancels what still runs after the wait; each of these tasks returns itself to the lane."""
        self._stopping = True
        left = {task for task in self._callbacks if task is not asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            log.warning("queue.tasks_given_back", queue=self.broker.lane.name, count=len(left))
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)


async def _tick() -> None:
    """Wakes the loop twice a second: on plain asyncio a signal handler's event is noticed only when something does."""
    while True:  # noqa: ASYNC110 - the waking is all that is wanted
        await asyncio.sleep(_TICK_SECONDS)


def _identity(raw: Msg) -> str:
    """Names one stored message for ever: sequences begin anew when a stream is deleted, times do not."""
    return f"{raw.metadata.stream}:{raw.metadata.sequence.stream}:{raw.metadata.timestamp.timestamp()}"
