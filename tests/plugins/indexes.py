"""How the index of nearest neighbours stands, and whether searches are right with it or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from winnow.domain.jobs import Kind
from winnow.storage.indexes import IndexState, index_states
from winnow.storage.search import nearest

if TYPE_CHECKING:
    import asyncpg

    from plugins.pipeline import SteeredEmbedder
    from winnow.pipeline.embed import Embedding
    from winnow.storage.engine import Database

QUERY = "text 7"


async def state_of(database: Database, kind: Kind = Kind.MESSAGES) -> IndexState:
    (state,) = await index_states(database, [kind])
    return state


async def definition(sql: asyncpg.Connection, kind: Kind = Kind.MESSAGES) -> str | None:
    found: str | None = await sql.fetchval("SELECT indexdef FROM pg_indexes WHERE indexname = $1", f"{kind}_nearest")
    return found


async def assert_searches_are_right(embedding: Embedding, database: Database, sql: asyncpg.Connection) -> None:
    """The nearest rows are those that a look at every vector finds."""
    query = cast("SteeredEmbedder", embedding.spaces.embedder).vector(QUERY)
    rows = await sql.fetch("SELECT id, embedding FROM messages WHERE embedding IS NOT NULL")
    scores = {row["id"]: float(np.dot(np.asarray(row["embedding"].to_list()), query)) for row in rows}
    found = await nearest(database, Kind.MESSAGES, query, await embedding.spaces.ours())
    assert rows
    assert sorted(found.values(), reverse=True)[:10] == pytest.approx(
        sorted(scores.values(), reverse=True)[:10], abs=1e-5
    )


async def free(database: Database) -> bool:
    """Whether nobody has the index of messages in hand."""
    return not (await state_of(database)).held
