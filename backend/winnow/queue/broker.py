"""TaskIQ on NATS JetStream for work that must not get lost; see docs/adr/0002 for what it mends and why."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import structlog
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js.api import ConsumerConfig, Header, StreamConfig
from nats.js.errors import NoStreamResponseError
from taskiq import AsyncBroker
from taskiq_nats import PullBasedJetStreamBroker
from typing_extensions import override

from .connection import ConnectionLog, addresses
from .delivery import JetStreamMessage, header_text
from .errors import Permanent, QueueUnavailable, SetupFault, require_connection, translated
from .sending import JetStreamTask
from .services import WORKER
from .streams import STREAM, dead_stream, declare_consumer, declare_stream, tasks_stream
from .workers import announce

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.micro.service import Service
    from taskiq import BrokerMessage

    from .lanes import Lane

log = structlog.get_logger(__name__)

_PUBLISH_TRY_SECONDS: Final = 2.0
_WITHDRAW_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.2


class JetStreamBroker(PullBasedJetStreamBroker):
    """One lane of the task queue: `kick` stores a task, `listen` yields the lane's tasks one by one.

    Everything that JetStream has to know is declared from here, by whoever comes first, and again after somebody
    deleted it. Use one broker for each lane and process; run it with `JetStreamReceiver`, which settles the tasks.
    """

    def __init__(
        self,
        servers: str | list[str],
        lane: Lane,
        *,
        ack_wait_seconds: float = 60,
        backoff_seconds: tuple[float, ...] = (5, 30, 120, 600),
        max_ack_pending: int = 1_000,
        send_timeout_seconds: float = 5,
        connect_timeout_seconds: float = 5,
        fetch_seconds: float = 1,
        tasks: StreamConfig | None = None,
        dead: StreamConfig | None = None,
        **connection: Any,
    ) -> None:
        """Connects nothing yet.

        Args:
            servers: NATS URLs; a token, or user and password, may stand in them.
            lane: the lane that is sent to and listened to.
            ack_wait_seconds: silence after which a task in hand goes to another worker; a third of it is the heartbeat.
            backoff_seconds: steps between the tries of a failing task; it is tried once more than there are steps.
            max_ack_pending: tasks of the lane in hand or waiting for their next try, over all workers.
            send_timeout_seconds: the longest `kick`.
            connect_timeout_seconds: the longest wait for NATS in `startup`.
            fetch_seconds: one request for a task. It must end: one that was open when the server died never would, and
                a process on plain asyncio notices a signal only when something wakes it.
            tasks: the stream of all lanes, instead of `tasks_stream()`.
            dead: the stream of dead letters, instead of `dead_stream()`.
            connection: further arguments of `nats.connect`.
        """
        self.lane: Final = lane
        self.ack_wait_seconds: Final = ack_wait_seconds
        self.backoff_seconds: Final = backoff_seconds
        self._send_timeout_seconds = send_timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds
        self._dead_config = dead or dead_stream()
        self._events = ConnectionLog(servers, lane.name)
        self._wanted_consumer = ConsumerConfig(
            name=lane.durable,
            durable_name=lane.durable,
            filter_subject=lane.subject,
            ack_wait=ack_wait_seconds,
            # Unlimited: past its limit a message stays in a work queue for ever, unseen. We bury it before that.
            max_deliver=-1,
            max_ack_pending=max_ack_pending,
        )
        self._service: Service | None = None
        self._announced_as = ""
        self._pull: JetStreamContext.PullSubscription | None = None
        self._stopping = True
        self._revival: asyncio.Task[None] | None = None
        super().__init__(
            servers,
            subject=lane.subject,
            stream_name=STREAM,
            durable=lane.durable,
            stream_config=tasks or tasks_stream(),
            consumer_config=self._wanted_consumer,
            pull_consume_timeout=fetch_seconds,
            **self._connection_arguments(connection),
        )
        self.decorator_class = JetStreamTask

    def _connection_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": f"winnow-{self.lane.name}",
            "max_reconnect_attempts": -1,  # the default closes the client for good after two minutes
            "reconnect_time_wait": 0.5,
            "ping_interval": 20,
            **given,
            "error_cb": self._events.on_error,
            "disconnected_cb": self._events.on_disconnected,
            "reconnected_cb": self._events.on_reconnected,
            "closed_cb": self._on_closed,
        }

    @override
    async def startup(self) -> None:
        """Connects, declares the streams, then runs the startup events (taskiq-nats runs them unconnected).

        Raises:
            QueueUnavailable: NATS or its JetStream does not answer in time.
            SetupFault: NATS refuses the credentials, or the streams as they should be.
        """
        self._stopping = self._events.closing = False
        try:
            await self._connect()
            await self._declare_within(self._connect_timeout_seconds)
            await AsyncBroker.startup(self)
        except BaseException:
            await self._close()
            raise

    @override
    async def shutdown(self) -> None:
        """Runs the shutdown events while still connected, then closes the connection."""
        try:
            await AsyncBroker.shutdown(self)
        finally:
            await self._close()

    @override
    async def kick(self, message: BrokerMessage) -> None:
        """Stores a task on the lane, within the send timeout, at most once in the duplicate window.

        Two tasks are the same when their `dedup` label is, or else their id.

        Raises:
            QueueUnavailable: NATS did not confirm it. Unless it was refused at once for want of a connection, the task
                may be stored all the same: "raised" means unknown.
            Permanent: the task is larger than NATS takes.
        """
        # The labels are in the payload; as headers they can be read on the way, by `nats` tools and by other programs.
        labels = {name: header_text(str(value)) for name, value in message.labels.items()}
        await self.store(self.lane.subject, message.message, {**labels, Header.MSG_ID: self._message_id(message)})

    async def store(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """Publishes to a stream until it is stored, again after each failure; raises as `kick` does.

        The headers must hold a message id, which makes a repeat harmless.
        """
        require_connection(self.client)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._send_timeout_seconds
        reason = "no answer"
        while (left := deadline - clock()) > 0:
            try:
                async with asyncio.timeout(left):
                    return await self._publish(subject, payload, headers)
            except MaxPayloadError as error:
                raise Permanent(
                    f"A task of {len(payload)} bytes is more than NATS takes ({self.client.max_payload}); send ids."
                ) from error
            except (NatsError, QueueUnavailable, SetupFault, TimeoutError) as error:
                reason = str(error) or reason
            await asyncio.sleep(min(_PAUSE_SECONDS / 2, left))
        seconds = f"{self._send_timeout_seconds:g}"
        raise QueueUnavailable(f"NATS did not confirm the task within {seconds} s ({reason}); it may be stored or not.")

    @override
    async def listen(self) -> AsyncGenerator[JetStreamMessage, None]:
        """Yields tasks one at a time for as long as it is asked, through any outage.

        Closing it gives back what arrives on the last request. `JetStreamReceiver` settles the messages; any other
        receiver acknowledges them when they have run, however they ended.
        """
        try:
            while True:
                if (asker := asyncio.current_task()) is not None and asker.cancelling():
                    # Python 3.11's wait_for, within nats-py, loses a cancellation that comes together with its answer.
                    raise asyncio.CancelledError
                message = await self._next()
                if message is not None:
                    yield JetStreamMessage(data=message.data, ack=message.ack, raw=message)
        finally:
            await self._withdraw()

    # -- connection

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                await self.client.connect(self.servers, **self.connection_kwargs)
        except (TimeoutError, OSError, NatsError) as error:
            reason = self._events.last_error or str(error) or "no answer"
            where = addresses(self.servers)
            if self._events.refused:
                raise SetupFault(f"NATS at {where} refuses the user, password or token in NATS_URL.") from error
            raise QueueUnavailable(
                f"NATS at {where} does not answer ({reason}); start it, or check NATS_URL."
            ) from error
        self._events.connected()
        self.js = self.client.jetstream()

    async def _close(self) -> None:
        self._stopping = self._events.closing = True
        if self._revival is not None:
            self._revival.cancel()
        await self.client.close()

    async def _on_closed(self) -> None:
        """Opens the connection again: some errors of a server close a nats-py client for good."""
        self._pull, self._service = None, None
        if not self._stopping and (self._revival is None or self._revival.done()):
            log.warning("queue.closed", queue=self.lane.name, error=self._events.last_error)
            self._revival = asyncio.create_task(self._revive(), name=f"queue-revive-{self.lane.name}")

    async def _revive(self) -> None:
        while not self.client.is_connected:
            await asyncio.sleep(_PAUSE_SECONDS)
            with contextlib.suppress(NatsError, OSError):
                await self.client.connect(self.servers, **self.connection_kwargs)  # tries for ever by itself
        self.js = self.client.jetstream()
        await self._events.on_reconnected()
        if self._announced_as:
            with contextlib.suppress(NatsError):
                self._service = await announce(self.client, self._announced_as)

    async def announce_as(self, service: str) -> None:
        """Lets a process that does not listen be found, as one of `queue.services`, until the shutdown.

        Raises:
            QueueUnavailable: NATS does not answer.
        """
        require_connection(self.client)
        with translated():
            self._service = await announce(self.client, service)
        self._announced_as = service

    # -- streams

    async def _declare_within(self, seconds: float) -> None:
        """Declares the streams; a server that has just been started needs a moment before JetStream answers."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self._declare_streams()
                    except (NatsError, TimeoutError) as error:
                        self._events.last_error = str(error)
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError as error:
            raise QueueUnavailable(
                f"NATS at {addresses(self.servers)} answers, but its JetStream does not ({self._events.last_error}); "
                "start nats-server with JetStream."
            ) from error

    async def _declare_streams(self) -> None:
        for config in (self.stream_config, self._dead_config):
            await declare_stream(self.js, config)

    # -- sending

    def _message_id(self, message: BrokerMessage) -> str:
        """The id JetStream knows duplicates by.

        Retry middlewares and `Context.requeue` send the same task id again and mean it: their counters are part of it.
        So is the lane: work that waits in bulk must not keep a person's from running live.
        """
        labels = message.labels
        who = labels.get("dedup") or message.task_id
        return f"{self.lane.name}:{who}:{labels.get('_retries', 0)}:{labels.get('X-Taskiq-requeue', 0)}"

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        # Never into the client's buffer: it would send the same bytes once for each try on reconnection.
        require_connection(self.client)
        try:
            await self.js.publish(subject, payload, timeout=_PUBLISH_TRY_SECONDS, headers=dict(headers))
        except NoStreamResponseError:
            await self._declare_streams()
            raise

    # -- listening

    @override
    async def _startup_consumer(self) -> None:
        """Nothing: a consumer is created by `listen`, so a process that only sends never makes one."""

    async def _next(self) -> Msg | None:
        """The next message, or None after a while without one or when JetStream is not there."""
        if not self.client.is_connected:
            # Each fetch would leave a pull request in the client's buffer, and each of those be answered with a task
            # on reconnection: more than this worker has room for.
            await asyncio.sleep(_PAUSE_SECONDS)
            return None
        try:
            if self._pull is None:
                self._pull = await self._bind()
            return await self._fetch(self._pull)
        except TimeoutError:
            return None
        except (NatsError, SetupFault) as error:
            # The consumer or the stream was deleted, or JetStream is still starting.
            await self._events.on_error(error)
            await self._withdraw()
            await asyncio.sleep(_PAUSE_SECONDS)
            return None

    async def _fetch(self, pull: JetStreamContext.PullSubscription) -> Msg:
        fetching = asyncio.ensure_future(pull.fetch(1, timeout=self.pull_consume_timeout))
        try:
            return (await asyncio.shield(fetching))[0]
        except asyncio.CancelledError:
            if fetching.cancelled():  # by nats-py, because the client was closed
                raise NatsError("the connection was closed") from None
            await self._give_back(fetching)
            raise

    async def _give_back(self, fetching: asyncio.Future[list[Msg]]) -> None:
        """Returns what the last request still brings; left alone, that task would wait for ack_wait."""
        with contextlib.suppress(NatsError, TimeoutError):
            for message in await fetching:
                await message.nak()

    async def _bind(self) -> JetStreamContext.PullSubscription:
        """Makes sure of streams and consumer, subscribes to it and lets this worker be found."""
        await self._withdraw()
        await self._declare_streams()
        await declare_consumer(self.js, self._wanted_consumer)
        pull = await self.js.pull_subscribe_bind(durable=self.lane.durable, stream=STREAM)
        self._service = await announce(self.client, WORKER, lanes=self.lane.name)
        self._events.connected()  # from here on, the same error is news again
        log.info("queue.listening", queue=self.lane.name)
        return pull

    async def _withdraw(self) -> None:
        """Ends this worker's subscriptions; it answers no `list_workers` any more."""
        service, self._service = self._service, None
        pull, self._pull = self._pull, None
        if not self.client.is_connected:
            return
        with contextlib.suppress(NatsError, TimeoutError):
            async with asyncio.timeout(_WITHDRAW_SECONDS):
                if pull is not None:
                    await pull.unsubscribe()
                if service is not None:
                    await service.stop()
