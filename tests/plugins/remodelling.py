"""A change of the model, as tests drive it step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from plugins.backfilling import Heard, Workforce
from plugins.pipeline import SteeredEmbedder, add_messages, vector_in
from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role, Wish
from winnow.pipeline.backfill import Backfilling
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.remodel import begin_change, finish_building
from winnow.pipeline.spaces import Spaces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import asyncpg

    from plugins.pipeline import RecordingDispatcher
    from winnow.domain.spaces import Space
    from winnow.pipeline.embed import Embedded, Embedding
    from winnow.providers.base import Embedder
    from winnow.storage.embedding_records import KindCounts
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES
INDEXES = {f"{kind}_{name}" for kind in Kind for name in ("nearest", "without_vector", "truncated", "same_text")}
EARLIER_INDEXES = {f"{name}_prev" for name in INDEXES}


class Source:
    """Knows the embedder of each space by its identity."""

    def __init__(self, *embedders: Embedder) -> None:
        self._known = {embedder.identity: embedder for embedder in embedders}

    async def of(self, space: Space) -> Embedder:
        return self._known[space.identity]

    async def is_remote(self, _kind: str, _provider_id: UUID | None) -> bool:
        return False

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(kw_only=True)
class Remodelling:
    """A database in the hands of one worker, which follows it from the model `older` to `newer` or `third`.

    Attributes:
        sql: a plain connection beside it.
        worker: who embeds.
        backfilling: who fills a space.
    """

    database: Database
    sql: asyncpg.Connection
    older: SteeredEmbedder
    newer: SteeredEmbedder
    third: SteeredEmbedder
    worker: Embedding
    backfilling: Backfilling

    async def stored(self, *texts: str) -> list[int]:
        """Messages that have vectors in the active space; their ids."""
        ids = await add_messages(self.sql, texts)
        await self.embed(ids)
        return ids

    async def embed(self, ids: Sequence[int], *, space: Space | None = None, kind: Kind = M) -> Embedded:
        """The worker's task over rows, in the active space or another."""
        return await embed_rows(self.worker, kind, ids, space_id=space.id if space else None)

    async def begin(self, embedder: Embedder | None = None) -> Space:
        """A change to a model (`newer`) is begun."""
        return await begin_change(self.database, embedder or self.newer, provider_id=None)

    async def fill(self, space: Space) -> None:
        """All that has no vector in the space gets one."""
        await Heard().run(self.backfilling, Plan(space=space, inline=True, batch_size=3))

    async def begin_and_fill(self) -> Space:
        """The space of `newer`, which only waits for being put in."""
        space = await self.begin()
        await self.fill(space)
        return space

    async def finish(self) -> bool:
        """Puts in what is built; False: it is not time, or nothing is."""
        return await finish_building(self.database)

    async def change(self, embedder: Embedder | None = None) -> Space:
        """A whole change of the model; its space as it was begun."""
        space = await self.begin(embedder)
        assert space.role == Role.BUILDING
        for _ in range(50):  # somebody may write meanwhile
            await self.fill(space)
            if await self.finish():
                break
        return space

    # how it stands

    async def roles(self) -> dict[str, str]:
        """The models of all spaces, by what the spaces are for."""
        rows = await self.sql.fetch("SELECT status, model FROM embedding_spaces ORDER BY id")
        return {row["status"]: row["model"] for row in rows}

    async def counts(self) -> KindCounts:
        """Of messages, in the active space."""
        return (await self.worker.store.counts())[M]

    async def vector(self, row_id: int) -> Any:
        """A message's vector, or None."""
        return await vector_in(self.sql, M, row_id)

    async def earlier_vector(self, row_id: int) -> Any:
        """Its vector of the model before, or None."""
        found = await self.sql.fetchval("SELECT embedding_prev FROM messages WHERE id = $1", row_id)
        return None if found is None else found.to_numpy()

    async def index_names(self) -> set[str]:
        """The valid indexes."""
        rows = await self.sql.fetch(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisvalid"
        )
        return {row["relname"] for row in rows}


@pytest.fixture
def remodelling(  # noqa: PLR0917 - pytest calls by keyword
    embedding: Embedding,
    database: Database,
    store: EmbeddingStore,
    dispatcher: RecordingDispatcher,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> Remodelling:
    """Nothing is stored yet; the models are of different widths and make different vectors."""
    newer = SteeredEmbedder(model="newer", dimensions=12, document_prefix="new: ")
    third = SteeredEmbedder(model="third", dimensions=5, document_prefix="third: ")
    spaces = Spaces(database, embedder, wish=Wish(), source=Source(embedder, newer, third))
    worker = replace(embedding, spaces=spaces)
    backfilling = Backfilling(
        database=database, store=store, dispatcher=dispatcher, workforce=Workforce(there=False), embedding=worker
    )
    return Remodelling(
        database=database,
        sql=sql,
        older=embedder,
        newer=newer,
        third=third,
        worker=worker,
        backfilling=backfilling,
    )
