"""Events on NATS: plain messages on `events.…`, for those who are subscribed at the moment; nothing is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import structlog
from nats.errors import Error as NatsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .broker import JetStreamBroker

log = structlog.get_logger(__name__)


class NatsAnnouncer:
    """Publishes JSON over a broker's connection, as `events.<event>`; while NATS is away, nothing is told."""

    def __init__(self, broker: JetStreamBroker) -> None:
        self._broker = broker

    async def announce(self, event: str, facts: Mapping[str, object]) -> None:
        """Returns as soon as the client has the message."""
        if not self._broker.client.is_connected:
            return
        try:
            await self._broker.client.publish(f"events.{event}", orjson.dumps(facts))
        except NatsError as error:
            log.debug("event.lost", name=event, reason=str(error))
