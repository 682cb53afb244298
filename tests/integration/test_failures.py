"""What failed can be looked at, tried again, or left without a vector; nothing else is touched by that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from plugins.pipeline import SteeredEmbedder, add_messages, add_row, asking, job_of, vector_in
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.errors import InvalidInput, QueueUnavailable, TextRefused
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.failures import Chosen, forget, look_at, retry
from winnow.pipeline.search import Searching, search
from winnow.storage.failures import FIRST, FIRST_CHARACTERS, FailureStore, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.pipeline import RecordingDispatcher
    from winnow.pipeline.embed import Embedding
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES


@pytest.fixture
def failures(database: Database) -> FailureStore:
    return FailureStore(database)


@pytest.fixture
async def failed(embedding: Embedding, sql: asyncpg.Connection) -> list[int]:
    """Three messages that the model refused for good, the last of them last."""
    return await refused(embedding, sql, ["bad one", "bad two", "bad three"])


async def refused(embedding: Embedding, sql: asyncpg.Connection, texts: Sequence[str]) -> list[int]:
    ids = await add_messages(sql, texts)
    model = SteeredEmbedder(refusals={text: TextRefused(f"no {text}") for text in texts})
    for row_id in ids:
        done = await embed_rows(replace(asking(embedding, model), max_attempts=1), M, [row_id])
        assert done.failed == 1
    return ids


async def add_job(sql: asyncpg.Connection, kind: Kind, row_id: int, state: str, **values: Any) -> None:
    given = {"error_kind": "x", "error": "y", "space_id": None, "at": None} | values
    await sql.execute(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, error_kind, error, not_before, lease_until, "
        "token) SELECT $1, $2, coalesce($3, (SELECT id FROM embedding_spaces WHERE status = 'active')), $4, $5, $6, "
        "$7, CASE $4 WHEN 'leased' THEN now() + interval '1 hour' END, gen_random_uuid()",
        kind.value, row_id, given["space_id"], state, given["error_kind"], given["error"], given["at"],
    )  # fmt: skip


async def test_what_failed_is_listed_the_latest_first_with_its_reason_and_the_beginning_of_its_text(
    failures: FailureStore, failed: list[int], embedding: Embedding, sql: asyncpg.Connection
) -> None:
    await refused(embedding, sql, ["long " * 1000])
    found = await failures.troubles(limit=10)
    assert [trouble.id for trouble in found[1:]] == failed[::-1]
    first = found[-1]
    assert (first.kind, first.state, first.attempts, first.error_kind) == (M, "failed", 1, "TextRefused")
    assert (first.error, first.text, first.characters) == ("no bad one", "bad one", 7)
    assert (found[0].characters, found[0].text) == (5000, ("long " * 1000)[:FIRST_CHARACTERS])
    assert [one.id for one in await failures.troubles(limit=2)] == [found[0].id, failed[2]]
    assert await failures.troubles(kinds=[Kind.ATOMS, Kind.TOPICS], limit=10) == []
    assert await failures.troubles(state="waiting", limit=10) == []


async def test_pages_follow_one_another_over_all_kinds_even_when_rows_go_meanwhile(
    failures: FailureStore, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    await embedding.spaces.ours()
    moment = datetime.fromisoformat("2026-01-31T09:30:00.123456+00:00")
    for kind in Kind:
        for number in range(3):  # all at one moment: kind and id tell them apart
            await add_job(sql, kind, await add_row(sql, kind, f"bad {number}"), "failed", at=moment)
    seen: list[tuple[str, int]] = []
    place = FIRST
    while page := await failures.troubles(limit=2, before=place):
        seen += [(one.kind.value, one.id) for one in page]
        place = Place.read(str(Place.of(page[-1])))
        assert await failures.retry(page[-1].kind, [page[-1].id]) == [page[-1].id]
    assert len(set(seen)) == len(seen) == 9
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("written", ["", "x", "1-songs-1", "-1-messages-1", "1-messages-1\n", f"{'9' * 17}-atoms-1"])
def test_what_is_no_place_is_refused(written: str) -> None:
    with pytest.raises(InvalidInput, match="next_before"):
        Place.read(written)


async def test_only_rows_without_a_vector_in_the_active_space_count(
    failures: FailureStore, failed: list[int], embedding: Embedding, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    old = await sql.fetchval(
        "INSERT INTO embedding_spaces (provider, model, dimensions, status) VALUES ('a', 'b', 3, 'retired') "
        "RETURNING id"
    )
    await sql.execute("UPDATE embedding_jobs SET space_id = $1 WHERE entity_id = $2", old, failed[0])
    await sql.execute("UPDATE messages SET embedding = array_fill(1, ARRAY[8])::vector WHERE id = $1", failed[1])
    assert [one.id for one in await failures.troubles(limit=10)] == [failed[2]]
    assert (await store.counts())[M].failed == 1
    assert await failures.read(M, failed[0]) is None
    assert await failures.retry(M, failed) == [failed[2]]


async def test_one_row_is_shown_whole_and_with_where_it_is_from(
    failures: FailureStore, database: Database, embedding: Embedding, sql: asyncpg.Connection
) -> None:
    text = "bad\x1b[2J " + "words " * 200
    (row_id,) = await refused(embedding, sql, [text])
    found = await look_at(database, failures, M, row_id)
    assert found is not None
    assert found.message is not None
    assert (found.trouble.text, found.message.channel, found.message.author) == (text, "#team", "ann")
    for kind in (Kind.TOPICS, Kind.ATOMS):
        other = await add_row(sql, kind)
        await add_job(sql, kind, other, "failed")
        shown = await look_at(database, failures, kind, other)
        assert shown is not None
        assert (shown.trouble.id, shown.message) == (other, None)
        assert "some words" in shown.trouble.text
    pending, leased = await add_messages(sql, ["pending", "in hand"])
    await add_job(sql, M, leased, "leased")
    for nothing in (pending, leased, 10**15):
        assert await look_at(database, failures, M, nothing) is None


async def test_a_retry_makes_rows_plainly_pending_and_a_worker_embeds_them(
    failures: FailureStore,
    failed: list[int],
    dispatcher: RecordingDispatcher,
    embedding: Embedding,
    sql: asyncpg.Connection,
) -> None:
    done = await retry(failures, dispatcher, Chosen(kind=M, ids=(failed[2], failed[0], failed[0], 999)), batch_size=10)
    assert (done.ids, done.rows, done.tasks) == ({M: [failed[0], failed[2]]}, 2, 1)
    assert (done.left_out, done.queue_error) == ((999,), None)
    assert dispatcher.calls == [((EmbedJob(M, (failed[0], failed[2])),), Lane.LIVE)]
    assert await job_of(sql, failed[0]) is None
    assert (await job_of(sql, failed[1]))["state"] == "failed"
    (job,) = dispatcher.jobs
    assert (await embed_rows(embedding, M, job.ids)).embedded == 2
    assert await vector_in(sql, M, failed[0]) is not None
    assert await vector_in(sql, M, failed[1]) is None


async def test_a_retry_of_all_takes_what_failed_and_nothing_else(
    failures: FailureStore, failed: list[int], dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    rows = dict(zip(("waiting", "leased", "skipped"), await add_messages(sql, ["a", "b", " "]), strict=True))
    for state, row_id in rows.items():
        await add_job(sql, M, row_id, state)
    topic = await add_row(sql, Kind.TOPICS)
    await add_job(sql, Kind.TOPICS, topic, "failed")
    none = await retry(failures, dispatcher, Chosen(kind=Kind.ATOMS), batch_size=10)
    assert (none.rows, none.tasks) == (0, 0)
    done = await retry(failures, dispatcher, Chosen(), batch_size=2)
    assert done.ids == {M: failed, Kind.TOPICS: [topic], Kind.ATOMS: []}
    assert done.tasks == 3
    assert dispatcher.ids(EmbedJob, M) == failed
    for row_id in rows.values():
        assert await job_of(sql, row_id)


async def test_named_rows_come_back_from_a_wait_and_from_being_forgotten_but_not_from_a_hand_or_a_blank(
    failures: FailureStore, failed: list[int], sql: asyncpg.Connection
) -> None:
    waiting, leased, blank = await add_messages(sql, ["a", "b", " "])
    for row_id, state in ((waiting, "waiting"), (leased, "leased"), (blank, "skipped")):
        await add_job(sql, M, row_id, state, error_kind="blank")
    await failures.forget(M, failed[:1])
    everything = [*failed, waiting, leased, blank]
    assert await failures.retry(M, everything) == [*failed, waiting]
    assert await failures.retry(M, everything) == [waiting], "it keeps its job, for there may be a vector beside it"


async def test_many_go_to_the_bulk_lane_in_tasks_of_the_usual_size(
    failures: FailureStore, embedding: Embedding, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    await embedding.spaces.ours()
    ids = await add_messages(sql, [f"bad {number}" for number in range(230)])
    for row_id in ids:
        await add_job(sql, M, row_id, "failed")
    done = await retry(failures, dispatcher, Chosen(), batch_size=4)
    assert (done.rows, done.tasks, dispatcher.lanes) == (230, 58, {Lane.BULK})
    assert {len(job.ids) for job in dispatcher.jobs} == {4, 2}
    assert max(len(jobs) for jobs, _ in dispatcher.calls) == 50, "a queue is not given thousands of tasks at once"
    assert dispatcher.ids(EmbedJob, M) == ids


async def test_without_nats_the_rows_are_left_to_the_sweeper(
    failures: FailureStore,
    failed: list[int],
    dispatcher: RecordingDispatcher,
    embedding: Embedding,
    store: EmbeddingStore,
) -> None:
    dispatcher.error = QueueUnavailable("NATS is away")
    done = await retry(failures, dispatcher, Chosen(kind=M), batch_size=10)
    assert (done.rows, done.tasks, done.queue_error) == (3, 0, "NATS is away")
    space = await embedding.spaces.ours()
    assert await store.due(M, space=space, age_seconds=60, limit=10) == failed


async def test_an_open_edit_is_neither_waited_for_nor_disturbed(
    failures: FailureStore, failed: list[int], sql: asyncpg.Connection, database_url: str
) -> None:
    editor = await asyncpg.connect(database_url)
    try:
        transaction = editor.transaction()
        await transaction.start()
        await editor.execute("UPDATE messages SET text = 'good' WHERE id = $1", failed[0])
        async with asyncio.timeout(5):
            assert await failures.forget(M, failed[:1]) == []
            assert await failures.retry(M, None) == failed[1:]
        await transaction.commit()
        assert await job_of(sql, failed[0]) is None
    finally:
        await editor.close()


async def test_a_forgotten_row_is_no_work_until_its_text_changes(
    failures: FailureStore, failed: list[int], embedding: Embedding, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    done = await forget(failures, Chosen(kind=M, ids=(failed[0], 999)))
    assert (done.ids, done.left_out) == ({M: failed[:1]}, (999,))
    counts = (await store.counts())[M]
    assert (counts.failed, counts.skipped) == (2, 1)
    job = await job_of(sql, failed[0])
    assert (job["state"], job["error_kind"], job["error"]) == ("skipped", "forgotten", "forgotten by a person")
    assert "forgotten" not in (await store.last_error() or "")

    space = await embedding.spaces.ours()
    await store.forget_failures(M)  # as a backfill begins
    assert failed[0] not in await store.due(M, space=space, age_seconds=0, limit=10)
    assert failed[0] not in await store.without_vector(M, after=0, up_to=10**6, limit=10)
    assert (await embed_rows(embedding, M, failed)).embedded == 2
    assert await vector_in(sql, M, failed[0]) is None

    await sql.execute("UPDATE messages SET text = 'good words', text_changed_at = now() WHERE id = $1", failed[0])
    assert await store.due(M, space=space, age_seconds=0, limit=10) == failed[:1]
    assert (await embed_rows(embedding, M, failed)).embedded == 1


async def test_a_forgotten_row_is_found_by_its_words(
    failures: FailureStore, failed: list[int], embedding: Embedding, database: Database
) -> None:
    await forget(failures, Chosen(kind=M))
    searching = Searching(database=database, spaces=embedding.spaces, vector_weight=0.5)
    answer = await search(searching, "three", kinds=(M,), limit=5)
    assert [hit.record.id for hit in answer.hits] == [failed[2]]


async def test_forgetting_takes_named_rows_that_wait_and_none_in_a_hand(
    failures: FailureStore, embedding: Embedding, sql: asyncpg.Connection, store: EmbeddingStore
) -> None:
    await embedding.spaces.ours()
    waiting, leased, pending = await add_messages(sql, ["a", "b", "c"])
    await add_job(sql, M, waiting, "waiting")
    await add_job(sql, M, leased, "leased")
    assert await failures.forget(M, None) == []
    assert await failures.forget(M, [waiting, leased, pending]) == [waiting]
    assert (await job_of(sql, leased))["state"] == "leased"
