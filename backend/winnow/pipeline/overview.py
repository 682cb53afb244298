"""Where everything stands: one answer for `winnow status`, the API and the progress on screen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from winnow.domain.jobs import Kind, Lane
from winnow.domain.spaces import Role
from winnow.errors import QueueUnavailable
from winnow.storage.embeddings import SAVED
from winnow.storage.status import (
    KnowledgeCounts,
    Pace,
    embedding_pace,
    knowledge_counts,
    message_states,
    truncated_rows,
)
from winnow.storage.unit_of_work import HOOK_FAILED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.domain.spaces import Space
    from winnow.pipeline.spaces import Spaces
    from winnow.storage.embedding_records import KindCounts, Pause
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database


class QueueView(Protocol):
    """What the queue can be asked. Every method raises QueueUnavailable."""

    async def depth(self, lane: Lane) -> int:
        """Tasks of a lane that are not settled."""
        ...

    async def workers(self) -> list[str]:
        """Living workers, one line each."""
        ...

    async def dead(self) -> int:
        """Dead letters."""
        ...

    async def sent(self) -> int:
        """Tasks ever sent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Overviewing:
    """What an overview needs; `extractor` is the one that the settings choose."""

    database: Database
    embeddings: EmbeddingStore
    spaces: Spaces
    queue: QueueView
    extractor: str = "rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """Tasks not settled by lane, tasks ever sent, dead letters, and the living workers."""

    lanes: Mapping[str, int]
    sent: int
    dead_letters: int
    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Building:
    """The space that is filled to become the active one, where its rows stand by kind, and what it waits for."""

    space: str
    embeddings: Mapping[Kind, KindCounts]
    pause: Pause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything's state. `queue` is None when NATS does not answer, and `queue_error` says so.

    `messages` are by state (`domain.messages.MessageState`), with their `total`.
    `embedder` makes the vectors of `space`, and would make the first ones where that is None: nothing is embedded yet.
    `truncated` rows have a vector of the beginning of their text only; None when nobody asked to have them counted.
    """

    embeddings: Mapping[Kind, KindCounts]
    knowledge: KnowledgeCounts
    embedder: str
    space: str | None
    dimensions: int | None
    queue: QueueState | None
    queue_error: str | None
    last_error: str | None
    pace: Pace = field(default_factory=Pace)
    pause: Pause | None = None
    truncated: int | None = None
    building: Building | None = None
    messages: Mapping[str, int] = field(default_factory=dict)
    extractor: str = "rules"

    @property
    def saved(self) -> int:
        """Vectors that were taken from identical texts, without asking the model."""
        return self.knowledge.events.get(SAVED, 0)

    @property
    def failed(self) -> int:
        """Rows whose embedding failed for good."""
        return sum(count.failed for count in self.embeddings.values())

    @property
    def eta_seconds(self) -> float | None:
        """How long what is pending, in hand or due will take at this pace; None when nobody can say."""
        left = sum(count.pending + count.in_hand for count in self.embeddings.values()) + self.pace.due
        if not left:
            return 0.0
        return None if self.pause or not self.pace.rows_per_second else left / self.pace.rows_per_second

    @property
    def hook_failures(self) -> int:
        """Commits whose promised jobs could not be sent; their rows are found by the sweeper."""
        return self.knowledge.events.get(HOOK_FAILED, 0)

    @property
    def idle(self) -> bool:
        """Nothing is on its way: no task, no run, no row that could get a vector now.

        Messages that wait until there are enough for a run, or their channel is quiet, do not count: nothing moves
        them.
        """
        rows = all(count.pending + count.in_hand == 0 for count in self.embeddings.values())
        tasks = self.queue is not None and not any(self.queue.lanes.values())
        return rows and tasks and not self.knowledge.messages_in_hand


async def overview(tools: Overviewing, *, truncated: bool = False) -> Overview:
    """Where everything stands now. Raises DatabaseUnavailable.

    Args:
        tools: what to ask.
        truncated: also count the rows whose text was too long for the model.
    """
    queue, queue_error = None, None
    try:
        queue = await _queue_state(tools.queue)
    except QueueUnavailable as error:
        queue_error = str(error)
    stored = await tools.spaces.all()
    space, next_space = stored.get(Role.ACTIVE), stored.get(Role.BUILDING)
    return Overview(
        embeddings=await tools.embeddings.counts(),
        knowledge=await knowledge_counts(tools.database),
        messages=await message_states(tools.database),
        embedder=space.name if space else str(tools.spaces.embedder.identity),
        space=space.name if space else None,
        dimensions=space.dimensions if space else None,
        queue=queue,
        queue_error=queue_error,
        last_error=await tools.embeddings.last_error(),
        pace=await embedding_pace(tools.database),
        pause=await tools.embeddings.pause(),
        building=await _building(tools, next_space) if next_space else None,
        extractor=tools.extractor,
        truncated=await truncated_rows(tools.database) if truncated else None,
    )


async def _building(tools: Overviewing, space: Space) -> Building:
    counts = await tools.embeddings.counts_in(space)
    return Building(space.name, counts, await tools.embeddings.pause(Role.BUILDING))


async def _queue_state(queue: QueueView) -> QueueState:
    live, bulk, sent, dead, workers = await asyncio.gather(
        queue.depth(Lane.LIVE), queue.depth(Lane.BULK), queue.sent(), queue.dead(), queue.workers()
    )
    lanes = {Lane.LIVE.value: live, Lane.BULK.value: bulk}
    return QueueState(lanes=lanes, sent=sent, dead_letters=dead, workers=tuple(workers))
