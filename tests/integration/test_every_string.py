"""Every string the database can hold comes back identical, is embedded, found, and quoted exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from plugins.pipeline import incoming
from winnow.domain.jobs import Kind, Lane
from winnow.domain.knowledge import AtomType, Evidence, ExtractedAtom, Extraction
from winnow.domain.messages import storable
from winnow.domain.scoring import ScoreRules
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.ingest import ingest
from winnow.pipeline.search import MOST_QUERY_CHARACTERS, Searching, search
from winnow.pipeline.spaces import Spaces
from winnow.providers.local import LocalEmbedder
from winnow.storage.atom_filter import AtomFilter
from winnow.storage.messages import list_messages
from winnow.storage.reading import list_atoms
from winnow.storage.search import nearest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from plugins.pipeline import SteeredExtractor
    from winnow.domain.knowledge import Window
    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork

LAST = 2**62
ODD = [
    "", " ", "\t\n\r\x0b\x0c", "\x1c\x1d\x1e\x1f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029", "\u3000",
    "\u200b", "\u2060", "\ufeff", "\xad", "\u180e", "\u061c", "\u202e\u202d\u2066\u2069", "\uffff", "\ufffe", "\ufdd0",
    "\U0010ffff", "\U0001fffe", "\ue000", "\x01\x7f", "\x1b[2J", "e" + "\u0301" * 300, "\u0301", "🙂", "👩‍👩‍👧‍👦",
    "🇩🇪", "𐐷𝒳", "שלום עולם", "مرحبا", "日本語", "ß ﬁ İ ı ǅ", "\\", "'", "''", '"', "$$", "\\x00", "%s", "{}", "$1",
    "<b>&amp;", "a:b & c | !d", "http://example.org/?q=%00", "x" * 5000, "\\u0000", "NULL", "<s>", "\u2581",
]  # fmt: skip
HOLDABLE = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
TEXTS = st.one_of(
    HOLDABLE,
    st.sampled_from(ODD),
    st.lists(st.sampled_from([*ODD[1:], "deploy", "решили", "the release"]) | HOLDABLE, max_size=4).map(" ".join),
)
BATCHES = st.lists(TEXTS, min_size=40, max_size=60)
# Not shrunk: each try costs a transaction, and the answer names the text that differs anyway.
few = settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
async def local(embedding: Embedding, database: Database) -> AsyncIterator[Embedding]:
    """Embedding with the built-in model."""
    model = LocalEmbedder()
    yield replace(embedding, spaces=Spaces(database, model))
    await model.close()


async def store_all(units: UnitsOfWork, texts: Sequence[str]) -> tuple[str, dict[int, str]]:
    """The texts stored in a channel of their own, by id."""
    channel = uuid4().hex
    messages = [incoming(number, text, channel=channel, author=text[:200]) for number, text in enumerate(texts)]
    done = await ingest(units, messages, lane=Lane.BULK)
    return channel, dict(zip(done.ids, texts, strict=True))


@few
@given(BATCHES)
async def test_each_comes_back_identical(units: UnitsOfWork, database: Database, texts: list[str]) -> None:
    channel, stored = await store_all(units, texts)
    read = await list_messages(database, channel=channel, before=LAST, limit=1000)
    assert {message.id: message.text for message in read} == stored
    assert all(message.author == message.text[:200] for message in read)


@few
@given(st.lists(st.text(st.characters(codec=None, exclude_categories=())), min_size=20, max_size=40))
async def test_what_it_cannot_hold_is_made_so_that_it_can(
    units: UnitsOfWork, database: Database, texts: list[str]
) -> None:
    channel, stored = await store_all(units, texts)
    read = await list_messages(database, channel=channel, before=LAST, limit=1000)
    assert {message.id: message.text for message in read} == {row: storable(text) for row, text in stored.items()}


@few
@given(BATCHES)
async def test_each_is_embedded_or_blank_and_is_nearest_to_itself(
    units: UnitsOfWork, database: Database, local: Embedding, sql: asyncpg.Connection, texts: list[str]
) -> None:
    _, stored = await store_all(units, texts)
    done = await embed_rows(local, Kind.MESSAGES, list(stored))
    blank = {row for row, text in stored.items() if not text.strip()}
    assert (done.embedded, done.skipped, done.taken) == (len(stored) - len(blank), len(blank), len(stored))
    rows = await sql.fetch(
        "SELECT id FROM messages WHERE id = ANY($1) AND embedding IS NULL AND EXISTS ("
        "SELECT FROM embedding_jobs WHERE kind = 'messages' AND entity_id = id AND state = 'skipped')",
        list(stored),
    )
    assert {row["id"] for row in rows} == blank
    space = await local.spaces.ours()
    speaking = {row: text for row, text in stored.items() if row not in blank}
    asked = await local.spaces.embedder.embed(list(speaking.values()), input_type="query")
    for (row, text), vector in zip(list(speaking.items())[::5], asked.vectors[::5], strict=True):
        found = await nearest(database, Kind.MESSAGES, vector, space)
        same = [other for other, theirs in stored.items() if theirs == text]
        assert max(found.values()) == pytest.approx(1, abs=1e-5)
        assert max(found.get(other, -1) for other in same) == pytest.approx(1, abs=1e-5), (row, text)


@few
@given(BATCHES)
async def test_each_can_be_searched_for(
    units: UnitsOfWork, database: Database, local: Embedding, texts: list[str]
) -> None:
    searching = Searching(database=database, spaces=local.spaces, vector_weight=0.4)
    _, stored = await store_all(units, texts)
    await embed_rows(local, Kind.MESSAGES, list(stored))
    for row, text in list(stored.items())[::4]:
        for query in {text[:MOST_QUERY_CHARACTERS], text[len(text) // 3 :][:50]}:
            if not query.strip():
                continue
            answer = await search(searching, query, kinds=(Kind.MESSAGES,), limit=100)
            assert answer.degraded is None
            if query == text:
                texts_found = {hit.record.text for hit in answer.hits if hasattr(hit.record, "text")}
                assert text in texts_found, (row, text)


@few
@given(BATCHES)
async def test_each_is_quoted_exactly(
    database: Database, extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection, texts: list[str]
) -> None:
    extracting.units.rules = ScoreRules(weak_from=0.0)  # nothing is noise, which nobody extracts from
    _, stored = await store_all(extracting.units, texts)
    spans = {row: (len(text) // 3, len(text) - len(text) // 4) for row, text in stored.items() if text.strip()}

    def quote(window: Window) -> Extraction:
        return Extraction(atoms=tuple(atom_on(m.id, m.text, *spans[m.id]) for m in window.messages if m.id in spans))

    extractor.answer = quote
    await extract_knowledge(extracting, list(stored), lane=Lane.BULK)
    atoms = (await list_atoms(database, AtomFilter(), limit=10_000)).items
    quotes = {quote.message_id: quote for atom in atoms for quote in atom.evidence if quote.message_id in stored}
    assert set(quotes) == set(spans)
    for row, found in quotes.items():
        assert (found.start, found.end) == spans[row]
        assert found.quote == stored[row][found.start : found.end]
    in_sql = await sql.fetchval(
        "SELECT count(*) FROM atom_evidence e JOIN messages m ON m.id = e.message_id "
        "WHERE m.id = ANY($1) AND e.quote = substr(m.text, e.start_char + 1, e.end_char - e.start_char)",
        list(stored),
    )
    assert in_sql == len(spans)


def atom_on(row: int, text: str, start: int, end: int) -> ExtractedAtom:
    """An atom that rests on a stretch of a message, and says the same."""
    evidence = Evidence(message_id=row, start=start, end=end, quote=text[start:end])
    return ExtractedAtom(
        type=AtomType.INSIGHT, title=f"{row}", content=f"{row} {text}", confidence=0.7, evidence=(evidence,)
    )


@pytest.mark.parametrize(
    "text",
    [
        " ".join(chr(0x10400 + number % 40) + chr(0x20000 + number) for number in range(33_333)),
        "-".join(chr(0x20000 + number % 40_000) for number in range(50_000)),
        "/".join(chr(0x20000 + number % 40_000) for number in range(50_000)),
        " ".join(f"{number:04x}.example.org/{number:x}" for number in range(4_500)),
        " ".join(f"w{number}-x{number}" for number in range(7_500)),
        "\U0010ffff" * 100_000,
        "🙂" * 100_000,
        "e" + "\u0301" * 99_999,
        "a" * 100_000,
        "<" * 100_000,
        "'" * 100_000,
    ],
    ids=lambda text: ascii(text[:5]),
)
async def test_the_longest_texts_are_stored_too(units: UnitsOfWork, database: Database, text: str) -> None:
    text = text[:100_000]
    channel, _ = await store_all(units, [text, "words"])
    read = await list_messages(database, channel=channel, before=LAST, limit=10)
    assert [message.text for message in read] == ["words", text]
