"""What `winnow model use` makes of a change that others end, and of rows that wait for a server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast
from uuid import UUID

import pytest

from plugins.backfilling import Workforce
from plugins.pipeline import SteeredEmbedder, add_messages
from winnow.cli import model
from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role, Wish
from winnow.errors import ProviderUnavailable, SetupFault
from winnow.pipeline import sent
from winnow.pipeline.backfill import Backfilling
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.remodel import begin_change, cancel_change
from winnow.pipeline.spaces import Spaces

if TYPE_CHECKING:
    import asyncpg

    from plugins.pipeline import RecordingDispatcher
    from winnow.bootstrap import Winnow
    from winnow.domain.spaces import Space
    from winnow.pipeline.embed import Embedding
    from winnow.providers.base import Embedder
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES


@dataclass
class Source:
    """Knows one embedder."""

    embedder: Embedder

    async def of(self, _space: Space) -> Embedder:
        return self.embedder

    async def is_remote(self, _kind: str, _provider_id: UUID | None) -> bool:
        return False

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class OneProcess:
    """As much of a process as filling a space needs."""

    database: Database
    spaces: Spaces
    tools: Backfilling

    def backfilling(self) -> Backfilling:
        return self.tools


@pytest.fixture
def newer() -> SteeredEmbedder:
    """The model that is changed over to."""
    return SteeredEmbedder(model="newer", dimensions=12)


@pytest.fixture
async def winnow(  # noqa: PLR0917 - pytest calls by keyword
    database: Database,
    store: EmbeddingStore,
    dispatcher: RecordingDispatcher,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> Winnow:
    """With 150 rows that have vectors of the old model."""
    await embed_rows(embedding, M, await add_messages(sql, [f"text {number}" for number in range(150)]))
    spaces = Spaces(database, embedder, wish=Wish(), source=Source(newer))
    tools = Backfilling(
        database=database,
        store=store,
        dispatcher=dispatcher,
        workforce=Workforce(there=False),
        embedding=replace(embedding, spaces=spaces),
    )
    return cast("Winnow", OneProcess(database, spaces, tools))


async def test_a_change_that_is_cancelled_meanwhile_is_not_told_as_finished(
    winnow: Winnow, newer: SteeredEmbedder
) -> None:
    space = await begin_change(winnow.database, newer, provider_id=None)

    async def during(_texts: object) -> None:
        newer.during = None
        await cancel_change(winnow.database)

    newer.during = during
    assert await model._fill(winnow, space, quiet=True) == Role.RETIRED


async def test_while_rows_wait_for_a_server_the_new_model_is_not_put_in(
    winnow: Winnow, newer: SteeredEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent, "PATIENCE_SECONDS", 0.5)
    space = await begin_change(winnow.database, newer, provider_id=None)
    newer.errors = [ProviderUnavailable("down")] * 1000
    newer.probe_error = ProviderUnavailable("down")
    assert await model._fill(winnow, space, quiet=True) == Role.BUILDING
    newer.errors, newer.probe_error = [], None
    await winnow.backfilling().store.look_now()
    assert await model._fill(winnow, space, quiet=True) == Role.ACTIVE


async def test_a_provider_that_is_removed_while_a_person_is_asked_is_told_in_a_sentence(
    winnow: Winnow, newer: SteeredEmbedder
) -> None:
    with pytest.raises(SetupFault, match="the provider was removed meanwhile"):
        await begin_change(winnow.database, newer, provider_id=UUID("8c1f2c1e-0000-4000-8000-000000000000"))
