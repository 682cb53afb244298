"""What is forgotten is gone with all that rested on it, does not come back, and the receipt says how much it was."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from plugins.extraction import left
from plugins.pipeline import incoming
from plugins.reading import quoting_all
from winnow.domain.jobs import Kind, Lane
from winnow.domain.knowledge import ExtractedLink, Extraction, LinkType
from winnow.errors import InvalidInput
from winnow.pipeline import forget as forgetting
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.extract import Extracted, extract_knowledge
from winnow.pipeline.forget import (
    by_author,
    by_channel,
    by_ids,
    forget,
    forget_identities,
    weigh_forgetting,
)
from winnow.pipeline.ingest import ingest
from winnow.storage.forgetting import Removed
from winnow.storage.messages import Fate

if TYPE_CHECKING:
    import asyncpg

    from plugins.pipeline import SteeredExtractor
    from winnow.domain.knowledge import Window
    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database

TABLES = (
    *("messages", "atoms", "atom_evidence", "atom_links", "topics", "embedding_jobs", "extraction_queue"),
    "message_threads",
)


def linked(window: Window) -> Extraction:
    """As `quoting_all`, with the first two atoms linked."""
    found = quoting_all(window)
    link = ExtractedLink(source=0, target=1, type=LinkType.SUPPORTS, confidence=0.5)
    return Extraction(atoms=found.atoms, links=(link,), message_topics=found.message_topics)


async def rows_of(sql: asyncpg.Connection) -> dict[str, int]:
    return {table: await sql.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


@pytest.fixture
async def ids(
    extracting: Extracting, extractor: SteeredExtractor, embedding: Embedding, sql: asyncpg.Connection
) -> list[int]:
    """Two messages of ann and one of bob, read and embedded, in a channel; one more of ann elsewhere."""
    said = [incoming(1), incoming(2), incoming(3, author="bob", author_id="u3"), incoming(4, channel="#else")]
    ids = list((await ingest(extracting.units, said, lane=Lane.LIVE)).ids)
    extractor.answer = linked
    await extract_knowledge(extracting, ids[:3], lane=Lane.LIVE)
    await embed_rows(embedding, Kind.MESSAGES, ids[:3])
    for kind in (Kind.ATOMS, Kind.TOPICS):
        await embed_rows(embedding, kind, [row["id"] for row in await sql.fetch(f"SELECT id FROM {kind.value}")])
    space = await sql.fetchval("SELECT id FROM embedding_spaces")
    await sql.execute(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state) VALUES ('messages', $1, $2, 'failed')",
        ids[3],
        space,
    )
    await sql.execute("INSERT INTO message_threads SELECT unnest($1::bigint[]), $2", ids, ids[0])
    return ids


async def test_a_dry_run_says_what_is_then_removed(
    extracting: Extracting, database: Database, sql: asyncpg.Connection, ids: list[int]
) -> None:
    units, before = extracting.units, await rows_of(sql)
    expected = await weigh_forgetting(database, by_channel("test", "#team"))
    assert expected.dry_run
    assert await rows_of(sql) == before
    done = await forget(units, database, by_channel("test", "#team"))
    assert done.removed == expected.removed
    assert done.removed == Removed(messages=3, evidence=6, atoms=4, links=1, topics=1, vectors=8, ledger_rows=3)
    assert await rows_of(sql) == dict.fromkeys(TABLES, 0) | {
        "messages": 1, "embedding_jobs": 1, "extraction_queue": 1, "message_threads": 1
    }  # fmt: skip
    assert (await forget(units, database, by_channel("test", "#team"))).removed == Removed()
    rest = await forget(units, database, by_ids(ids))
    assert rest.removed == Removed(messages=1, ledger_rows=3)
    assert await rows_of(sql) == dict.fromkeys(TABLES, 0)


async def test_what_somebody_said_goes_and_what_others_said_stays(
    extracting: Extracting, database: Database, sql: asyncpg.Connection, ids: list[int]
) -> None:
    done = await forget(extracting.units, database, by_author("u3"))
    assert (done.removed.messages, done.removed.atoms, done.removed.atoms_kept, done.removed.topics) == (1, 1, 1, 0)
    rest = await forget(extracting.units, database, by_author("ann", channel="#team"))
    assert (rest.removed.messages, rest.removed.atoms, rest.removed.topics) == (2, 3, 1)
    assert [row["id"] for row in await sql.fetch("SELECT id FROM messages")] == [ids[3]]
    with pytest.raises(InvalidInput):
        by_author(" ")


async def test_a_dry_run_names_all_who_said_it_by_name_and_id(extracting: Extracting, database: Database) -> None:
    said = [incoming(1, author_id="u1"), incoming(2, author_id="u9"), incoming(3, author_id="u9"), incoming(4)]
    await ingest(extracting.units, said, lane=Lane.LIVE)
    expected = await weigh_forgetting(database, by_author("ann"))
    who = [(one.author, one.author_id, one.messages) for one in expected.authors]
    assert who == [("ann", "u9", 2), ("ann", "u1", 1), ("ann", None, 1)]


async def test_an_import_does_not_bring_it_back(
    extracting: Extracting, database: Database, sql: asyncpg.Connection, ids: list[int]
) -> None:
    await forget(extracting.units, database, by_ids(ids[:1]))
    again = await ingest(extracting.units, [incoming(1), incoming(2)], lane=Lane.BULK)
    assert [one.fate for one in again.messages] == [Fate.FORGOTTEN, Fate.KNOWN]
    await forget_identities(extracting.units, database, "test", "#team", ["2", "9"])
    late = await ingest(extracting.units, [incoming(2), incoming(9), incoming(10)], lane=Lane.BULK)
    assert [one.fate for one in late.messages] == [Fate.FORGOTTEN, Fate.FORGOTTEN, Fate.NEW]
    assert b"".join(row[0] for row in await sql.fetch("SELECT identity FROM forgotten_messages")).find(b"team") < 0


async def test_it_goes_on_where_it_was_interrupted(
    extracting: Extracting, database: Database, sql: asyncpg.Connection, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BATCH_MESSAGES", 1)
    told: list[int] = []

    def interrupt(removed: Removed) -> None:
        told.append(removed.messages)
        if removed.messages == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await forget(extracting.units, database, by_channel("test", "#team"), tell=interrupt)
    assert told == [1, 2]
    some = await forget(extracting.units, database, by_channel("test", "#team"), most=0)
    assert not some.complete
    done = await forget(extracting.units, database, by_channel("test", "#team"))
    assert (done.removed.messages, done.removed.topics, done.complete) == (1, 1, True)
    assert await sql.fetchval("SELECT count(*) FROM messages") == 1


async def test_the_receipt_of_many_batches_is_that_of_one(
    extracting: Extracting, database: Database, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await weigh_forgetting(database, by_ids(ids[:3]))
    monkeypatch.setattr(forgetting, "BATCH_MESSAGES", 1)
    assert (await forget(extracting.units, database, by_ids(ids[:3]))).removed == expected.removed


async def test_a_run_that_reads_it_ends_and_gives_the_others_back(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    ids = (await ingest(extracting.units, [incoming(1), incoming(2)], lane=Lane.LIVE)).ids

    async def delete(_window: Window) -> None:
        await forget(extracting.units, database, by_ids(ids[:1]))

    extractor.during, extractor.answer = delete, quoting_all
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(failed=1)
    assert tuple(await sql.fetchrow("SELECT state, error FROM extraction_runs")) == (
        "abandoned", "a message of it was removed"
    )  # fmt: skip
    assert await left(sql) == [(ids[1], None, 0)]


async def test_its_words_are_nowhere_else(
    extracting: Extracting, extractor: SteeredExtractor, embedding: Embedding, database: Database,
    sql: asyncpg.Connection,
) -> None:  # fmt: skip
    """Every text of every table is searched for them."""
    said = [incoming(1, "xylophone in the cellar"), incoming(2, details={"quote": "xylophone in the cellar"})]
    ids = (await ingest(extracting.units, said, lane=Lane.LIVE)).ids
    await sql.execute("INSERT INTO message_threads VALUES ($1, $1, NULL), ($2, $1, $1)", ids[0], ids[1])
    extractor.answer = quoting_all
    await extract_knowledge(extracting, ids[:1], lane=Lane.LIVE)
    await embed_rows(embedding, Kind.MESSAGES, ids)
    await sql.execute("UPDATE extraction_runs SET state = 'failed', error = 'cannot read: xylophone'")
    receipt = await forget(extracting.units, database, by_ids(ids[:1]))
    assert receipt.removed.run_errors == 1
    tables = await sql.fetch("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public'")
    for (table,) in tables:
        assert await sql.fetchval(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%xylophone%'") == 0, table


def test_the_receipt_adds_up() -> None:
    one = Removed(**dict.fromkeys(asdict(Removed()), 1))
    assert set(asdict(one + one).values()) == {2}
