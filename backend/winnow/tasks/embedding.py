"""Embedding tasks. They never ask for redelivery: what they could not do is noted beside the row, or is still NULL."""

from __future__ import annotations

import structlog
from taskiq import TaskiqDepends

from winnow.domain.jobs import Kind
from winnow.errors import SetupFault, Transient
from winnow.pipeline.embed import embed_rows
from winnow.tasks.tools import Tools, tools_of

log = structlog.get_logger(__name__)


async def embed_messages_batch_task(
    message_ids: list[int], provider_id: str | None = None, tools: Tools = TaskiqDepends(tools_of)
) -> None:
    await _embed(tools, Kind.MESSAGES, message_ids, provider_id)


async def embed_atoms_batch_task(
    atom_ids: list[int], provider_id: str | None = None, tools: Tools = TaskiqDepends(tools_of)
) -> None:
    await _embed(tools, Kind.ATOMS, atom_ids, provider_id)


async def embed_topics_batch_task(
    topic_ids: list[int], provider_id: str | None = None, tools: Tools = TaskiqDepends(tools_of)
) -> None:
    await _embed(tools, Kind.TOPICS, topic_ids, provider_id)


async def _embed(tools: Tools, kind: Kind, ids: list[int], provider_id: str | None) -> None:
    ours = str(tools.embedding.embedder.identity)
    if provider_id not in {None, ours}:
        log.warning(
            "embed.postponed", kind=kind.value, reason=f"the task asks for {provider_id}, this worker is {ours}"
        )
        return
    try:
        await embed_rows(tools.embedding, kind, ids)
    except (Transient, SetupFault) as error:
        log.warning("embed.postponed", kind=kind.value, rows=len(ids), reason=str(error))
