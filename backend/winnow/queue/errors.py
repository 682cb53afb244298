"""The only door to the rest of Winnow: the errors that the queue raises, and NATS's own translated into them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from winnow.errors import Permanent, QueueUnavailable, SetupFault, Transient, WorkerBusy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nats.aio.client import Client

__all__ = ["Permanent", "QueueUnavailable", "SetupFault", "Transient", "WorkerBusy", "require_connection", "translated"]


def require_connection(client: Client) -> None:
    """Refuses at once while the client knows that it has no server.

    nats-py would put the request into a buffer and let the caller wait for the timeout, then send it all the same.

    Raises:
        QueueUnavailable: there is no connection now; the client keeps trying by itself.
    """
    if not client.is_connected:
        raise QueueUnavailable("NATS is not connected at the moment; start it, or check NATS_URL.")


@contextmanager
def translated() -> Iterator[None]:
    """NATS's errors inside the block leave it as `QueueUnavailable`."""
    try:
        yield
    except (NatsError, OSError, TimeoutError) as error:
        raise QueueUnavailable(f"NATS does not answer ({error}); start it, or check NATS_URL.") from error
