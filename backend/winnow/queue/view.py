"""What use cases ask of the queue, answered by NATS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import QueueUnavailable
from .lanes import LANES, dead_letters, lane_depth
from .workers import list_workers

if TYPE_CHECKING:
    from winnow.domain.jobs import Lane

    from .broker import JetStreamBroker


class JetStreamView:
    """What use cases ask of the queue, answered by NATS over a broker's connection."""

    def __init__(self, broker: JetStreamBroker) -> None:
        self._broker = broker

    async def depth(self, lane: Lane) -> int:
        """Tasks of a lane that are not settled."""
        depth = await lane_depth(self._broker.client, LANES[lane.value])
        return depth.pending + depth.in_hand

    async def present(self, lane: Lane) -> bool:
        """Whether a worker serves the lane."""
        return any(lane.value in worker.lanes for worker in await list_workers(self._broker.client))

    async def workers(self) -> list[str]:
        """Living workers, as host:process with their lanes."""
        found = await list_workers(self._broker.client)
        return sorted(f"{worker.host}:{worker.pid} ({', '.join(worker.lanes)})" for worker in found)

    async def dead(self) -> int:
        """Dead letters of all lanes."""
        return sum((await dead_letters(self._broker.client)).values())

    async def sent(self) -> int:
        """Tasks ever stored by JetStream for this stream."""
        try:
            info = await self._broker.js.stream_info(self._broker.stream_name)
        except Exception as error:
            raise QueueUnavailable from error
        return int(info.state.last_seq)
