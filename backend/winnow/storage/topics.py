"""Topics as stored: made where missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from winnow.domain.knowledge import Extraction
    from winnow.storage.unit_of_work import UnitOfWork


async def save_topics(work: UnitOfWork, extraction: Extraction) -> dict[str, int]:
    """The id of each topic that the extraction names."""
    names = {atom.topic for atom in extraction.atoms if atom.topic} | set(extraction.message_topics.values())
    if not names:
        return {}
    await work.fetch("upsert_topics", sorted(names))
    return {row.name: int(row.id) for row in await work.fetch("topics_by_name", sorted(names))}
