"""Embedding tasks. What they could not do is noted beside the row, or is still NULL, so they are always settled.

`provider_id` names who is to embed, `space_id` the space to fill; without them it is the active space and its provider.
But for one case: a task that a dead worker left behind comes again while its rows are still in that worker's hand.
Then it comes once more when their leases have run out.
"""

from __future__ import annotations

from typing import NamedTuple

import structlog
from taskiq import TaskiqDepends

from winnow.domain.jobs import Kind
from winnow.errors import RowsInHand, SetupFault, Transient
from winnow.pipeline.embed import embed_rows
from winnow.queue.delivery import current_delivery
from winnow.tasks.tools import Tools, tools_of

log = structlog.get_logger(__name__)


class Order(NamedTuple):
    """What a task may be told beside its ids."""

    provider_id: str | None
    space_id: int | None
    run: str | None


async def embed_messages_batch_task(
    message_ids: list[int],
    provider_id: str | None = None,
    space_id: int | None = None,
    run: str | None = None,
    tools: Tools = TaskiqDepends(tools_of),
) -> None:
    await _embed(tools, Kind.MESSAGES, message_ids, Order(provider_id, space_id, run))


async def embed_atoms_batch_task(
    atom_ids: list[int],
    provider_id: str | None = None,
    space_id: int | None = None,
    run: str | None = None,
    tools: Tools = TaskiqDepends(tools_of),
) -> None:
    await _embed(tools, Kind.ATOMS, atom_ids, Order(provider_id, space_id, run))


async def embed_topics_batch_task(
    topic_ids: list[int],
    provider_id: str | None = None,
    space_id: int | None = None,
    run: str | None = None,
    tools: Tools = TaskiqDepends(tools_of),
) -> None:
    await _embed(tools, Kind.TOPICS, topic_ids, Order(provider_id, space_id, run))


async def _embed(tools: Tools, kind: Kind, ids: list[int], order: Order) -> None:
    try:
        await embed_rows(tools.embedding, kind, ids, **order._asdict())
        await _await_leases(tools, kind, ids)
    except RowsInHand:
        raise
    except (Transient, SetupFault) as error:
        log.warning("embed.postponed", kind=kind.value, rows=len(ids), reason=str(error))


async def _await_leases(tools: Tools, kind: Kind, ids: list[int]) -> None:
    delivery = current_delivery()
    if delivery is None or delivery.number == 1:
        return
    seconds = await tools.embedding.store.lease_left(kind, ids)
    if seconds is not None:
        raise RowsInHand(retry_after_seconds=seconds)
