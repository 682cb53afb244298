"""What keeps a model from taking the place of another is said, before anything is paid where that can be known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from plugins.pipeline import SteeredEmbedder, add_messages
from winnow.domain.spaces import Role
from winnow.errors import InvalidInput, SetupFault, SpaceMismatch, TextRefused
from winnow.pipeline import remodel
from winnow.pipeline.remodel import cancel_change, change_back

if TYPE_CHECKING:
    from plugins.remodelling import Remodelling


async def test_a_change_is_gone_on_with_given_up_or_refused(remodelling: Remodelling) -> None:
    database = remodelling.database
    ids = await remodelling.stored("one", "two")
    assert (await remodelling.begin(remodelling.older)).role == Role.ACTIVE
    space = await remodelling.begin()
    await remodelling.embed(ids[:1], space=space)
    assert await remodelling.begin() == space
    await remodelling.fill(space)
    assert remodelling.newer.paid == {"one": 1, "two": 1}, "what was done is not paid for again"
    with pytest.raises(InvalidInput, match="a change to test:newer is under way"):
        await remodelling.begin(remodelling.third)
    with pytest.raises(InvalidInput, match="winnow model cancel"):
        await change_back(database)
    assert (await cancel_change(database)).id == space.id
    assert await remodelling.roles() == {"active": "steered", "retired": "newer"}
    assert await remodelling.sql.fetchval("SELECT count(*) FROM messages WHERE embedding_next IS NOT NULL") == 0
    with pytest.raises(InvalidInput, match="no change of the model is under way"):
        await cancel_change(database)
    with pytest.raises(SpaceMismatch, match="neither the active one nor being built"):
        await remodelling.embed(ids, space=space)
    assert (await remodelling.counts()).embedded == 2
    await remodelling.change()
    with pytest.raises(InvalidInput, match="run: winnow model back"):
        await remodelling.begin(remodelling.older)


async def test_it_waits_until_almost_all_is_there(remodelling: Remodelling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remodel, "MOST_NEW", 1)
    ids = await remodelling.stored("one", "two", "bad three")
    remodelling.newer.refusals["bad"] = TextRefused("no")
    remodelling.worker = replace(remodelling.worker, max_attempts=1)
    space = await remodelling.begin()
    assert not await remodelling.finish()
    await remodelling.embed(ids, space=space)
    (late,) = await add_messages(remodelling.sql, ["late"], hours_ago=0)
    assert await remodelling.finish()
    counts = await remodelling.counts()
    assert (counts.embedded, counts.failed, counts.pending) == (2, 1, 1)
    assert await remodelling.vector(late) is None


async def test_a_space_most_of_whose_texts_are_refused_is_not_put_in(
    remodelling: Remodelling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remodel, "MOST_FAILED", 1)
    ids = await remodelling.stored("text one", "text two", "text three")
    remodelling.newer.refusals["text"] = TextRefused("no")
    remodelling.worker = replace(remodelling.worker, max_attempts=1)
    await remodelling.embed(ids, space=await remodelling.begin())
    with pytest.raises(SetupFault, match="has refused 3 texts for good"):
        await remodelling.finish()
    assert await remodelling.roles() == {"active": "steered", "building": "newer"}


async def test_a_space_without_the_rows_of_before_is_not_put_in(remodelling: Remodelling) -> None:
    await remodelling.stored("text one", "text two", "text three")
    await remodelling.begin()
    assert not await remodelling.finish()
    assert await remodelling.roles() == {"active": "steered", "building": "newer"}


async def test_another_model_under_the_stored_one_s_name_is_refused(remodelling: Remodelling) -> None:
    await remodelling.stored("one")
    older = remodelling.older

    class Impostor(SteeredEmbedder):
        @override
        def vector(self, text: str) -> Any:
            return -older.vector(text)

    with pytest.raises(SpaceMismatch, match="another model by the name of test:steered"):
        await remodelling.begin(Impostor())


async def test_a_view_over_vectors_is_named_before_anything_is_paid(remodelling: Remodelling) -> None:
    await remodelling.stored("one")
    await remodelling.sql.execute("CREATE VIEW mine AS SELECT id, embedding FROM messages")
    with pytest.raises(SetupFault, match="the view mine is over a column of vectors"):
        await remodelling.begin()
    assert not remodelling.newer.calls
