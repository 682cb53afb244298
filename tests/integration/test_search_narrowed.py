"""A search among some messages finds the best of them, whether they are few or very many, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plugins.knowing import FRIDAY, MONDAY, TUESDAY
from winnow.domain.jobs import Kind
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.filters import AskedMessages, said_by
from winnow.pipeline.search import Searching, search
from winnow.storage import search as store
from winnow.storage.conditions import Said
from winnow.storage.engine import Database

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from plugins.knowing import World
    from winnow.domain.spaces import Space
    from winnow.pipeline.embed import Embedding

FEW, MANY = 5_000, 0
ROWS = 6_000


@pytest.fixture
async def searching(world: World, database: Database, embedding: Embedding, sql: asyncpg.Connection) -> Searching:
    """A search over the team's knowledge, embedded."""
    for kind in Kind:
        ids = [row["id"] for row in await sql.fetch(f"SELECT id FROM {kind.value}")]
        await embed_rows(embedding, kind, ids)
    return Searching(database=database, spaces=embedding.spaces, vector_weight=0.4)


@pytest.mark.parametrize("exact", [FEW, MANY], ids=["few", "very many"])
async def test_only_such_messages_and_what_rests_on_them_is_found(
    exact: int, searching: Searching, world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "EXACT", exact)
    team = {"redis", "why", "fast", "shut"}
    cases: list[tuple[AskedMessages, dict[str, datetime], set[str], set[str], set[str]]] = [
        (AskedMessages(channel="#team"), {}, {"hello", "redis", "why", "fast"}, team, {"Cache"}),
        (AskedMessages(channel="Operations"), {}, {"when"}, {"when", "slow"}, set()),
        (AskedMessages(channel="#ops", source="irc"), {}, {"postgres"}, {"postgres"}, set()),
        (AskedMessages(source="irc"), {}, {"postgres"}, {"postgres"}, set()),
        (AskedMessages(author="u2"), {}, {"why", "when"}, {"why", "when", "slow"}, set()),
        (AskedMessages(author="Ana"), {"until": TUESDAY}, {"hello", "redis", "fast"}, team - {"why"}, {"Cache"}),
        (AskedMessages(), {"since": TUESDAY, "until": FRIDAY}, {"when"}, {"when", "slow"}, set()),
        (AskedMessages(channel="nowhere"), {}, set(), set(), set()),
        (AskedMessages(), {"until": MONDAY}, set(), set(), set()),
    ]  # fmt: skip
    for asked, period, messages, atoms, topics in cases:
        expected = {
            Kind.MESSAGES: {world.messages[name] for name in messages},
            Kind.ATOMS: {world.atoms[name] for name in atoms},
            Kind.TOPICS: {world.topics[name] for name in topics},
        }
        said = await said_by(database, asked, **period)
        for kind in Kind:  # vectors find every row that is among them, so that none may be missing
            answer = await search(searching, "redis release", kinds=[kind], limit=100, said=said)
            assert answer.degraded is None
            assert {hit.record.id for hit in answer.hits} == expected[kind], (asked, period, kind)


async def test_words_alone_are_narrowed_too(searching: Searching, world: World, database: Database) -> None:
    said = await said_by(database, AskedMessages(author="Ben"))
    for exact in (FEW, MANY):
        among = (
            store.Narrowed(said=said, ids=None)
            if exact == MANY
            else await store.narrowed(database, Kind.MESSAGES, said)
        )
        found = await store.full_text(database, Kind.MESSAGES, "Redis", among)
        assert set(found) == {world.messages["why"]}
        assert min(found.values()) > 0


async def test_a_search_that_asks_nothing_of_messages_finds_all(searching: Searching) -> None:
    plain = await search(searching, "redis", limit=100)
    narrowed = await search(searching, "redis", limit=100, said=Said())
    assert [hit.record.id for hit in narrowed.hits] == [hit.record.id for hit in plain.hits]


async def test_the_few_are_ranked_as_among_all(searching: Searching, database: Database) -> None:
    everything = await store.full_text(database, Kind.MESSAGES, "redis fast cache")
    said = await said_by(database, AskedMessages(channel="#team"))
    among = await store.narrowed(database, Kind.MESSAGES, said)
    few = await store.full_text(database, Kind.MESSAGES, "redis fast cache", among)
    assert sorted(few, key=lambda row: -few[row]) == [
        row for row in sorted(everything, key=lambda row: -everything[row]) if row in few
    ]


@pytest.mark.parametrize(("every", "few"), [(100, True), (20, False)])
async def test_the_nearest_of_a_channel_are_found_though_most_vectors_are_of_others(
    every: int, few: bool, embedding: Embedding, database_url: str, sql: asyncpg.Connection
) -> None:
    """Recall of the ten nearest, where an index that is filtered only afterwards finds 0.4 of 10."""
    space = await make_many(sql, embedding, every=every)
    query = np.random.default_rng(2).normal(size=space.dimensions).astype(np.float32)
    truth = await sql.fetch(
        "SELECT id FROM messages WHERE channel = '#rare' ORDER BY (embedding <=> $1::text::vector) + 0 LIMIT 10",
        written(query),
    )
    # So that the planner takes the index, as it does of itself among a million rows.
    name = await sql.fetchval("SELECT current_database()")
    for path in ("seqscan", "bitmapscan", "sort"):
        await sql.execute(f"ALTER DATABASE {name} SET enable_{path} = off")
    database = Database(database_url)
    said = Said(places=(("test", "#rare"),))
    among = await store.narrowed(database, Kind.MESSAGES, said) if few else store.Narrowed(said=said, ids=None)
    assert (among.ids is not None) == few
    found = await store.nearest(database, Kind.MESSAGES, query, space, among)
    await database.close()
    best = sorted(found, key=lambda row: -found[row])[:10]
    recall = len({row["id"] for row in truth} & set(best)) / 10
    assert recall == 1 if few else recall >= 0.9
    channels = await sql.fetch("SELECT DISTINCT channel FROM messages WHERE id = ANY($1)", list(found))
    assert [row["channel"] for row in channels] == ["#rare"]
    assert len(found) == min(100, ROWS // every)


async def make_many(sql: asyncpg.Connection, embedding: Embedding, *, every: int) -> Space:
    """Messages with random vectors, one in so many of #rare; the space that they are of, with its index."""
    space = await embedding.spaces.ours()
    vectors = np.random.default_rng(1).normal(size=(ROWS, space.dimensions))
    await sql.execute(
        "INSERT INTO messages (source, channel, external_id, text, sent_at, embedding) "
        "SELECT 'test', CASE WHEN number % $2 = 0 THEN '#rare' ELSE '#common' END, number::text, 'x', now(), v::vector "
        "FROM unnest($1::text[]) WITH ORDINALITY AS made (v, number)",
        [written(vector) for vector in vectors],
        every,
    )
    await sql.execute("ANALYZE messages")
    return space


def written(vector: Any) -> str:
    return f"[{','.join(f'{number:.6f}' for number in vector)}]"
