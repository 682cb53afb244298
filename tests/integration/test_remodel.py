"""Another model: everything is embedded again beside the old vectors, then the columns change places, and back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from plugins.pipeline import add_messages, add_row
from plugins.remodelling import EARLIER_INDEXES, INDEXES
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.domain.spaces import Role
from winnow.errors import InvalidInput
from winnow.pipeline.embed import Embedded
from winnow.pipeline.remodel import change_back, forget_earlier
from winnow.pipeline.sweep import Sweeper

if TYPE_CHECKING:
    from plugins.pipeline import RecordingDispatcher
    from plugins.remodelling import Remodelling
    from winnow.pipeline.sweep import Sweeping


async def test_everything_is_embedded_again_and_the_columns_change_places(remodelling: Remodelling) -> None:
    older, newer = remodelling.older, remodelling.newer
    ids = await remodelling.stored("one", "two", "one", " ", "three")
    for kind in (Kind.TOPICS, Kind.ATOMS):
        await remodelling.embed([await add_row(remodelling.sql, kind)], kind=kind)
    space = await remodelling.change()
    assert await remodelling.roles() == {"previous": "steered", "active": "newer"}
    assert newer.paid["one"] == 1, "equal texts are paid for once in each space"
    for row_id, text in zip(ids, ["one", "two", "one", None, "three"], strict=True):
        if text is None:
            assert await remodelling.vector(row_id) is None
            continue
        assert np.allclose(await remodelling.vector(row_id), newer.vector(text))
        assert np.allclose(await remodelling.earlier_vector(row_id), older.vector(text))
    found = await remodelling.index_names()
    assert found >= INDEXES | EARLIER_INDEXES
    assert not [name for name in found if name.endswith("_next")]
    counts = await remodelling.counts()
    assert (counts.embedded, counts.skipped, counts.left) == (4, 1, 0)
    known = await remodelling.worker.spaces.ours()
    assert known.id != space.id, "it goes by what it knows until it finds nothing to claim"
    (late,) = await add_messages(remodelling.sql, ["four"])
    assert await remodelling.embed([late]) == Embedded(embedded=1)
    assert np.allclose(await remodelling.vector(late), newer.vector("four"))


async def test_going_back_is_a_change_of_names_and_what_was_written_since_is_pending(remodelling: Remodelling) -> None:
    database, sql, older, newer = remodelling.database, remodelling.sql, remodelling.older, remodelling.newer
    one, two = await remodelling.stored("one", "two")
    await remodelling.change()
    (late,) = await add_messages(sql, ["late"], hours_ago=0)
    await remodelling.embed([late])
    await sql.execute("UPDATE messages SET text = 'edited' WHERE id = $1", two)
    await remodelling.embed([two])
    paid = older.paid.copy()
    back = await change_back(database)
    assert back.identity == older.identity
    assert await remodelling.roles() == {"active": "steered", "previous": "newer"}
    assert np.allclose(await remodelling.vector(one), older.vector("one"))
    assert [await remodelling.vector(row) for row in (two, late)] == [None, None]
    assert (await remodelling.counts()).pending == 2
    assert await remodelling.embed([one, two, late]) == Embedded(embedded=2)
    assert older.paid - paid == {"edited": 1, "late": 1}
    assert await remodelling.index_names() >= INDEXES | EARLIER_INDEXES
    again = await change_back(database)
    assert again.identity == newer.identity
    assert np.allclose(await remodelling.vector(late), newer.vector("late"))
    assert (await forget_earlier(database)).identity == older.identity
    assert await remodelling.roles() == {"retired": "steered", "active": "newer"}
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding_prev IS NOT NULL") == 0
    with pytest.raises(InvalidInput, match="no vectors of an earlier model"):
        await change_back(database)


async def test_a_third_model_takes_the_place_of_the_first(remodelling: Remodelling) -> None:
    (row,) = await remodelling.stored("one")
    await remodelling.change()
    await remodelling.change(remodelling.third)
    assert await remodelling.roles() == {"retired": "steered", "previous": "newer", "active": "third"}
    assert np.allclose(await remodelling.vector(row), remodelling.third.vector("one"))
    assert np.allclose(await remodelling.earlier_vector(row), remodelling.newer.vector("one"))
    assert await remodelling.index_names() >= INDEXES | EARLIER_INDEXES


async def test_the_sweeper_alone_finishes_what_was_begun(remodelling: Remodelling, sweeping: Sweeping) -> None:
    ids = await remodelling.stored(*(f"text {number}" for number in range(7)))
    space = await remodelling.begin()
    await Sweeper(replace(sweeping, spaces=remodelling.worker.spaces)).sweep()
    sent = cast("RecordingDispatcher", sweeping.dispatcher)
    assert sent.lanes == {Lane.BULK}
    jobs = [job for job in sent.jobs if isinstance(job, EmbedJob)]
    assert {job.space_id for job in jobs} == {space.id}
    assert sorted(row for job in jobs for row in job.ids) == ids
    for job in jobs:
        await remodelling.embed(job.ids, space=space, kind=job.kind)
    assert await remodelling.finish()
    assert not await remodelling.finish()
    assert await remodelling.roles() == {"previous": "steered", "active": "newer"}


async def test_a_changed_text_loses_its_vectors_in_every_space(remodelling: Remodelling) -> None:
    await remodelling.stored("one")
    await remodelling.change()
    space = await remodelling.begin(remodelling.third)
    await remodelling.sql.execute("UPDATE messages SET embedding_next = array_fill(1, ARRAY[5])::vector")
    await remodelling.sql.execute("UPDATE messages SET text = 'other'")
    stored = await remodelling.sql.fetchrow("SELECT embedding, embedding_next, embedding_prev FROM messages")
    assert list(stored) == [None, None, None]
    assert space.role == Role.BUILDING


async def test_where_nothing_is_embedded_the_model_changes_at_once(remodelling: Remodelling) -> None:
    await remodelling.worker.spaces.ours()
    space = await remodelling.begin()
    assert space.role == Role.ACTIVE
    assert await remodelling.roles() == {"retired": "steered", "active": "newer"}


async def test_filling_costs_the_graph_of_the_other_vectors_nothing(remodelling: Remodelling) -> None:
    await remodelling.stored(*(f"text {number}" for number in range(30)))
    await remodelling.begin_and_fill()
    await remodelling.sql.execute("SELECT pg_stat_force_next_flush()")

    async def hot() -> tuple[int, int] | None:
        row = await remodelling.sql.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'messages'"
        )
        return (row["n_tup_upd"], row["n_tup_hot_upd"]) if row["n_tup_upd"] >= 60 else None

    found = await hot()
    while found is None:  # pytest's timeout ends it
        await asyncio.sleep(0.1)
        found = await hot()
    assert found == (60, 30), "the first 30 went into the graph, the others were updates on their own pages (HOT)"
