"""What NATS says of its own health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js.errors import NotFoundError

from .errors import require_connection, translated
from .streams import DEAD_STREAM, STREAM

if TYPE_CHECKING:
    from nats.aio.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class JetStreamFacts:
    """Version and stores. Of a stream that is not there yet the storage is None.

    Attributes:
        version: of the server.
        storage: where tasks are kept, `file` or `memory`.
        replicas: of the stream of tasks.
        used_bytes, most_bytes: of the account's files; most is None where there is no limit.
        dead: letters that a person should read.
    """

    version: str
    storage: str | None
    replicas: int
    used_bytes: int
    most_bytes: int | None
    dead: int


async def jetstream_facts(client: Client) -> JetStreamFacts:
    """One look.

    Raises:
        QueueUnavailable: NATS, or JetStream on it, does not answer.
    """
    require_connection(client)
    js = client.jetstream()
    with translated():
        account = await js.account_info()
        try:
            tasks = (await js.stream_info(STREAM)).config
        except NotFoundError:
            tasks = None
        try:
            dead = (await js.stream_info(DEAD_STREAM)).state.messages
        except NotFoundError:
            dead = 0
    most, version = account.limits.max_storage, client.connected_server_version
    return JetStreamFacts(
        version=f"{version.major}.{version.minor}.{version.patch}",
        storage=str(getattr(tasks.storage, "value", tasks.storage)) if tasks else None,
        replicas=(tasks.num_replicas or 1) if tasks else 0,
        used_bytes=account.storage,
        most_bytes=most if most > 0 else None,
        dead=dead,
    )
