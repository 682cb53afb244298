"""Lanes: a subject and a durable consumer each, on one work-queue stream; and how full they are."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from nats.js.errors import NotFoundError

from .errors import require_connection, translated
from .streams import DEAD_STREAM, STREAM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.client import Client


@dataclass(frozen=True, slots=True)
class Lane:
    """A road for tasks with workers of its own, so that bulk work never stands in front of a person's."""

    name: str

    @property
    def subject(self) -> str:
        """Where its tasks are published."""
        return f"tasks.{self.name}"

    @property
    def durable(self) -> str:
        """The name of its consumer, shared by all its workers."""
        return self.name

    @property
    def dead_subject(self) -> str:
        """Where its dead letters go."""
        return f"dead.{self.name}"


LIVE: Final = Lane("live")
BULK: Final = Lane("bulk")
LANES: Final[Mapping[str, Lane]] = MappingProxyType({lane.name: lane for lane in (LIVE, BULK)})


@dataclass(frozen=True, slots=True)
class Depth:
    """Tasks of a lane: not yet delivered, and delivered but not settled (running, or waiting for their next try)."""

    pending: int
    in_hand: int


async def lane_depth(client: Client, lane: Lane) -> Depth:
    """How many tasks the lane holds; right also before its first worker has ever started.

    Raises:
        QueueUnavailable: NATS does not answer.
    """
    require_connection(client)
    with translated():
        # The stream knows a task as soon as it is stored; the consumer's own count may be a moment behind, and a lane
        # that looks empty for a moment looks done.
        stored = (await _count_by_subject(client, STREAM, lane.subject)).get(lane.subject, 0)
        in_hand = await _count_in_hand(client, lane)
    return Depth(pending=max(stored - in_hand, 0), in_hand=in_hand)


async def dead_letters(client: Client) -> dict[str, int]:
    """The number of dead letters of each lane that has any, by the lane's name.

    Raises:
        QueueUnavailable: NATS does not answer.
    """
    require_connection(client)
    with translated():
        counts = await _count_by_subject(client, DEAD_STREAM, "dead.>")
    return {subject.removeprefix("dead."): count for subject, count in counts.items()}


async def _count_by_subject(client: Client, stream: str, subjects: str) -> dict[str, int]:
    try:
        info = await client.jetstream().stream_info(stream, subjects_filter=subjects)
    except NotFoundError:
        return {}
    return info.state.subjects or {}


async def _count_in_hand(client: Client, lane: Lane) -> int:
    try:
        info = await client.jetstream().consumer_info(STREAM, lane.durable)
    except NotFoundError:  # no worker has ever listened
        return 0
    return info.num_ack_pending or 0
