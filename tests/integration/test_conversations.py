"""Stored messages are joined to their conversations, whenever and in whatever order they and their jobs come."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from plugins.pipeline import RecordingDispatcher, add_messages, incoming
from winnow.domain.jobs import Lane, ScoreJob
from winnow.domain.messages import Details
from winnow.domain.scoring import score
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.forget import by_ids, forget
from winnow.pipeline.ingest import ingest
from winnow.pipeline.score import Scoring, score_messages
from winnow.pipeline.sweep import UNJUDGED_SECONDS
from winnow.storage.threads import save_links, unjudged_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from plugins.pipeline import SteeredExtractor
    from winnow.domain.messages import IncomingMessage
    from winnow.pipeline.extract import Extracting
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork

TALK = (
    ("ann", "Does anybody know how to rotate the logs of the proxy?"),
    ("cat", "How do I build the importer on Windows?"),
    ("bob", "ann: there is a timer for that"),
    ("dan", "cat: with the batch file in tools"),
    ("ann", "bob: thanks, found it"),
    ("cat", "dan: it says access denied"),
)


@pytest.fixture
def scoring(database: Database, units: UnitsOfWork) -> Scoring:
    return Scoring(database=database, units=units)


def talk(*, first: int = 0, channel: str = "#team") -> list[IncomingMessage]:
    return [
        incoming(first + number, text, author=author, channel=channel) for number, (author, text) in enumerate(TALK)
    ]


async def store(units: UnitsOfWork, *messages: IncomingMessage) -> list[int]:
    done = await ingest(units, messages, lane=Lane.LIVE)
    return list(done.ids)


async def told(sql: asyncpg.Connection) -> dict[str, Any]:
    """By external id: the external ids of the conversation and the parent, and the vote."""
    rows = await sql.fetch(
        """
        SELECT m.external_id AS id, c.external_id AS conversation, p.external_id AS parent, t.vote, t.reason
        FROM message_threads t JOIN messages m ON m.id = t.message_id
        LEFT JOIN messages c ON c.id = t.conversation_id LEFT JOIN messages p ON p.id = t.parent_id
        """
    )
    return {row["id"]: row for row in rows}


def conversations(found: dict[str, Any], count: int = len(TALK)) -> list[str]:
    return [found[str(number)]["conversation"] for number in range(count)]


async def test_a_batch_and_one_message_at_a_time_make_the_same_conversations(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    assert await score_messages(scoring, await store(units, *talk())) == len(TALK)
    at_once = await told(sql)
    assert conversations(at_once) == ["0", "1", "0", "1", "0", "1"]
    await sql.execute("TRUNCATE messages CASCADE")
    for message in talk():
        await score_messages(scoring, await store(units, message))
    assert await told(sql) == at_once


async def test_a_second_time_changes_nothing(scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    ids = await store(units, *talk())
    await asyncio.gather(*(score_messages(scoring, ids) for _ in range(4)))
    before = await told(sql)
    assert await score_messages(scoring, ids) == 0
    assert await told(sql) == before


async def test_a_later_batch_that_comes_first_links_what_was_said_before_it_too(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    ids = await store(units, *talk())
    assert await score_messages(scoring, ids[3:]) == 3
    assert conversations(await told(sql)) == ["0", "1", "0", "1", "0", "1"]
    assert await score_messages(scoring, ids[:3]) == 0


async def test_what_arrives_late_joins_what_was_said_before_it(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    messages = talk()
    late = messages.pop(3)
    await score_messages(scoring, await store(units, *messages))
    await score_messages(scoring, await store(units, late))
    assert (await told(sql))["3"]["parent"] == "1"


async def test_messages_far_apart_in_one_job_are_each_linked_where_they_were_said(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    between = [incoming(number, author=f"p{number}") for number in range(100, 700)]
    far = [incoming(5000, "dan: still denied", author="cat"), incoming(4999, "cat: which account?", author="dan")]
    await score_messages(scoring, await store(units, *between))
    ids = await store(units, *talk(), *far)
    assert await score_messages(scoring, ids) == len(TALK) + 2
    found = await told(sql)
    assert conversations(found) == ["0", "1", "0", "1", "0", "1"]
    assert found["5000"]["parent"] == "4999"


async def test_a_reply_is_linked_however_far_back_and_its_conversation_follows_when_that_is_joined_later(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    old = await store(units, *talk())
    (answer,) = await store(units, incoming(9000, "it was the umask", author="eve", reply_to="5"))
    await score_messages(scoring, [answer])
    assert ((await told(sql))["9000"]["parent"], (await told(sql))["9000"]["conversation"]) == ("5", "5")
    await score_messages(scoring, old)
    assert (await told(sql))["9000"]["conversation"] == (await told(sql))["5"]["conversation"] == "1"


async def test_threads_of_the_source_hang_on_their_message_and_topics_do_not(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    ids = await store(
        units,
        incoming(1, "Release on Friday?", author="ann", thread="1"),
        incoming(2, "topic", author="ann", details=Details(service="topic_created")),
        incoming(3, "fine", author="bob", thread="1"),
        incoming(4, "does anybody use the new editor?", author="cat", thread="2"),
        incoming(5, "hello, where is the style guide?", author="dan", thread="2"),
    )
    await score_messages(scoring, ids)
    found = await told(sql)
    assert [found[str(number)]["conversation"] for number in (1, 2, 3, 4, 5)] == ["1", "2", "1", "4", "5"]


async def test_channels_are_worlds_of_their_own(scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection) -> None:
    here, there = talk(), [replace(one, external_id=f"x{one.external_id}") for one in talk(channel="#other")]
    mixed = [message for pair in zip(here, there, strict=True) for message in pair]
    await score_messages(scoring, await store(units, *mixed))
    found = await told(sql)
    assert conversations(found) == ["0", "1", "0", "1", "0", "1"]
    assert found["x4"]["conversation"] == "x0"


async def test_votes_raise_what_they_are_on_once_for_each_person(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    ids = await store(units, incoming(1, "lunch on Friday then", author="ann"))
    await score_messages(scoring, ids)
    before = await sql.fetchval("SELECT importance FROM messages")
    votes = [incoming(number, "+1", author=f"p{number % 3}", reply_to="1") for number in range(2, 8)]
    for one in votes:
        await score_messages(scoring, await store(units, one))
    row = await sql.fetchrow(
        "SELECT importance, (factors->>'votes')::float AS votes FROM messages WHERE id = $1", ids[0]
    )
    assert row["votes"] == 0.15
    assert row["importance"] == pytest.approx(before + 0.15, abs=0.001)
    against = await store(units, incoming(9, "-1", author="p0", reply_to="1"))
    await score_messages(scoring, against)
    assert await sql.fetchval("SELECT (factors->>'votes')::float FROM messages WHERE id = $1", ids[0]) == 0.05


async def test_noise_leaves_the_queue_and_comes_back_when_people_vote_for_it(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    ids = await store(
        units,
        incoming(1, "", author="ann", details=Details(media="photo")),
        incoming(2, "The disk of the build server is full again", author="bob"),
    )
    await score_messages(scoring, ids)
    assert [row[0] for row in await sql.fetch("SELECT message_id FROM extraction_queue")] == ids[1:]
    states = await sql.fetch("SELECT state FROM message_states ORDER BY id")
    assert [row["state"] for row in states] == ["noise", "waiting"]
    votes = [incoming(number, "👍", author=f"p{number}", reply_to="1") for number in (3, 4)]
    await score_messages(scoring, await store(units, *votes))
    assert await sql.fetchval("SELECT signal FROM messages WHERE id = $1", ids[0]) == "weak"
    assert ids[0] in [row[0] for row in await sql.fetch("SELECT message_id FROM extraction_queue")]


async def test_what_was_read_and_is_voted_down_and_up_again_is_not_read_twice(
    scoring: Scoring, extracting: Extracting, extractor: SteeredExtractor, sql: asyncpg.Connection
) -> None:
    units = extracting.units
    (row,) = await store(units, incoming(1, "lunch is at noon", author="ann"))
    await score_messages(scoring, [row])
    await extract_knowledge(extracting, [row], lane=Lane.LIVE)
    assert len(extractor.windows) == 1
    for first, sign, is_noise in ((100, "-1", True), (200, "+1", False)):
        votes = [incoming(first + person, sign, author=f"p{person}", reply_to="1") for person in range(9)]
        await score_messages(scoring, await store(units, *votes))
        assert await sql.fetchval("SELECT signal = 'noise' FROM messages WHERE id = $1", row) is is_noise
    assert await sql.fetchval("SELECT count(*) FROM extraction_queue WHERE message_id = $1", row) == 0


async def test_what_is_deleted_meanwhile_is_in_nobody_s_way(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    ids = await store(units, *talk())
    await sql.execute("DELETE FROM messages WHERE id = $1", ids[0])
    await score_messages(scoring, ids)
    await sql.execute("DELETE FROM messages WHERE id = $1", ids[1])
    found = await told(sql)
    assert set(found) == {"2", "3", "4", "5"}
    assert found["3"]["parent"] is None


async def test_extraction_reads_no_noise_and_has_linked_what_no_job_came_for(
    extracting: Extracting,
    extractor: SteeredExtractor,
    dispatcher: RecordingDispatcher,
    units: UnitsOfWork,
    sql: asyncpg.Connection,
) -> None:
    ids = await store(units, incoming(1, "q+"), incoming(2, "The build fails since noon"))
    await units.drain()
    dispatcher.calls.clear()
    unscored = await add_messages(sql, ["...", "The proxy fails at every second request since noon"], judged=False)
    await extract_knowledge(extracting, [*ids, *unscored], lane=Lane.LIVE)
    await units.drain()
    assert [message.id for window in extractor.windows for message in window.messages] == [ids[1], unscored[1]]
    assert dispatcher.ids(ScoreJob) == [ids[1], unscored[1]]
    kinds = await sql.fetch("SELECT signal FROM messages WHERE id = ANY($1) ORDER BY id", unscored)
    assert [row["signal"] for row in kinds] == ["noise", "signal"]
    queued = await sql.fetch("SELECT message_id FROM extraction_queue WHERE message_id = ANY($1)", unscored)
    assert [row["message_id"] for row in queued] == unscored[:1], "noise waits for its conversation there"


async def test_what_waits_long_without_score_or_conversation_is_found(
    database: Database, sql: asyncpg.Connection
) -> None:
    lost = await add_messages(sql, ["a", "b"], judged=False)
    await add_messages(sql, ["c"])
    await add_messages(sql, ["d"], judged=False, hours_ago=0)
    assert await unjudged_messages(database, age_seconds=UNJUDGED_SECONDS, limit=10) == lost


def shuffled(messages: Sequence[IncomingMessage]) -> list[IncomingMessage]:
    return [*messages[1::2], *messages[::2]]


async def test_jobs_in_any_order_at_once_link_everything(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    messages = [message for part in range(20) for message in talk(first=part * 100)]
    ids = await store(units, *shuffled(messages))
    jobs = [ids[start : start + 7] for start in range(0, len(ids), 7)]
    await asyncio.gather(*(score_messages(scoring, job) for job in reversed(jobs)))
    assert await sql.fetchval("SELECT count(*) FROM message_threads") == len(messages)
    assert not await sql.fetchval(
        "SELECT count(*) FROM message_threads t JOIN message_threads p ON p.message_id = t.parent_id "
        "WHERE t.conversation_id <> p.conversation_id"
    )


async def test_a_vote_that_is_edited_or_removed_no_longer_counts(
    scoring: Scoring, units: UnitsOfWork, database: Database, sql: asyncpg.Connection
) -> None:
    said = incoming(0, "Does anybody know how to rotate the logs of the proxy?")
    ids = await store(units, said, *(incoming(n, "+1", author=f"p{n}", reply_to="0") for n in (1, 2, 3)))
    await score_messages(scoring, ids)
    before = score(said.text, "ann").importance

    async def votes() -> tuple[float, float | None]:
        row = await sql.fetchrow("SELECT importance, (factors->>'votes')::float8 FROM messages WHERE id = $1", ids[0])
        return round(row[0] - before, 3), row[1]

    assert await votes() == (0.15, 0.15)
    await forget(units, database, by_ids(ids[1:2]))
    assert await votes() == (0.1, 0.1)
    day = datetime(2025, 6, 1, tzinfo=UTC)
    edit = incoming(2, "is there a timer for that?", author="p2", reply_to="0", edited_at=day)
    await ingest(units, [edit], lane=Lane.LIVE)
    assert await votes() == (0.05, 0.05)
    await score_messages(scoring, ids[2:3])
    assert await votes() == (0.05, 0.05)
    await forget(units, database, by_ids(ids[3:]))
    assert await votes() == (0.0, None)


async def test_who_edits_while_messages_are_linked_has_the_new_words_linked(
    scoring: Scoring, units: UnitsOfWork, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = incoming(0, "Does anybody know how to rotate the logs of the proxy?")
    ids = await store(units, said, incoming(1, "+1", author="bob", reply_to="0"))
    edit = incoming(1, "-1", author="bob", reply_to="0", edited_at=datetime(2025, 6, 1, tzinfo=UTC))
    editing: list[asyncio.Task[Any]] = []

    async def meanwhile(*given: Any) -> None:
        editing.append(asyncio.create_task(ingest(units, [edit], lane=Lane.LIVE)))
        while not editing[0].done():
            if await sql.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                break
            await asyncio.sleep(0.01)
        await save_links(*given)

    monkeypatch.setattr("winnow.pipeline.score.save_links", meanwhile)
    await score_messages(scoring, ids)
    monkeypatch.undo()
    await editing[0]
    await score_messages(scoring, ids)
    assert (await told(sql))["1"]["vote"] == -1
