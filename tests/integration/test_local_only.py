"""No text of a local-only channel is sent to a model that is elsewhere, and every row is accounted for all the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import SteeredEmbedder, add_atom, add_messages, add_topic, job_of
from winnow.domain.jobs import Kind
from winnow.domain.spaces import Wish
from winnow.errors import ProviderUnavailable
from winnow.pipeline.channels import Channelling, set_channel
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.estimate import Asked, estimate
from winnow.pipeline.remodel import begin_change
from winnow.pipeline.spaces import Spaces
from winnow.storage.backfill import row_weights
from winnow.storage.channels import Choice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import asyncpg

    from winnow.domain.spaces import Space
    from winnow.pipeline.embed import Embedding
    from winnow.providers.base import Embedder
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

SECRET = "the safe is behind the picture"
LOCAL_ONLY = Choice(local_only=True)


@dataclass
class Elsewhere:
    """Where the embedder is that it knows."""

    embedder: Embedder
    remote: bool = True

    async def of(self, _space: Space) -> Embedder:
        return self.embedder

    async def is_remote(self, _kind: str, _provider_id: UUID | None) -> bool:
        return self.remote

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def source(embedder: SteeredEmbedder) -> Elsewhere:
    """A remote one."""
    return Elsewhere(embedder)


@pytest.fixture
def remote(embedding: Embedding, database: Database, embedder: SteeredEmbedder, source: Elsewhere) -> Embedding:
    """What embedding needs, with a model that is elsewhere."""
    return replace(embedding, spaces=Spaces(database, embedder, wish=Wish(), source=source))


@pytest.fixture
def channelling(database: Database, store: EmbeddingStore, remote: Embedding) -> Channelling:
    """For changing channels."""
    return Channelling(database=database, embeddings=store, spaces=remote.spaces)


def sent(embedder: SteeredEmbedder) -> str:
    return " ".join(text for call in embedder.calls for text in call)


async def everything(sql: asyncpg.Connection) -> dict[Kind, list[int]]:
    """A private and a public row of each kind, in this order."""
    private = await add_messages(sql, [f"{SECRET}, message"], channel="#private")
    public = await add_messages(sql, ["public words"], channel="#public")
    topics = [await add_topic(sql, f"{SECRET}, topic"), await add_topic(sql, "public topic")]
    atoms = [await add_atom(sql, f"{SECRET}, title", "content"), await add_atom(sql, "public title", "content two")]
    for message, topic, atom in zip([*private, *public], topics, atoms, strict=True):
        await sql.execute("UPDATE messages SET topic_id = $2 WHERE id = $1", message, topic)
        await sql.execute("INSERT INTO atom_evidence VALUES ($1, $2, 0, 3, 'the')", atom, message)
    return {Kind.MESSAGES: [*private, *public], Kind.TOPICS: topics, Kind.ATOMS: atoms}


async def test_its_text_and_what_is_made_of_it_stay_at_home_until_the_mark_is_taken_away(
    remote: Embedding, channelling: Channelling, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    rows = await everything(sql)
    await set_channel(channelling, "test", "#private", LOCAL_ONLY)
    for kind, ids in rows.items():
        done = await embed_rows(remote, kind, ids)
        assert (done.embedded, done.skipped) == (1, 1), kind
        job = await job_of(sql, ids[0], kind)
        assert (job["state"], job["error_kind"]) == ("skipped", "local_only")
        assert "local-only" in job["error"]
    assert SECRET not in sent(embedder)
    assert "public" in sent(embedder)
    assert (await remote.store.counts())[Kind.MESSAGES].skipped == 1
    space = await remote.spaces.ours()
    assert await remote.store.due(Kind.MESSAGES, space=space, age_seconds=0, limit=9) == []

    await set_channel(channelling, "test", "#private", Choice(local_only=False))
    for kind, ids in rows.items():
        assert await job_of(sql, ids[0], kind) is None
        assert (await embed_rows(remote, kind, ids)).embedded == 1
    assert SECRET in sent(embedder)


async def test_a_model_of_ones_own_gets_it(
    remote: Embedding, channelling: Channelling, source: Elsewhere, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    rows = await everything(sql)
    await set_channel(channelling, "test", "#private", LOCAL_ONLY)
    await embed_rows(remote, Kind.MESSAGES, rows[Kind.MESSAGES])
    source.remote = False  # somebody has named another server
    await set_channel(channelling, "test", "#private", LOCAL_ONLY)
    assert (await embed_rows(remote, Kind.MESSAGES, rows[Kind.MESSAGES])).embedded == 1
    assert SECRET in sent(embedder)


@pytest.mark.parametrize("weather", [False, True])
async def test_a_mark_set_while_the_rows_are_in_hand_holds(
    remote: Embedding, channelling: Channelling, embedder: SteeredEmbedder, sql: asyncpg.Connection, *, weather: bool
) -> None:
    """Before each request it is asked for: here before the second half, or before the second try."""
    tools = replace(remote, patience_seconds=5)
    ids = await add_messages(sql, ["refused"], channel="#public")
    ids += await add_messages(sql, ["some words", SECRET], channel="#private")
    first = ProviderUnavailable("away", retry_after_seconds=0.01)
    embedder.errors = [first] if weather else []
    embedder.refusals = {} if weather else {"refused": ProviderUnavailable("away")}
    calls = 0

    async def mark(_texts: Sequence[str]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            assert (await set_channel(channelling, "test", "#private", LOCAL_ONLY)).in_hand == 2

    embedder.during = mark
    if not weather:
        tools = replace(tools, patience_seconds=0)
        embedder.refusals = {}
        embedder.errors = [ProviderUnavailable("away")]
    done = await embed_rows(tools, Kind.MESSAGES, ids)
    assert len(embedder.calls[0]) == 3, "it was on its way already"
    assert not any(SECRET in text for call in embedder.calls[1:] for text in call)
    if weather:
        assert (done.embedded, done.skipped) == (1, 2)


async def test_equal_words_that_are_public_give_their_vector(
    remote: Embedding, channelling: Channelling, sql: asyncpg.Connection
) -> None:
    public = await add_messages(sql, ["good morning"], channel="#public")
    await embed_rows(remote, Kind.MESSAGES, public)
    await set_channel(channelling, "test", "#private", LOCAL_ONLY)
    private = await add_messages(sql, ["good morning"], channel="#private")
    assert (await embed_rows(remote, Kind.MESSAGES, private)).saved == 1


async def test_estimates_and_samples_leave_it_out(
    remote: Embedding, channelling: Channelling, database: Database, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    rows = await everything(sql)
    await set_channel(channelling, "test", "#private", LOCAL_ONLY)
    asked = Asked(embedder=embedder, tariff=remote.tariff, worker="one", remote=True)
    expected = await estimate(database, asked, sample=True)
    assert (expected.rows, expected.texts) == (3, 3)
    assert SECRET not in sent(embedder)
    assert "public" in sent(embedder)
    ids = rows[Kind.MESSAGES]
    assert set(await row_weights(database, Kind.MESSAGES, ids, prefix="", remote=True)) == {ids[1]}
    assert (await estimate(database, replace(asked, remote=False), sample=False)).rows == 6


async def test_a_space_that_is_being_built_elsewhere_is_full_without_it(
    database: Database, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    rows = await everything(sql)
    for kind, ids in rows.items():
        await embed_rows(embedding, kind, ids)
    newer = SteeredEmbedder(model="newer")
    spaces = Spaces(database, SteeredEmbedder(), wish=Wish(), source=Elsewhere(newer))
    tools = replace(embedding, spaces=spaces)
    channelling = Channelling(database=database, embeddings=embedding.store, spaces=spaces)
    await set_channel(channelling, "test", "#private", LOCAL_ONLY)
    space = await begin_change(database, newer, provider_id=None)
    for kind, ids in rows.items():
        done = await embed_rows(tools, kind, ids, space_id=space.id)
        assert (done.embedded, done.skipped) == (1, 1)
    assert SECRET not in sent(newer)
    for counts in (await embedding.store.counts_in(space)).values():
        assert (counts.embedded, counts.skipped, counts.left) == (1, 1, 0)


async def test_what_was_only_said_to_be_in_it_and_what_was_merged_stay_at_home_too(
    remote: Embedding, channelling: Channelling, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    rows = await everything(sql)
    unproven = await add_atom(sql, f"{SECRET}, unproven", "three", status="unproven", topic_id=rows[Kind.TOPICS][1])
    merged = await add_atom(sql, f"{SECRET}, merged", "four", status="merged")
    await sql.execute("INSERT INTO atom_claims VALUES ($1, 1, $2, 'x')", unproven, rows[Kind.MESSAGES][0])
    await sql.execute("UPDATE atoms SET merged_into = $2 WHERE id = $1", merged, rows[Kind.ATOMS][0])
    await set_channel(channelling, "test", "#private", LOCAL_ONLY)
    assert (await embed_rows(remote, Kind.ATOMS, [unproven, merged])).skipped == 2
    assert (await embed_rows(remote, Kind.TOPICS, rows[Kind.TOPICS])).skipped == 2
    assert sent(embedder) == ""
