"""An edited message is scored, read and embedded anew, and nothing is left that rests on its old words."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from plugins.extraction import left
from plugins.pipeline import incoming
from plugins.reading import quoting_all
from winnow.domain.jobs import EmbedJob, Kind, Lane, ScoreJob
from winnow.domain.scoring import RULES, score
from winnow.errors import MessageNotFound
from winnow.pipeline.edit import edit_message
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.extract import Extracted, extract_knowledge
from winnow.pipeline.forget import by_ids, forget
from winnow.pipeline.ingest import ingest
from winnow.pipeline.intake import Intake
from winnow.pipeline.score import Scoring, score_messages, scored
from winnow.storage.extraction import ExtractionStore
from winnow.storage.messages import Fate, unscored_messages, write_scores

if TYPE_CHECKING:
    import asyncpg

    from plugins.pipeline import RecordingDispatcher, SteeredExtractor
    from winnow.domain.knowledge import Window
    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork

DAY = datetime(2025, 6, 1, tzinfo=UTC)
MISQUOTED = """
SELECT count(*) FROM atom_evidence e JOIN messages m ON m.id = e.message_id
WHERE substr(m.text, e.start_char + 1, e.end_char - e.start_char) <> e.quote
"""
BASELESS = "SELECT count(*) FROM atoms a WHERE NOT EXISTS (SELECT FROM atom_evidence e WHERE e.atom_id = a.id)"


async def state_of(sql: asyncpg.Connection, message_id: int) -> str:
    return str(await sql.fetchval("SELECT state FROM message_states WHERE id = $1", message_id))


async def test_an_edit_takes_what_rested_on_the_old_words_and_is_read_again(  # noqa: PLR0917 - fixtures
    extracting: Extracting,
    extractor: SteeredExtractor,
    embedding: Embedding,
    dispatcher: RecordingDispatcher,
    database: Database,
    sql: asyncpg.Connection,
) -> None:
    ids = (await ingest(extracting.units, [incoming(1, "we use Redis"), incoming(2)], lane=Lane.LIVE)).ids
    extractor.answer = quoting_all
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    await embed_rows(embedding, Kind.MESSAGES, ids)
    assert await sql.fetchval("SELECT count(*) FROM atoms") == 3
    await extracting.units.drain()
    dispatcher.calls.clear()

    done = await ingest(extracting.units, [incoming(1, "we use Postgres for all of it", edited_at=DAY)], lane=Lane.LIVE)
    assert [one.fate for one in done.messages] == [Fate.EDITED]
    row = await sql.fetchrow("SELECT * FROM messages WHERE id = $1", ids[0])
    assert (row["text"], row["edited_at"], row["embedding"]) == ("we use Postgres for all of it", DAY, None)
    assert row["importance"] is None, "it is scored by the task"
    # what both said is still what the other one said
    contents = {row["content"] for row in await sql.fetch("SELECT content FROM atoms")}
    assert contents == {"it is said: words number 2", f"together {ids[0]}"}
    assert await sql.fetchval("SELECT count(*) FROM atom_evidence WHERE message_id = $1", ids[0]) == 0
    assert [r["message_id"] for r in await sql.fetch("SELECT message_id FROM extraction_queue")] == [ids[0]]
    await extracting.units.drain()
    assert dispatcher.ids(ScoreJob) == dispatcher.ids(EmbedJob, Kind.MESSAGES) == [ids[0]]

    await score_messages(Scoring(database=database, units=extracting.units), ids)
    importance = await sql.fetchval("SELECT importance FROM messages WHERE id = $1", ids[0])
    assert importance == pytest.approx(score("we use Postgres for all of it", "ann").importance)
    assert (await extract_knowledge(extracting, ids, lane=Lane.LIVE)).atoms == 1
    assert await sql.fetchval("SELECT count(*) FROM atoms WHERE content LIKE '%Postgres%'") == 1
    assert await sql.fetchval(MISQUOTED) == await sql.fetchval(BASELESS) == 0


async def test_a_score_of_the_old_words_is_not_given_to_the_new_ones(
    units: UnitsOfWork, database: Database, sql: asyncpg.Connection
) -> None:
    ids = (await ingest(units, [incoming(1, "we decided to keep the old format"), incoming(2)], lane=Lane.LIVE)).ids
    await sql.execute("UPDATE messages SET importance = NULL, signal = NULL, factors = NULL")
    read = await unscored_messages(database, ids)
    await ingest(units, [incoming(1, "ok", edited_at=DAY), incoming(2, "words number 2")], lane=Lane.LIVE)
    await write_scores(database, [scored(message, RULES) for message in read])  # a model took its time
    assert [row["importance"] is None for row in await sql.fetch("SELECT importance FROM messages ORDER BY id")] == [
        True, False
    ]  # fmt: skip


async def test_what_is_edited_before_a_run_claims_it_is_scored_anew(
    extracting: Extracting, dispatcher: RecordingDispatcher, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = (await ingest(extracting.units, [incoming(1, "we decided to keep the old format")], lane=Lane.LIVE)).ids
    await sql.execute("UPDATE messages SET importance = NULL, signal = NULL, factors = NULL")
    await sql.execute("INSERT INTO message_threads VALUES ($1, $1)", ids[0])
    read = ExtractionStore.earlier

    async def edited(*given: Any, **named: Any) -> Any:
        await ingest(extracting.units, [incoming(1, "is the moon up?", edited_at=DAY)], lane=Lane.LIVE)
        await extracting.units.drain()
        dispatcher.calls.clear()
        return await read(*given, **named)

    monkeypatch.setattr(ExtractionStore, "earlier", edited)
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert await sql.fetchval("SELECT importance FROM messages") is None
    await extracting.units.drain()
    assert dispatcher.ids(ScoreJob) == list(ids)


async def test_an_edit_ends_the_run_that_reads_the_message_and_counts_against_nobody(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = (await ingest(extracting.units, [incoming(1), incoming(2)], lane=Lane.LIVE)).ids

    async def edit(_window: Window) -> None:
        await ingest(extracting.units, [incoming(2, "changed", edited_at=DAY)], lane=Lane.LIVE)

    extractor.during, extractor.answer = edit, quoting_all
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(failed=1)
    run = await sql.fetchrow("SELECT state, error FROM extraction_runs")
    assert tuple(run) == ("abandoned", "a message of it was edited")
    assert await left(sql) == [(ids[0], None, 0), (ids[1], None, 0)]
    assert await sql.fetchval("SELECT count(*) FROM atoms") == 0
    extractor.during = None
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert {message.text for message in extractor.windows[-1].messages} == {"words number 1", "changed"}


async def test_a_run_reads_what_its_messages_say_when_it_has_them(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = (await ingest(extracting.units, [incoming(1)], lane=Lane.LIVE)).ids
    earlier = extracting.store.earlier

    async def edited_before_the_claim(*given: object, **named: object) -> object:
        await ingest(extracting.units, [incoming(1, "changed", edited_at=DAY)], lane=Lane.LIVE)
        return await earlier(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(extracting.store, "earlier", edited_before_the_claim)
    extractor.answer = quoting_all
    assert (await extract_knowledge(extracting, ids, lane=Lane.LIVE)).atoms == 1
    assert await sql.fetchval("SELECT quote FROM atom_evidence") == "changed"


async def test_of_many_edits_in_one_call_the_latest_of_each_counts(units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    await ingest(units, [incoming(number) for number in range(200)], lane=Lane.BULK)
    edits = [
        incoming(number, f"edit {minute} of {number}", edited_at=DAY + timedelta(minutes=minute))
        for minute in (2, 1)
        for number in range(200)
    ]
    before = await sql.fetchval("SELECT xmin::text::bigint FROM messages LIMIT 1")
    done = await ingest(units, [*edits, incoming(500)], lane=Lane.BULK)
    assert (done.edited, len(done.ids)) == (400, 1)
    texts = {row["text"] for row in await sql.fetch("SELECT text FROM messages WHERE external_id <> '500'")}
    assert texts == {f"edit 2 of {number}" for number in range(200)}
    transactions = {row["x"] for row in await sql.fetch("SELECT DISTINCT xmin::text::bigint AS x FROM messages")}
    assert len(transactions - {before}) == 1


async def test_an_edit_to_the_same_text_changes_its_moment_only(
    units: UnitsOfWork, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    ids = (await ingest(units, [incoming(1), incoming(2)], lane=Lane.LIVE)).ids
    await embed_rows(embedding, Kind.MESSAGES, ids)
    same = [incoming(number, edited_at=DAY) for number in (1, 2)]
    assert (await ingest(units, same, lane=Lane.LIVE)).known == 2
    assert (await ingest(units, same[:1], lane=Lane.LIVE)).known == 1
    rows = await sql.fetch("SELECT edited_at, embedding IS NULL AS empty FROM messages")
    assert {tuple(row) for row in rows} == {(DAY, False)}


async def test_what_becomes_noise_is_not_read_again(
    units: UnitsOfWork, database: Database, sql: asyncpg.Connection
) -> None:
    (row,) = (await ingest(units, [incoming(1)], lane=Lane.LIVE)).ids
    await ingest(units, [incoming(1, " ", edited_at=DAY)], lane=Lane.LIVE)
    await score_messages(Scoring(database=database, units=units), [row])
    assert await sql.fetchval("SELECT count(*) FROM extraction_queue") == 0
    assert await state_of(sql, row) == "noise"


async def test_a_person_edits_one_message(database: Database, units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    (row,) = (await ingest(units, [incoming(1, edited_at=datetime(2999, 1, 1, tzinfo=UTC))], lane=Lane.LIVE)).ids
    intake = Intake(units, Lane.LIVE)
    assert await edit_message(database, intake, row, "better words", None) is Fate.EDITED
    assert await sql.fetchval("SELECT text FROM messages") == "better words"
    assert await edit_message(database, intake, row, "older words", DAY) is Fate.OLDER
    with pytest.raises(MessageNotFound):
        await edit_message(database, intake, row + 1, "words", None)


async def test_edits_deletions_extractions_scores_and_vectors_at_once_leave_no_false_quote(
    extracting: Extracting,
    extractor: SteeredExtractor,
    embedding: Embedding,
    database: Database,
    sql: asyncpg.Connection,
) -> None:
    """Everything that writes to messages, on the same few of them; nobody deadlocks, which the server would tell."""
    units, extractor.answer, choose = extracting.units, quoting_all, random.Random(7)
    ids = list((await ingest(units, [incoming(number) for number in range(12)], lane=Lane.LIVE)).ids)
    await embedding.spaces.ours()
    moment, until = DAY, asyncio.get_running_loop().time() + 4

    async def edit() -> None:
        nonlocal moment
        moment += timedelta(seconds=1)
        numbers = choose.sample(range(12), choose.choice([1, 5]))
        await ingest(
            units, [incoming(number, f"edit {moment} of {number}", edited_at=moment) for number in numbers],
            lane=Lane.LIVE,
        )  # fmt: skip

    async def extract() -> None:
        await extract_knowledge(extracting, choose.sample(ids, len(ids)), lane=Lane.LIVE)

    async def delete() -> None:
        row = choose.choice(ids)
        await forget(units, database, by_ids([row]), for_ever=False)
        number = choose.randrange(12)
        ids.extend((await ingest(units, [incoming(number, f"again {number}")], lane=Lane.LIVE)).ids)

    async def score_all() -> None:
        await score_messages(Scoring(database=database, units=units), ids)

    async def embed() -> None:
        await embed_rows(embedding, Kind.MESSAGES, ids)
        atoms = [row["id"] for row in await sql_of_embed()]
        await embed_rows(embedding, Kind.ATOMS, atoms)

    async def sql_of_embed() -> list[asyncpg.Record]:
        async with turn:
            return list(await sql.fetch("SELECT id FROM atoms"))

    async def again_and_again(work: object) -> int:
        times = 0
        while asyncio.get_running_loop().time() < until:
            await work()  # type: ignore[operator]
            times += 1
        return times

    turn = asyncio.Lock()
    done = await asyncio.gather(*map(again_and_again, (edit, edit, extract, extract, delete, score_all, embed)))
    assert all(done)
    assert await sql.fetchval(MISQUOTED) == 0
    assert await sql.fetchval(BASELESS) == 0
    assert await sql.fetchval("SELECT count(*) FROM extraction_queue WHERE run_id IS NOT NULL") == 0
    ours = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await sql.fetchval(ours) == 0
