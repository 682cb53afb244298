"""While the model changes: searches and writes go on, and each vector goes into its own model's column."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from plugins.pipeline import add_messages
from winnow.errors import DatabaseBusy
from winnow.pipeline import remodel
from winnow.pipeline.embed import Embedded
from winnow.pipeline.remodel import change_back
from winnow.pipeline.search import Searching, search

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from plugins.remodelling import Remodelling


@pytest.mark.parametrize("of", ["the old space", "the new space"])
async def test_vectors_that_are_paid_for_during_the_swap_go_where_they_belong(
    of: str, remodelling: Remodelling
) -> None:
    older, newer = remodelling.older, remodelling.newer
    await remodelling.stored("one")
    built = await remodelling.begin_and_fill()
    (row,) = await add_messages(remodelling.sql, ["late"], hours_ago=0)

    async def swap(_texts: Sequence[str]) -> None:
        assert await remodelling.finish()

    asked, space = (older, None) if of == "the old space" else (newer, built)
    asked.during = swap
    assert await remodelling.embed([row], space=space) == Embedded(embedded=1)
    stored = await (remodelling.earlier_vector(row) if of == "the old space" else remodelling.vector(row))
    assert np.allclose(stored, asked.vector("late"))
    assert await remodelling.sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0
    if of == "the old space":
        assert await remodelling.embed([row]) == Embedded(embedded=1)
    assert older.paid["late"] + newer.paid["late"] == (2 if of == "the old space" else 1)


async def test_searches_and_writes_go_on_while_the_model_changes(remodelling: Remodelling) -> None:
    database, sql, spaces = remodelling.database, remodelling.sql, remodelling.worker.spaces
    await remodelling.stored(*(f"disk {number}" for number in range(40)))
    searching = Searching(database=database, spaces=spaces, vector_weight=10)
    over, searched, written = asyncio.Event(), 0, 0

    async def keep_searching() -> None:
        nonlocal searched
        while not over.is_set():
            answer = await search(searching, "disk", limit=5)
            assert answer.degraded is None
            assert len(answer.hits) == 5
            searched += 1

    async def keep_writing() -> None:
        nonlocal written
        while not over.is_set():
            ids = await add_messages(sql, [f"disk again {written} {number}" for number in range(3)], hours_ago=0)
            await sql.execute("UPDATE messages SET text = text || '!' WHERE id = $1", ids[0])
            await remodelling.embed(ids)
            written += 3

    async def change_and_change_back() -> None:
        await remodelling.change()
        for _ in range(4):
            await asyncio.sleep(0.1)
            await change_back(database)
        over.set()

    async with asyncio.TaskGroup() as group:
        for work in (keep_searching(), keep_writing(), change_and_change_back()):
            group.create_task(work)
    assert await remodelling.roles() == {"previous": "steered", "active": "newer"}
    assert searched > 10
    assert written > 10
    spaces.forget()
    rows = await sql.fetch("SELECT id, text, embedding FROM messages")
    assert len(rows) == 40 + written
    for row in rows:
        if row["embedding"] is not None:
            assert np.allclose(row["embedding"].to_list(), remodelling.newer.vector(row["text"])), row["text"]


async def test_tables_that_are_not_to_be_had_are_waited_for_and_then_said(
    remodelling: Remodelling, somebody: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remodelling.stored("one")
    await remodelling.begin_and_fill()
    monkeypatch.setattr(remodel, "SWAP_TRIES", 1)
    monkeypatch.setattr(remodel, "SWAP_PAUSE_SECONDS", 0.01)
    await somebody.execute("BEGIN; LOCK TABLE topics IN ACCESS SHARE MODE")
    with pytest.raises(DatabaseBusy):
        await remodelling.finish()
    await remodelling.embed(await add_messages(remodelling.sql, ["written meanwhile"], hours_ago=0))
    await somebody.execute("COMMIT")
    assert await remodelling.finish()
