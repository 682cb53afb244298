"""The two streams as they should be, and how they and the consumers get that way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServiceUnavailableError

from .errors import SetupFault

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig

log = structlog.get_logger(__name__)

STREAM: Final = "TASKS"
DEAD_STREAM: Final = "DEAD"
_DAY_SECONDS: Final = 86_400
_EXISTS_OTHERWISE: Final = 10058  # JetStream's error code: stream name already in use with a different configuration
_CONSUMER_SETTINGS: Final = ("ack_wait", "max_deliver", "max_ack_pending", "filter_subject")


def tasks_stream(
    *, max_age_seconds: float = 14 * _DAY_SECONDS, duplicate_window_seconds: float = 3_600, replicas: int = 1
) -> StreamConfig:
    """The stream of all lanes. A task leaves it when it is acknowledged (WORK_QUEUE cannot be chosen later)."""
    return StreamConfig(
        name=STREAM,
        subjects=["tasks.>"],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        max_age=max_age_seconds,
        duplicate_window=duplicate_window_seconds,
        num_replicas=replicas,
    )


def dead_stream(
    *, max_age_seconds: float = 30 * _DAY_SECONDS, duplicate_window_seconds: float = 3_600, replicas: int = 1
) -> StreamConfig:
    """The stream of dead letters, which are kept for a person to read."""
    return StreamConfig(
        name=DEAD_STREAM,
        subjects=["dead.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=max_age_seconds,
        duplicate_window=duplicate_window_seconds,
        num_replicas=replicas,
    )


async def declare_stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    """Creates the stream, or changes the one that is there (taskiq-nats keeps the old settings and says nothing).

    Raises:
        SetupFault: JetStream refuses it.
        nats.errors.Error: JetStream does not answer.
    """
    try:
        await js.add_stream(config=wanted)
    except BadRequestError as error:
        if error.err_code != _EXISTS_OTHERWISE:
            raise SetupFault(f"NATS refuses the stream {wanted.name}: {error.description}.") from error
        await _change_stream(js, wanted)


async def _change_stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    there = (await js.stream_info(wanted.name or "")).config
    if set(there.subjects or ()) != set(wanted.subjects or ()):
        raise SetupFault(
            f"This NATS has a stream {wanted.name} of somebody else's (subjects {', '.join(there.subjects or ())}); "
            "use another NATS account for Winnow."
        )
    try:
        await js.update_stream(config=wanted)
    except APIError as error:
        if isinstance(error, ServiceUnavailableError):
            raise
        raise SetupFault(
            f"The stream {wanted.name} of this NATS cannot be changed to what is needed ({error.description}); "
            "use another NATS account, or empty and remove that stream."
        ) from error
    log.warning("queue.stream_changed", stream=wanted.name)


async def declare_consumer(js: JetStreamContext, wanted: ConsumerConfig) -> None:
    """Creates the durable consumer on the stream of tasks, or changes the one that is there, and says so.

    Raises:
        nats.errors.Error: JetStream does not answer, or refuses.
    """
    try:
        there = (await js.consumer_info(STREAM, wanted.durable_name or "")).config
    except NotFoundError:
        await js.add_consumer(STREAM, config=wanted)
        return
    changed = {
        name: f"{getattr(there, name)} -> {getattr(wanted, name)}"
        for name in _CONSUMER_SETTINGS
        if getattr(there, name) != getattr(wanted, name)
    }
    if changed:
        # The last worker to start decides for all that run already: say so, or nobody will ever find out.
        log.warning("queue.consumer_changed", queue=wanted.durable_name, **changed)
        await js.add_consumer(STREAM, config=wanted)
