"""Where everything stands: one answer for `winnow status`, the API and the progress on screen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from winnow.domain.jobs import Kind, Lane
from winnow.errors import QueueUnavailable
from winnow.storage.status import KnowledgeCounts, knowledge_counts
from winnow.storage.unit_of_work import HOOK_FAILED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.pipeline.spaces import Spaces
    from winnow.storage.embeddings import EmbeddingStore, KindCounts
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
    """What an overview needs."""

    database: Database
    embeddings: EmbeddingStore
    spaces: Spaces
    queue: QueueView


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """Tasks not settled by lane, tasks ever sent, dead letters, and the living workers."""

    lanes: Mapping[str, int]
    sent: int
    dead_letters: int
    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything's state. `queue` is None when NATS does not answer, and `queue_error` says so."""

    embeddings: Mapping[Kind, KindCounts]
    knowledge: KnowledgeCounts
    embedder: str
    space: str | None
    dimensions: int | None
    queue: QueueState | None
    queue_error: str | None
    last_error: str | None

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


async def overview(tools: Overviewing) -> Overview:
    """Where everything stands now. Raises DatabaseUnavailable."""
    queue, queue_error = None, None
    try:
        queue = await _queue_state(tools.queue)
    except QueueUnavailable as error:
        queue_error = str(error)
    space = await tools.spaces.current()
    return Overview(
        embeddings=await tools.embeddings.counts(),
        knowledge=await knowledge_counts(tools.database),
        embedder=str(tools.spaces.embedder.identity),
        space=str(space.identity) if space else None,
        dimensions=space.dimensions if space else None,
        queue=queue,
        queue_error=queue_error,
        last_error=await tools.embeddings.last_error(),
    )


async def _queue_state(queue: QueueView) -> QueueState:
    live, bulk, sent, dead, workers = await asyncio.gather(
        queue.depth(Lane.LIVE), queue.depth(Lane.BULK), queue.sent(), queue.dead(), queue.workers()
    )
    lanes = {Lane.LIVE.value: live, Lane.BULK.value: bulk}
    return QueueState(lanes=lanes, sent=sent, dead_letters=dead, workers=tuple(workers))
