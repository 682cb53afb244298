"""A sweeper whose lanes a test fills by saying so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from winnow.domain.jobs import Lane
from winnow.pipeline.spaces import Spaces
from winnow.pipeline.sweep import Sweeping
from winnow.storage.extraction import ExtractionStore
from winnow.storage.unit_of_work import UnitsOfWork

if TYPE_CHECKING:
    import asyncpg

    from plugins.pipeline import RecordingDispatcher, SteeredEmbedder
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

LEADER = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass
class Lanes:
    """How full the lanes are said to be."""

    bulk: int = 0
    error: Exception | None = None

    async def depth(self, lane: Lane) -> int:
        if self.error:
            raise self.error
        return self.bulk if lane == Lane.BULK else 0


@pytest.fixture
def lanes() -> Lanes:
    """Empty lanes."""
    return Lanes()


@pytest.fixture
def sweeping(
    store: EmbeddingStore, database: Database, embedder: SteeredEmbedder, dispatcher: RecordingDispatcher, lanes: Lanes
) -> Sweeping:
    """A sweeper's tools; extraction is switched off by a high threshold."""
    return Sweeping(
        database=database,
        units=UnitsOfWork(database, dispatcher, batch_size=3),
        embeddings=store,
        extractions=ExtractionStore(database),
        spaces=Spaces(database, embedder),
        dispatcher=dispatcher,
        backlog=lanes,
        every_seconds=0.05,
        age_seconds=60,
        batch_size=3,
        extraction_threshold=10_000,
        extraction_quiet_seconds=10_000,
    )


async def leads(sql: asyncpg.Connection) -> None:
    """Returns once a sweeper leads."""
    for _ in range(200):
        if await sql.fetchval(LEADER):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody leads")
