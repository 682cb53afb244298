"""A search finds by words and by meaning, shows only what is proven, and never fails for what it is asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import SteeredEmbedder, add_atom, add_messages, add_topic, another
from winnow.domain.jobs import Kind
from winnow.errors import AnswerInvalid, InvalidInput, ModelNotFound, ProviderUnavailable
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.search import Searching, search
from winnow.pipeline.spaces import Spaces
from winnow.providers.local import LocalEmbedder
from winnow.storage.reading import AtomRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.search import SearchAnswer
    from winnow.storage.engine import Database

TEXTS = [
    "The build fails on Windows because the path is too long",
    "Lunch at noon, who is coming?",
    "We moved the database to PostgreSQL last week",
    "My cat sleeps on the keyboard",
    "Мы решили перенести релиз на пятницу",
]


@pytest.fixture
def searching(database: Database, embedding: Embedding, embedder: SteeredEmbedder) -> Searching:
    """A search over the steered embedder."""
    return Searching(database=database, spaces=embedding.spaces, vector_weight=0.4)


@pytest.fixture
async def local(embedding: Embedding, database: Database) -> AsyncIterator[Embedding]:
    """Embedding with the built-in model."""
    model = LocalEmbedder()
    yield replace(embedding, spaces=Spaces(database, model))
    await model.close()


def found(answer: SearchAnswer) -> list[tuple[Kind, int]]:
    return [(hit.kind, hit.record.id) for hit in answer.hits]


async def prove(sql: asyncpg.Connection, atom: int, message: int, quote: str) -> None:
    await sql.execute(
        "INSERT INTO atom_evidence SELECT $1, id, strpos(text, $3) - 1, strpos(text, $3) - 1 + length($3), $3 "
        "FROM messages WHERE id = $2",
        atom,
        message,
        quote,
    )


async def test_words_and_meaning_together(local: Embedding, database: Database, sql: asyncpg.Connection) -> None:
    ids = await add_messages(sql, TEXTS)
    await embed_rows(local, Kind.MESSAGES, ids)
    tools = Searching(database=database, spaces=local.spaces, vector_weight=0.4)
    by_words = await search(tools, "windows path")
    assert found(by_words)[0] == (Kind.MESSAGES, ids[0])
    assert by_words.degraded is None
    by_meaning = await search(tools, "food at midday")  # no word of it is in any text but "at", which is no word
    assert found(by_meaning)[0] == (Kind.MESSAGES, ids[1])
    stemmed = await search(tools, "релизы")
    assert found(stemmed)[0] == (Kind.MESSAGES, ids[4])
    assert [hit.score for hit in by_words.hits] == sorted((hit.score for hit in by_words.hits), reverse=True)


async def test_every_kind_is_found_or_only_those_asked_for(
    searching: Searching, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    (message,) = await add_messages(sql, ["a zebra crossed"])
    topic = await add_topic(sql, "zebra")
    atom = await add_atom(sql, "zebra", "the zebra is lost", topic_id=topic)
    for kind, row_id in ((Kind.MESSAGES, message), (Kind.TOPICS, topic), (Kind.ATOMS, atom)):
        await embed_rows(embedding, kind, [row_id])
    everything = {(Kind.MESSAGES, message), (Kind.TOPICS, topic), (Kind.ATOMS, atom)}
    assert set(found(await search(searching, "zebra"))) == everything
    assert found(await search(searching, "zebra", kinds=[Kind.TOPICS])) == [(Kind.TOPICS, topic)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ProviderUnavailable("ollama is away"), "ollama is away"),
        (ModelNotFound("pull it"), "pull it"),
        (AnswerInvalid("NaN"), "NaN"),
    ],
)
async def test_with_the_model_away_words_alone_are_searched_and_it_is_said(
    *,
    error: Exception,
    reason: str,
    searching: Searching,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, TEXTS)
    await embed_rows(embedding, Kind.MESSAGES, ids)
    embedder.errors = [error]
    answer = await search(searching, "postgresql")
    assert (found(answer), answer.degraded) == ([(Kind.MESSAGES, ids[2])], reason)


async def test_a_model_that_thinks_for_too_long_is_not_waited_for(
    searching: Searching,
    embedding: Embedding,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = await add_messages(sql, TEXTS)
    await embed_rows(embedding, Kind.MESSAGES, ids)
    monkeypatch.setattr("winnow.pipeline.search.MODEL_PATIENCE_SECONDS", 0.1)

    async def think(_texts: Sequence[str]) -> None:
        await asyncio.sleep(30)

    embedder.during = think
    answer = await search(searching, "postgresql")
    assert found(answer) == [(Kind.MESSAGES, ids[2])]
    assert "did not answer" in (answer.degraded or "")


async def test_before_anything_is_embedded_and_with_another_s_vectors_it_is_said(
    searching: Searching, embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, TEXTS)
    answer = await search(searching, "postgresql")
    assert (found(answer), answer.degraded) == ([(Kind.MESSAGES, ids[2])], "nothing is embedded yet")
    other = another(embedding, database, SteeredEmbedder(model="other"))
    await embed_rows(other, Kind.MESSAGES, ids)
    answer = await search(searching, "postgresql")
    assert found(answer) == [(Kind.MESSAGES, ids[2])]
    assert "the stored vectors were made by test:other" in (answer.degraded or "")


async def test_a_model_of_another_dimension_under_the_same_name_is_said(
    searching: Searching, embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    await embed_rows(embedding, Kind.MESSAGES, await add_messages(sql, TEXTS))
    embedder.dimensions = 5
    assert "5 dimensions, the stored vectors have 8" in ((await search(searching, "postgresql")).degraded or "")


@pytest.mark.parametrize(
    "query",
    [
        "the of and",
        "что и как",
        "!!! ??? ###",
        "it's \"quoted\" 'twice'",
        "back\\slash \\' \\\\",
        "a & b | !c <-> (d):*",
        "nul\x00 inside",
        "' || to_tsquery('x') --",
        "{kind} {text} $1 %s :name",
        "lone \ud800 surrogate",
        "🙂" * 2000,
        "👩‍👩‍👧‍👦 " * 249,
        "x" * 2000,
        "word " * 400,
        "\u202eright to left\u202c \ufeff",
    ],
    ids=lambda query: ascii(query[:12]),
)
async def test_no_query_is_an_error(query: str, local: Embedding, database: Database, sql: asyncpg.Connection) -> None:
    await embed_rows(local, Kind.MESSAGES, await add_messages(sql, [*TEXTS, "it's a \\ 'quoted' word"]))
    tools = Searching(database=database, spaces=local.spaces, vector_weight=0.4)
    await search(tools, query)
    await search(replace(tools, spaces=Spaces(database, SteeredEmbedder())), query)


async def test_quotes_and_backslashes_are_words_like_others(searching: Searching, sql: asyncpg.Connection) -> None:
    ids = await add_messages(sql, ["open C:\\temp\\o'brien now", "nothing of it"])
    assert found(await search(searching, "C:\\temp\\o'brien")) == [(Kind.MESSAGES, ids[0])]


@pytest.mark.parametrize("query", ["", "  \n", "\x00", "\x00 \x00", "x" * 2001])
async def test_an_empty_or_endless_query_is_refused(query: str, searching: Searching) -> None:
    with pytest.raises(InvalidInput, match="the query"):
        await search(searching, query)


@pytest.mark.parametrize("limit", [-1, 0, 101])
async def test_a_limit_out_of_range_is_refused(limit: int, searching: Searching) -> None:
    with pytest.raises(InvalidInput, match="choose 1 to 100"):
        await search(searching, "word", limit=limit)


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_no_more_hits_than_asked_for(
    limit: int, searching: Searching, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"zebra number {number}" for number in range(120)])
    await embed_rows(embedding, Kind.MESSAGES, ids)
    hits = found(await search(searching, "zebra", limit=limit))
    assert len(hits) == len(set(hits)) == limit


async def test_unproven_and_rejected_atoms_are_never_found(
    searching: Searching, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    ids = [await add_atom(sql, "zebra", f"the zebra is {status}", status=status) for status in ("unproven", "rejected")]
    active = await add_atom(sql, "zebra", "the zebra is active")
    await embed_rows(embedding, Kind.ATOMS, [*ids, active])
    assert found(await search(searching, "zebra")) == [(Kind.ATOMS, active)]
    await sql.execute("UPDATE atoms SET status = 'active' WHERE id = $1", ids[0])
    assert set(found(await search(searching, "zebra"))) == {(Kind.ATOMS, active), (Kind.ATOMS, ids[0])}
    await sql.execute("INSERT INTO atom_links (source_id, target_id, type) VALUES ($1, $2, 'supports')", active, ids[1])
    (hit,) = [hit for hit in (await search(searching, "zebra")).hits if hit.record.id == active]
    assert isinstance(hit.record, AtomRecord)
    assert hit.record.links == (), "nor are they shown as neighbours"


async def test_a_message_that_an_atom_quotes_is_shown_as_that_atom(
    searching: Searching, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    messages = await add_messages(sql, ["the zebra build fails", "the zebra again", "something else"])
    atom = await add_atom(sql, "build fails", "CI is red")
    await sql.execute("INSERT INTO channels (source, channel, title) VALUES ('test', '#team', 'The team')")
    await prove(sql, atom, messages[0], "zebra build")
    await embed_rows(embedding, Kind.MESSAGES, messages)
    await embed_rows(embedding, Kind.ATOMS, [atom])
    answer = await search(searching, "zebra build")
    assert (Kind.MESSAGES, messages[0]) not in found(answer)
    assert found(answer)[0] == (Kind.ATOMS, atom), "at the better place of the two"
    record = answer.hits[0].record
    assert isinstance(record, AtomRecord)
    (quote,) = record.evidence
    assert (quote.message_id, quote.quote, quote.author, quote.channel) == (messages[0], "zebra build", "ann", "#team")
    assert quote.channel_title == "The team"
    assert "the zebra build fails"[quote.start : quote.end] == quote.quote


async def test_links_are_told_from_both_ends(searching: Searching, sql: asyncpg.Connection) -> None:
    problem = await add_atom(sql, "zebra problem", "it fails")
    solution = await add_atom(sql, "zebra solution", "it works", type="solution")
    await sql.execute(
        "INSERT INTO atom_links (source_id, target_id, type) VALUES ($1, $2, 'solves')", solution, problem
    )
    records = {hit.record.id: hit.record for hit in (await search(searching, "zebra")).hits}
    for one, other, outgoing in ((problem, solution, False), (solution, problem, True)):
        record = records[one]
        assert isinstance(record, AtomRecord)
        (link,) = record.links
        assert (link.type, link.outgoing, link.other_id) == ("solves", outgoing, other)


async def test_a_rare_word_counts_for_more_than_a_common_one(searching: Searching, sql: asyncpg.Connection) -> None:
    ids = await add_messages(sql, ["release release release notes"] * 20 + ["the release of the okapi"])
    assert found(await search(searching, "release okapi"))[0] == (Kind.MESSAGES, ids[-1])
