"""A run's knowledge is committed whole or not at all, and no message is ever read by two runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from plugins.extraction import NOTHING, an_atom_a_message, atom, left, numbers
from plugins.pipeline import SteeredExtractor, add_messages, incoming
from winnow.domain.jobs import Asked, EmbedJob, Kind, Lane
from winnow.domain.knowledge import ExtractedLink, Extraction, LinkType
from winnow.errors import ModelNotFound, Permanent, ProviderUnavailable, QueueUnavailable
from winnow.pipeline.extract import Extracted, always, extract_knowledge
from winnow.pipeline.ingest import ingest
from winnow.providers.rules import RuleExtractor
from winnow.storage.runs import Wanted, waiting_messages
from winnow.storage.status import knowledge_counts

if TYPE_CHECKING:
    import asyncpg

    from plugins.pipeline import RecordingDispatcher
    from winnow.domain.knowledge import Window
    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork


async def test_all_of_a_run_is_stored_and_promised(
    extracting: Extracting, extractor: SteeredExtractor, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    extractor.answer = an_atom_a_message
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(done=1, messages=3, atoms=6)
    assert await numbers(sql) == {
        "atoms": 6, "atom_links": 3, "atom_evidence": 6, "topics": 1, "extraction_queue": 0
    }  # fmt: skip
    run = await sql.fetchrow("SELECT * FROM extraction_runs")
    assert (run["state"], run["atoms"], run["topics"], run["links"]) == ("done", 6, 1, 3)
    assert (run["extractor"], run["message_ids"], run["lease_until"]) == ("steered", ids, None)
    atom_ids = [row["id"] for row in await sql.fetch("SELECT id FROM atoms")]
    topic_id = await sql.fetchval("SELECT id FROM topics WHERE name = 'releases'")
    await extracting.units.drain()
    assert sorted(dispatcher.ids(EmbedJob, Kind.ATOMS)) == sorted(atom_ids)
    assert dispatcher.ids(EmbedJob, Kind.TOPICS) == [topic_id]
    assert dispatcher.ids(EmbedJob, Kind.MESSAGES) == ids
    assert dispatcher.lanes == {Lane.LIVE}
    assert {row["topic_id"] for row in await sql.fetch("SELECT topic_id FROM messages")} == {topic_id}
    links = await sql.fetch(
        "SELECT s.type AS source, g.type AS target, l.type FROM atom_links l "
        "JOIN atoms s ON s.id = source_id JOIN atoms g ON g.id = target_id"
    )
    assert {tuple(row) for row in links} == {("solution", "problem", "solves")}


async def test_nothing_is_found_twice(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted()
    assert len(extractor.windows) == 1


@pytest.mark.parametrize(
    ("error", "failures"), [(ProviderUnavailable("away"), 0), (ModelNotFound("pull it"), 0), (Permanent("cannot"), 1)]
)
async def test_an_extractor_that_fails_gives_the_messages_back_and_the_next_window_its_turn(
    error: Exception,
    failures: int,
    *,
    extracting: Extracting,
    extractor: SteeredExtractor,
    dispatcher: RecordingDispatcher,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, ["culprit", "two"], channel="#a") + await add_messages(sql, ["three"], channel="#b")

    async def fail(window: Window) -> None:
        if window.channel == "#a":
            raise error

    extractor.during, extractor.answer = fail, an_atom_a_message
    assert await extract_knowledge(extracting, ids, lane=Lane.BULK) == Extracted(done=1, failed=1, messages=1, atoms=2)
    run = await sql.fetchrow("SELECT * FROM extraction_runs WHERE channel = '#a'")
    assert (run["state"], run["error"]) == ("failed", str(error))
    assert await left(sql) == [(ids[0], None, failures), (ids[1], None, failures)]
    await extracting.units.drain()
    assert dispatcher.ids(EmbedJob, Kind.MESSAGES) == [ids[2]]
    extractor.during = None
    assert await extract_knowledge(extracting, ids, lane=Lane.BULK) == Extracted(done=1, messages=2, atoms=4)


async def test_a_bug_is_raised_and_leaves_no_half(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    extractor.answer = lambda _window: 1 / 0  # type: ignore[assignment,return-value]
    with pytest.raises(ZeroDivisionError):
        await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert await sql.fetchval("SELECT error FROM extraction_runs") == "ZeroDivisionError: division by zero"
    assert await left(sql) == [(ids[0], None, 1)]


@pytest.mark.parametrize("table", ["topics", "atoms", "atom_evidence", "atom_links", "extraction_runs"])
async def test_a_commit_that_fails_at_any_table_leaves_nothing(
    table: str,
    extracting: Extracting,
    extractor: SteeredExtractor,
    dispatcher: RecordingDispatcher,
    sql: asyncpg.Connection,
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    extractor.answer = an_atom_a_message
    await sql.execute("CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$")
    when = "new.state = 'done'" if table == "extraction_runs" else "true"
    await sql.execute(
        f"CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION fail()"
    )
    with pytest.raises(Exception, match="no room"):
        await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert await numbers(sql) == NOTHING | {"extraction_queue": 2}
    await extracting.units.drain()
    assert dispatcher.jobs == []
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE topic_id IS NOT NULL") == 0
    await sql.execute("DROP FUNCTION fail CASCADE")
    assert (await extract_knowledge(extracting, ids, lane=Lane.LIVE)).atoms == 4


async def test_a_quote_of_a_message_deleted_meanwhile_fails_the_run_and_no_more(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])

    async def delete(_window: Window) -> None:
        await sql.execute("DELETE FROM messages WHERE id = $1", ids[0])

    extractor.during, extractor.answer = delete, an_atom_a_message
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(failed=1)
    assert await left(sql) == [(ids[1], None, 0)]
    extractor.during = None
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(done=1, messages=1, atoms=2)


async def test_a_hook_that_fails_changes_nothing_about_the_extraction(
    extracting: Extracting, extractor: SteeredExtractor, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    extractor.answer, dispatcher.error = an_atom_a_message, QueueUnavailable()
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(done=1, messages=1, atoms=2)
    await extracting.units.drain()
    assert await sql.fetchval("SELECT value FROM counters WHERE name = 'hook.failed'") == 1


async def test_twins_of_two_windows_become_one_atom_with_the_evidence_of_both(
    extracting: Extracting, extractor: SteeredExtractor, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["The build fails"], channel="#a") + await add_messages(
        sql, ["the BUILD fails"], channel="#b"
    )
    extractor.answer = lambda window: Extraction(
        atoms=tuple(atom(message.id, message.text, message.text) for message in window.messages)
    )
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    (found,) = await sql.fetch("SELECT id, content FROM atoms")
    assert found["content"] == "The build fails"
    evidence = await sql.fetch("SELECT message_id, quote FROM atom_evidence WHERE atom_id = $1", found["id"])
    assert {tuple(row) for row in evidence} == {(ids[0], "The build fails"), (ids[1], "the BUILD fails")}
    await extracting.units.drain()
    assert dispatcher.ids(EmbedJob, Kind.ATOMS) == [found["id"]] * 2, "a grown atom is promised, too"


async def test_a_link_between_twins_that_became_one_atom_is_left_out(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    extractor.answer = lambda _window: Extraction(
        atoms=(atom(ids[0], "same", "one"), atom(ids[0], "SAME", "one")),
        links=(ExtractedLink(source=0, target=1, type=LinkType.SUPPORTS, confidence=1),),
    )
    assert await extract_knowledge(extracting, ids, lane=Lane.LIVE) == Extracted(done=1, messages=1, atoms=1)
    assert await sql.fetchval("SELECT links FROM extraction_runs") == 0


async def test_a_topic_that_exists_is_used_again(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    extractor.answer = an_atom_a_message
    for text in ("one", "two"):
        await extract_knowledge(extracting, await add_messages(sql, [text]), lane=Lane.LIVE)
    assert await sql.fetchval("SELECT count(*) FROM topics") == 1


async def test_a_window_is_shown_what_was_said_before_it(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(5)])
    await extract_knowledge(extracting, ids[3:], lane=Lane.LIVE)
    (window,) = extractor.windows
    assert [message.id for message in window.context] == ids[1:3]
    assert [message.id for message in window.messages] == ids[3:]
    assert all(0 <= message.importance <= 1 for message in window.messages), "unscored messages are scored on the way"


TALK = """We have to decide how to ship the release.
The build fails on Windows because the path is too long.
RESOLVED: We will use Postgres for storage
ACTION: bob to write the migration guide by Friday
Can somebody explain how the backfill works?
I fixed the build by shortening the path.
мы решили перенести релиз на пятницу
🙂 emoji first: The proposal is to drop Python 3.10""".splitlines()


async def test_the_built_in_extractor_s_quotes_are_the_messages_own_words(
    extracting: Extracting, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    stored = await ingest(units, [incoming(number, text) for number, text in enumerate(TALK)], lane=Lane.LIVE)
    tools = replace(extracting, extractor_for=always(RuleExtractor()))
    assert (await extract_knowledge(tools, stored.ids, lane=Lane.LIVE)).atoms > 0
    evidence = await sql.fetch("SELECT e.*, m.text FROM atom_evidence e JOIN messages m ON m.id = e.message_id")
    assert evidence
    for row in evidence:
        assert row["text"][row["start_char"] : row["end_char"]] == row["quote"]
    proven = await sql.fetchval(
        "SELECT count(*) FROM atoms a WHERE EXISTS (SELECT FROM atom_evidence WHERE atom_id = a.id)"
    )
    assert proven == await sql.fetchval("SELECT count(*) FROM atoms")


async def test_the_counts_of_knowledge_tell_where_it_stands(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    extractor.answer = an_atom_a_message

    async def look(_window: Window) -> None:
        counts = await knowledge_counts(database)
        assert (counts.messages_waiting, counts.messages_in_hand, dict(counts.runs)) == (1, 2, {"running": 1})

    extractor.during = look
    await extract_knowledge(extracting, ids[:2], lane=Lane.LIVE)
    counts = await knowledge_counts(database)
    assert (counts.messages_waiting, counts.messages_in_hand, dict(counts.runs)) == (1, 0, {"done": 1})
    assert dict(counts.atoms) == {"problem": 2, "solution": 2}


async def test_what_fails_too_often_is_left_aside_and_still_given_to_who_asks(
    extracting: Extracting, extractor: SteeredExtractor, database: Database, sql: asyncpg.Connection
) -> None:
    poison, good = await add_messages(sql, ["poison", "good"])
    extractor.during = _refuse
    for failures in (1, 2, 3):
        assert await due(extracting) == [poison, good]
        await extract_knowledge(extracting, [poison], lane=Lane.LIVE)
        assert await left(sql) == [(poison, None, failures), (good, None, 0)]
    assert await due(extracting) == [good]
    counts = await knowledge_counts(database)
    assert (counts.messages_waiting, counts.messages_in_hand, counts.messages_failed) == (1, 0, 1)
    found = await waiting_messages(database, Wanted(), limit=10)
    assert [one.ids for one in found] == [(poison, good)], "by hand: all"
    extractor.during = None
    sweeper_s = await extract_knowledge(extracting, [poison], lane=Lane.LIVE, asked=Asked.QUIET)
    assert sweeper_s == Extracted(), "a task of the sweeper's that comes late"
    assert await extract_knowledge(extracting, [poison], lane=Lane.LIVE) == Extracted(done=1, messages=1)
    assert (await knowledge_counts(database)).messages_failed == 0


async def _refuse(_window: Window) -> None:
    raise Permanent


async def due(extracting: Extracting) -> list[int]:
    found = await extracting.store.due(threshold=1, quiet_seconds=0, failed_pause_seconds=0)
    return [row for channel in found for row in channel.ids]


async def test_a_run_stores_the_scores_that_no_scoring_task_has_stored(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["RESOLVED: we use Postgres", "the build fails", "edited by hand"], judged=False)
    await sql.execute("UPDATE messages SET importance = 0.125, signal = 'mine' WHERE id = $1", ids[2])
    extractor.answer = lambda _window: Extraction(
        atoms=(atom(ids[1], "a", "the"),), message_topics={ids[1]: "releases"}
    )
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    rows = await sql.fetch("SELECT importance, signal, topic_id IS NOT NULL AS filed FROM messages ORDER BY id")
    assert [row["filed"] for row in rows] == [False, True, False]
    assert (rows[2]["importance"], rows[2]["signal"]) == (0.125, "mine")
    (window,) = extractor.windows
    assert [row["importance"] for row in rows] == pytest.approx([message.importance for message in window.messages])
    assert all(row["signal"] for row in rows)


async def test_a_score_that_comes_while_the_extractor_thinks_stays(
    extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"], judged=False)

    async def score(_window: Window) -> None:
        await sql.execute("UPDATE messages SET importance = 0.125, signal = 'mine'")

    extractor.during = score
    await extract_knowledge(extracting, ids, lane=Lane.LIVE)
    assert tuple(await sql.fetchrow("SELECT importance, signal FROM messages")) == (0.125, "mine")
