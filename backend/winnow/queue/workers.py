"""Who is alive: workers and sweepers answer as NATS micro services, so that nobody has to keep a list."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nats import micro
from nats.errors import TimeoutError as NatsTimeoutError

from .errors import require_connection, translated
from .services import WORKER

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.micro.service import Service

_SERVICE_VERSION: Final = "1.0.0"


@dataclass(frozen=True, slots=True)
class Worker:
    """A living worker process and the names of the lanes it serves."""

    host: str
    pid: int
    lanes: tuple[str, ...]


async def announce(client: Client, service: str, **metadata: str) -> Service:
    """Lets this process answer for one of `queue.services` until that is stopped or the connection closed.

    Args:
        client: a connected client.
        service: what this process is.
        metadata: what it tells of itself beside host and process id; a worker its `lanes`, separated by commas.
    """
    return await micro.add_service(
        client,
        name=service,
        version=_SERVICE_VERSION,
        metadata={**metadata, "host": socket.gethostname(), "pid": str(os.getpid())},
    )


async def list_workers(client: Client, *, timeout_seconds: float = 0.5) -> list[Worker]:
    """All workers that answer within `timeout_seconds`; at once when there is none. One entry for each process.

    Raises:
        QueueUnavailable: NATS does not answer.
    """
    require_connection(client)
    inbox = client.new_inbox()
    lanes: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    with translated():
        answers = await client.subscribe(inbox)
        try:
            await client.publish(f"$SRV.PING.{WORKER}", reply=inbox)
            async with asyncio.timeout(timeout_seconds):
                while _is_answer(answer := await answers.next_msg(timeout=timeout_seconds)):
                    metadata = json.loads(answer.data)["metadata"]
                    lanes[metadata["host"], int(metadata["pid"])].update(metadata["lanes"].split(","))
        except (TimeoutError, NatsTimeoutError):
            pass  # the end of the collection
        finally:
            await answers.unsubscribe()
    return [Worker(host, pid, tuple(sorted(names))) for (host, pid), names in sorted(lanes.items())]


def _is_answer(message: Msg) -> bool:
    """The server itself answers, with a status and no data, when nobody serves the subject."""
    return bool(message.data)
