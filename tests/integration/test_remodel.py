"""Another model: everything is embedded again beside the old vectors, then the columns change places, and back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import numpy as np
import pytest
from typing_extensions import override

from plugins.backfilling import Heard, Workforce
from plugins.pipeline import SteeredEmbedder, add_messages, add_row, vector_in
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.domain.spaces import Role, Wish
from winnow.errors import DatabaseBusy, InvalidInput, SetupFault, SpaceMismatch, TextRefused
from winnow.pipeline import remodel
from winnow.pipeline.backfill import Backfilling, Plan
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.pipeline.remodel import (
    begin_change,
    cancel_change,
    change_back,
    finish_building,
    forget_earlier,
)
from winnow.pipeline.search import Searching, search
from winnow.pipeline.spaces import Spaces
from winnow.pipeline.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.pipeline import RecordingDispatcher
    from winnow.domain.spaces import Space
    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.sweep import Sweeping
    from winnow.providers.base import Embedder
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES
INDEXES = [f"{kind}_{name}" for kind in Kind for name in ("nearest", "without_vector", "truncated", "same_text")]


class Source:
    """Knows the embedder of each space by its identity."""

    def __init__(self, *embedders: Embedder) -> None:
        self._known = {embedder.identity: embedder for embedder in embedders}

    async def of(self, space: Space) -> Embedder:
        return self._known[space.identity]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def newer() -> SteeredEmbedder:
    """Another model, wider and of other vectors."""
    return SteeredEmbedder(model="newer", dimensions=12, document_prefix="new: ")


@pytest.fixture
def tools(embedding: Embedding, database: Database, embedder: SteeredEmbedder, newer: SteeredEmbedder) -> Embedding:
    """A worker that follows the database from one model to another."""
    return replace(embedding, spaces=Spaces(database, embedder, wish=Wish(), source=Source(embedder, newer)))


@pytest.fixture
def backfilling(
    tools: Embedding, database: Database, store: EmbeddingStore, dispatcher: RecordingDispatcher
) -> Backfilling:
    return Backfilling(
        database=database, store=store, dispatcher=dispatcher, workforce=Workforce(there=False), embedding=tools
    )


async def fill(backfilling: Backfilling, space: Space) -> None:
    await Heard().run(backfilling, Plan(space=space, inline=True, batch_size=3))


async def change(backfilling: Backfilling, embedder: Embedder) -> Space:
    space = await begin_change(backfilling.database, embedder, provider_id=None)
    assert space.role == Role.BUILDING
    for _ in range(50):  # somebody may write meanwhile
        await fill(backfilling, space)
        if await finish_building(backfilling.database):
            break
    return space


async def roles(sql: asyncpg.Connection) -> dict[str, str]:
    return {
        row["status"]: row["model"] for row in await sql.fetch("SELECT status, model FROM embedding_spaces ORDER BY id")
    }


async def index_names(sql: asyncpg.Connection) -> set[str]:
    rows = await sql.fetch(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisvalid"
    )
    return {row["relname"] for row in rows}


async def test_everything_is_embedded_again_and_the_columns_change_places(
    backfilling: Backfilling,
    embedder: SteeredEmbedder,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    tools = backfilling.embedding
    ids = await add_messages(sql, ["one", "two", "one", " ", "three"])
    topic, atom = await add_row(sql, Kind.TOPICS), await add_row(sql, Kind.ATOMS)
    await embed_rows(tools, M, ids)
    await embed_rows(tools, Kind.TOPICS, [topic])
    await embed_rows(tools, Kind.ATOMS, [atom])
    space = await change(backfilling, newer)
    assert await roles(sql) == {"previous": "steered", "active": "newer"}
    assert newer.paid["one"] == 1, "equal texts are paid for once in each space"
    for row_id, text in zip(ids, ["one", "two", "one", None, "three"], strict=True):
        stored = await vector_in(sql, M, row_id)
        if text is None:
            assert stored is None
            continue
        assert np.allclose(stored, newer.vector(text))
        earlier = await sql.fetchval("SELECT embedding_prev FROM messages WHERE id = $1", row_id)
        assert np.allclose(earlier.to_list(), embedder.vector(text))
    found = await index_names(sql)
    assert set(INDEXES) <= found
    assert {f"{name}_prev" for name in INDEXES} <= found
    assert not [name for name in found if name.endswith("_next")]
    counts = (await tools.store.counts())[M]
    assert (counts.embedded, counts.skipped, counts.left) == (4, 1, 0)
    assert (await tools.spaces.ours()).id != space.id, "it goes by what it knows until it finds nothing to claim"
    late = await add_messages(sql, ["four"])
    assert await embed_rows(tools, M, late) == Embedded(embedded=1)
    assert np.allclose(await vector_in(sql, M, late[0]), newer.vector("four"))


async def test_going_back_is_a_change_of_names_and_what_was_written_since_is_pending(
    backfilling: Backfilling,
    embedder: SteeredEmbedder,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    tools = backfilling.embedding
    one, two = await add_messages(sql, ["one", "two"])
    await embed_rows(tools, M, [one, two])
    await change(backfilling, newer)
    (late,) = await add_messages(sql, ["late"], hours_ago=0)
    await embed_rows(tools, M, [late])
    await sql.execute("UPDATE messages SET text = 'edited' WHERE id = $1", two)
    await embed_rows(tools, M, [two])
    paid = dict(embedder.paid)
    back = await change_back(backfilling.database)
    assert back.identity == embedder.identity
    assert await roles(sql) == {"active": "steered", "previous": "newer"}
    assert np.allclose(await vector_in(sql, M, one), embedder.vector("one"))
    assert [await vector_in(sql, M, row) for row in (two, late)] == [None, None]
    assert (await tools.store.counts())[M].pending == 2
    assert await embed_rows(tools, M, [one, two, late]) == Embedded(embedded=2)
    assert {text: embedder.paid[text] - paid.get(text, 0) for text in ("one", "edited", "late")} == {
        "one": 0,
        "edited": 1,
        "late": 1,
    }
    assert set(INDEXES) | {f"{name}_prev" for name in INDEXES} <= await index_names(sql)
    again = await change_back(backfilling.database)
    assert again.identity == newer.identity
    assert np.allclose(await vector_in(sql, M, late), newer.vector("late"))
    assert (await forget_earlier(backfilling.database)).identity == embedder.identity
    assert await roles(sql) == {"retired": "steered", "active": "newer"}
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding_prev IS NOT NULL") == 0
    with pytest.raises(InvalidInput, match="no vectors of an earlier model"):
        await change_back(backfilling.database)


async def test_a_third_model_takes_the_place_of_the_first(
    backfilling: Backfilling,
    database: Database,
    embedder: SteeredEmbedder,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    tools = backfilling.embedding
    third = SteeredEmbedder(model="third", dimensions=5, document_prefix="third: ")
    tools = replace(tools, spaces=Spaces(database, embedder, wish=Wish(), source=Source(embedder, newer, third)))
    backfilling = replace(backfilling, embedding=tools)
    (row,) = await add_messages(sql, ["one"])
    await embed_rows(tools, M, [row])
    await change(backfilling, newer)
    await change(backfilling, third)
    assert await roles(sql) == {"retired": "steered", "previous": "newer", "active": "third"}
    assert np.allclose(await vector_in(sql, M, row), third.vector("one"))
    earlier = await sql.fetchval("SELECT embedding_prev FROM messages WHERE id = $1", row)
    assert np.allclose(earlier.to_list(), newer.vector("one"))
    assert set(INDEXES) | {f"{name}_prev" for name in INDEXES} <= await index_names(sql)


@pytest.mark.parametrize("of", ["the old space", "the new space"])
async def test_vectors_that_are_paid_for_during_the_swap_go_where_they_belong(
    of: str,
    backfilling: Backfilling,
    embedder: SteeredEmbedder,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    tools = backfilling.embedding
    await embed_rows(tools, M, await add_messages(sql, ["one"]))
    space = await begin_change(backfilling.database, newer, provider_id=None)
    await fill(backfilling, space)
    (row,) = await add_messages(sql, ["late"], hours_ago=0)

    async def swap(_texts: Sequence[str]) -> None:
        assert await finish_building(backfilling.database)

    asked, space_id = (embedder, None) if of == "the old space" else (newer, space.id)
    asked.during = swap
    assert await embed_rows(tools, M, [row], space_id=space_id) == Embedded(embedded=1)
    column = "embedding_prev" if of == "the old space" else "embedding"
    stored = await sql.fetchval(f"SELECT {column} FROM messages WHERE id = $1", row)
    assert np.allclose(stored.to_list(), asked.vector("late"))
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0
    if of == "the old space":
        assert await embed_rows(tools, M, [row]) == Embedded(embedded=1)
    assert embedder.paid["late"] + newer.paid["late"] == (2 if of == "the old space" else 1)


async def test_searches_and_writes_go_on_while_the_model_changes(
    backfilling: Backfilling,
    database: Database,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    tools = backfilling.embedding
    await embed_rows(tools, M, await add_messages(sql, [f"disk {number}" for number in range(40)]))
    searching = Searching(database=database, spaces=tools.spaces, vector_weight=10)
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
            await embed_rows(tools, M, ids)
            written += 3

    async def change_and_change_back() -> None:
        await change(backfilling, newer)
        for _ in range(4):
            await asyncio.sleep(0.1)
            await change_back(database)
        over.set()

    async with asyncio.TaskGroup() as group:
        for work in (keep_searching(), keep_writing(), change_and_change_back()):
            group.create_task(work)
    assert await roles(sql) == {"previous": "steered", "active": "newer"}
    assert searched > 10
    assert written > 10
    tools.spaces.forget()
    rows = await sql.fetch("SELECT id, text, embedding FROM messages")
    assert len(rows) == 40 + written
    for row in rows:
        if row["embedding"] is not None:
            assert np.allclose(row["embedding"].to_list(), newer.vector(row["text"])), row["text"]


async def test_the_sweeper_alone_finishes_what_was_begun(
    tools: Embedding,
    sweeping: Sweeping,
    database: Database,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(7)])
    await embed_rows(tools, M, ids)
    space = await begin_change(database, newer, provider_id=None)
    await Sweeper(replace(sweeping, spaces=tools.spaces)).sweep()
    assert cast("RecordingDispatcher", sweeping.dispatcher).lanes == {Lane.BULK}
    jobs = [job for job in cast("RecordingDispatcher", sweeping.dispatcher).jobs if isinstance(job, EmbedJob)]
    assert {job.space_id for job in jobs} == {space.id}
    assert sorted(row for job in jobs for row in job.ids) == ids
    for job in jobs:
        await embed_rows(tools, job.kind, job.ids, space_id=job.space_id)
    assert await finish_building(database)
    assert not await finish_building(database)
    assert await roles(sql) == {"previous": "steered", "active": "newer"}


async def test_it_waits_until_almost_all_is_there(
    backfilling: Backfilling,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools = backfilling.embedding
    monkeypatch.setattr(remodel, "MOST_NEW", 1)
    ids = await add_messages(sql, ["one", "two", "bad three"])
    await embed_rows(tools, M, ids)
    newer.refusals["bad"] = TextRefused("no")
    space = await begin_change(backfilling.database, newer, provider_id=None)
    assert not await finish_building(backfilling.database)
    await embed_rows(replace(tools, max_attempts=1), M, ids, space_id=space.id)
    (late,) = await add_messages(sql, ["late"], hours_ago=0)
    assert await finish_building(backfilling.database)
    counts = (await tools.store.counts())[M]
    assert (counts.embedded, counts.failed, counts.pending) == (2, 1, 1)
    assert await vector_in(sql, M, late) is None


async def test_a_change_is_gone_on_with_given_up_or_refused(
    backfilling: Backfilling,
    database: Database,
    embedder: SteeredEmbedder,
    newer: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    tools = backfilling.embedding
    ids = await add_messages(sql, ["one", "two"])
    await embed_rows(tools, M, ids)
    assert (await begin_change(database, embedder, provider_id=None)).role == Role.ACTIVE
    space = await begin_change(database, newer, provider_id=None)
    await embed_rows(tools, M, ids[:1], space_id=space.id)
    assert await begin_change(database, newer, provider_id=None) == space
    await fill(backfilling, space)
    assert newer.paid == {"one": 1, "two": 1}, "what was done is not paid for again"
    with pytest.raises(InvalidInput, match="a change to test:newer is under way"):
        await begin_change(database, SteeredEmbedder(model="third"), provider_id=None)
    with pytest.raises(InvalidInput, match="winnow model cancel"):
        await change_back(database)
    assert (await cancel_change(database)).id == space.id
    assert await roles(sql) == {"active": "steered", "retired": "newer"}
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding_next IS NOT NULL") == 0
    with pytest.raises(InvalidInput, match="no change of the model is under way"):
        await cancel_change(database)
    with pytest.raises(SpaceMismatch, match="neither the active one nor being built"):
        await embed_rows(tools, M, ids, space_id=space.id)
    assert (await tools.store.counts())[M].embedded == 2
    await change(backfilling, newer)
    with pytest.raises(InvalidInput, match="run: winnow model back"):
        await begin_change(database, embedder, provider_id=None)


async def test_a_changed_text_loses_its_vectors_in_every_space(
    backfilling: Backfilling, newer: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    tools = backfilling.embedding
    (row,) = await add_messages(sql, ["one"])
    await embed_rows(tools, M, [row])
    await change(backfilling, newer)
    third = SteeredEmbedder(model="third", document_prefix="third: ")
    space = await begin_change(backfilling.database, third, provider_id=None)
    await sql.execute("UPDATE messages SET embedding_next = array_fill(1, ARRAY[8])::vector")
    await sql.execute("UPDATE messages SET text = 'other'")
    stored = await sql.fetchrow("SELECT embedding, embedding_next, embedding_prev FROM messages")
    assert list(stored) == [None, None, None]
    assert space.role == Role.BUILDING


async def test_where_nothing_is_embedded_the_model_changes_at_once(
    database: Database, newer: SteeredEmbedder, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    await embedding.spaces.ours()
    space = await begin_change(database, newer, provider_id=None)
    assert space.role == Role.ACTIVE
    assert await roles(sql) == {"retired": "steered", "active": "newer"}


async def test_another_model_under_the_stored_one_s_name_is_refused(
    tools: Embedding, database: Database, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    await embed_rows(tools, M, await add_messages(sql, ["one"]))

    class Impostor(SteeredEmbedder):
        @override
        def vector(self, text: str) -> Any:
            return -embedder.vector(text)

    with pytest.raises(SpaceMismatch, match="another model by the name of test:steered"):
        await begin_change(database, Impostor(), provider_id=None)


async def test_tables_that_are_not_to_be_had_are_waited_for_and_then_said(
    backfilling: Backfilling,
    newer: SteeredEmbedder,
    database_url: str,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools = backfilling.embedding
    await embed_rows(tools, M, await add_messages(sql, ["one"]))
    space = await begin_change(backfilling.database, newer, provider_id=None)
    await fill(backfilling, space)
    monkeypatch.setattr(remodel, "SWAP_TRIES", 1)
    monkeypatch.setattr(remodel, "SWAP_PAUSE_SECONDS", 0.01)
    other = await asyncpg.connect(database_url)
    await other.execute("BEGIN; LOCK TABLE topics IN ACCESS SHARE MODE")
    with pytest.raises(DatabaseBusy):
        await finish_building(backfilling.database)
    await embed_rows(tools, M, await add_messages(sql, ["written meanwhile"], hours_ago=0))
    await other.execute("COMMIT")
    assert await finish_building(backfilling.database)
    await other.close()


@pytest.mark.parametrize("why", ["the server is away", "the texts are refused"])
async def test_a_space_without_the_rows_of_before_is_not_put_in(
    why: str, backfilling: Backfilling, newer: SteeredEmbedder, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remodel, "MOST_FAILED", 1)
    tools = replace(backfilling.embedding, max_attempts=1)
    ids = await add_messages(sql, ["text one", "text two", "text three"])
    await embed_rows(tools, M, ids)
    space = await begin_change(backfilling.database, newer, provider_id=None)
    if why == "the texts are refused":
        newer.refusals["text"] = TextRefused("no")
        await embed_rows(tools, M, ids, space_id=space.id)
        with pytest.raises(SetupFault, match="has refused 3 texts for good"):
            await finish_building(backfilling.database)
    assert why == "the texts are refused" or not await finish_building(backfilling.database)
    assert await roles(sql) == {"active": "steered", "building": "newer"}


async def test_a_view_over_vectors_is_named_before_anything_is_paid(
    tools: Embedding, database: Database, newer: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    await embed_rows(tools, M, await add_messages(sql, ["one"]))
    await sql.execute("CREATE VIEW mine AS SELECT id, embedding FROM messages")
    with pytest.raises(SetupFault, match="the view mine is over a column of vectors"):
        await begin_change(database, newer, provider_id=None)
    assert not newer.calls


async def test_filling_costs_the_graph_of_the_other_vectors_nothing(
    tools: Embedding, backfilling: Backfilling, newer: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(30)])
    await embed_rows(tools, M, ids)
    space = await begin_change(backfilling.database, newer, provider_id=None)
    await fill(backfilling, space)
    await sql.execute("SELECT pg_stat_force_next_flush()")

    async def hot() -> tuple[int, int] | None:
        row = await sql.fetchrow("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'messages'")
        return (row["n_tup_upd"], row["n_tup_hot_upd"]) if row["n_tup_upd"] >= 60 else None

    found = await hot()
    while found is None:  # pytest's timeout ends it
        await asyncio.sleep(0.1)
        found = await hot()
    assert found == (60, 30), "the first 30 went into the graph, the others were updates on their own pages (HOT)"
