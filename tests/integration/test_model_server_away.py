"""While a model server is away or wrongly set up, nobody asks it but one worker now and then; no row is charged."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from plugins.pipeline import SteeredEmbedder, add_messages, another, come_due, job_of
from winnow.domain.jobs import Kind
from winnow.errors import (
    AnswerInvalid,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    TextRefused,
)
from winnow.pipeline.embed import Embedded, embed_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import asyncpg

    from winnow.pipeline.embed import Embedding
    from winnow.providers.base import EmbeddingResult, InputType
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES


async def test_a_short_spell_is_waited_out_with_the_rows_in_hand(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    embedder.errors = [ProviderBusy("busy", retry_after_seconds=0.1), ProviderUnavailable("away")]
    assert await embed_rows(replace(embedding, patience_seconds=10), M, ids) == Embedded(embedded=2)
    assert len(embedder.calls) == 3
    assert await store.pause() is None


async def test_a_wish_for_a_long_pause_is_not_waited_out_in_hand(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    embedder.errors = [ProviderBusy("busy", retry_after_seconds=40)]
    assert await embed_rows(replace(embedding, patience_seconds=10), M, ids) == Embedded(waiting=1)
    pause = await store.pause()
    assert pause is not None
    assert 30 < pause.seconds_left <= 50
    assert (pause.error_kind, pause.because) == ("ProviderBusy", "busy; the server asks to be left alone for 40 s")


async def test_no_wish_keeps_us_away_for_longer_than_ten_minutes(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    embedder.errors = [ProviderBusy("busy", retry_after_seconds=10_000_000)]
    await embed_rows(embedding, M, await add_messages(sql, ["one"]))
    pause = await store.pause()
    assert pause is not None
    assert 500 < pause.seconds_left <= 610


async def test_during_a_pause_nothing_is_claimed_and_nothing_asked_by_anybody(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    first, second = await add_messages(sql, ["one", "two"])
    embedder.errors = [ModelNotFound("run: ollama pull it")]
    assert await embed_rows(embedding, M, [first]) == Embedded(waiting=1)
    other = another(embedding, database)
    await sql.execute("UPDATE embedding_spaces SET paused_until = now() + interval '1 minute'")
    assert await embed_rows(other, M, [second]) == Embedded()
    assert isinstance(other.spaces.embedder, SteeredEmbedder)
    assert not other.spaces.embedder.calls
    assert (await store.counts())[M].pending == 1
    assert await job_of(sql, second) is None


async def test_one_worker_looks_with_one_word_and_all_go_on(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    embedder.errors = [ProviderUnavailable("away")]
    await embed_rows(embedding, M, ids)
    for expected in (2, 3, 4):
        embedder.probe_error = ProviderUnavailable("still away")
        await come_due(sql)
        assert await embed_rows(embedding, M, ids) == Embedded()
        pause = await store.pause()
        assert pause is not None
        assert (pause.pauses, pause.because) == (expected, "still away")
    assert len(embedder.calls) == 1, "no text was sent to a server that is away"
    embedder.probe_error = None
    await come_due(sql)
    assert await embed_rows(another(embedding, database), M, ids) == Embedded(embedded=3)
    assert await store.pause() is None


async def test_of_many_workers_one_looks(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    embedder.errors = [ProviderUnavailable("away")]
    await embed_rows(embedding, M, ids)
    looks = 0

    class Counting(SteeredEmbedder):
        @override
        async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
            del texts, input_type
            nonlocal looks
            looks += 1
            await asyncio.sleep(0.1)
            raise ProviderUnavailable("still away")

    await come_due(sql)
    workers = [another(embedding, database, Counting()) for _ in range(5)]
    for worker in workers:
        await worker.spaces.ours()
    await asyncio.gather(*(embed_rows(worker, M, ids) for worker in workers))
    assert looks == 1


async def test_a_looker_that_is_stopped_leaves_the_look_to_the_next(
    embedding: Embedding, embedder: SteeredEmbedder, database: Database, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    embedder.errors = [ProviderUnavailable("away")]
    await embed_rows(embedding, M, ids)
    await come_due(sql)
    thinking = asyncio.Event()

    class Thinking(SteeredEmbedder):
        @override
        async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
            del texts, input_type
            thinking.set()
            await asyncio.sleep(60)
            raise AssertionError

    slow = another(embedding, database, Thinking())
    await slow.spaces.ours()
    call = asyncio.create_task(embed_rows(slow, M, ids))
    await thinking.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)


async def test_the_waits_between_looks_grow_to_a_minute(
    embedding: Embedding,
    embedder: SteeredEmbedder,
    store: EmbeddingStore,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.domain.backoff.random.random", lambda: 1.0)
    ids = await add_messages(sql, ["one"])
    await embedding.spaces.ours()
    embedder.errors = [ProviderUnavailable("away")]
    embedder.probe_error = ProviderUnavailable("away")
    waits = []
    for _ in range(8):
        await embed_rows(embedding, M, ids)
        pause = await store.pause()
        assert pause is not None
        waits.append(round(pause.seconds_left))
        await come_due(sql)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("error", [AnswerInvalid("NaN for everything"), TextRefused("400 for everything")])
async def test_a_server_that_cannot_embed_a_plain_word_is_at_fault_itself(
    error: Exception, embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(50)])
    await embedding.spaces.ours()
    embedder.refusals["text"] = error
    embedder.probe_error = error
    assert await embed_rows(embedding, M, ids) == Embedded(waiting=50)
    assert len(embedder.calls) == 1, "the batch, and then one word"
    assert {(await job_of(sql, row_id))["attempts"] for row_id in ids} == {0}
    pause = await store.pause()
    assert pause is not None
    assert "cannot embed even one word" in pause.because
    embedder.refusals.clear()
    embedder.probe_error = None
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=50)


async def test_one_poisoned_text_in_ten_thousand_costs_its_bisection_only(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    texts = [f"text {number}" for number in range(10_000)]
    texts[7_777] = "culprit"
    ids = await add_messages(sql, texts)
    embedder.refusals["culprit"] = TextRefused("odd")
    done = Embedded()
    for start in range(0, len(ids), 100):
        done += await embed_rows(embedding, M, ids[start : start + 100])
    assert done == Embedded(embedded=9_999, waiting=1)
    assert set(embedder.paid.values()) == {1}
    assert len(embedder.calls) <= 100 + 2 * 7 + 1


async def test_a_row_that_its_workers_die_with_is_run_alone_and_in_the_end_left_to_a_person(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["deadly", "one", "two"])
    embedder.refusals["deadly"] = ZeroDivisionError()  # as a kill: nothing is written down
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await embed_rows(embedding, M, ids)
        await come_due(sql)
    for _ in range(20):
        with suppress(ZeroDivisionError):
            await embed_rows(embedding, M, ids)
        await come_due(sql)
    assert all(len(call) == 1 for call in embedder.calls[2:]), "each by itself"
    assert embedder.calls.count(("deadly",)) == 4, "six deaths, two of them with others"
    job = await job_of(sql, ids[0])
    assert (job["state"], job["error_kind"]) == ("failed", "worker_died")
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NOT NULL") == 2


async def test_innocent_rows_whose_workers_died_are_all_done_by_one_task_one_by_one(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    texts = ["one", "two", "three", "four"]
    ids = await add_messages(sql, [*texts, "never died"])
    for text in texts:
        embedder.refusals[text] = ZeroDivisionError()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await embed_rows(embedding, M, ids[:4])
        await come_due(sql)
    embedder.refusals.clear()
    embedder.calls.clear()
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=5)
    assert embedder.calls == [("never died",), *((text,) for text in texts)]
    assert not await sql.fetchval("SELECT count(*) FROM embedding_jobs")


# -- told to whoever listens


class Listening:
    """Remembers what is announced."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Mapping[str, object]]] = []

    async def announce(self, event: str, facts: Mapping[str, object]) -> None:
        self.heard.append((event, facts))


async def test_each_batch_is_announced_with_ids_and_counts_and_no_text(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "one", "culprit", " "])
    embedder.refusals["culprit"] = TextRefused("culprit is odd")
    listening = Listening()
    await embed_rows(replace(embedding, announcer=listening), M, ids)
    (good, complete), (bad, failed) = listening.heard
    assert (good, bad) == ("embed_complete", "embed_failed")
    assert (complete["kind"], complete["ids"], complete["saved"]) == ("messages", ids[:2], 1)
    assert (failed["ids"], failed["waiting"], failed["error_kinds"]) == ([ids[2]], 1, ["TextRefused"])
    assert "culprit" not in str(listening.heard)


# -- what people see and do


async def test_before_there_is_a_space_the_reason_is_shown_too(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    for reason in ("away", "still away"):
        embedder.probe_error = ProviderUnavailable(reason)
        with pytest.raises(ProviderUnavailable):
            await embed_rows(embedding, M, ids)
        pause = await store.pause()
        assert pause is not None
        assert (pause.because, pause.error_kind, pause.seconds_left) == (reason, "ProviderUnavailable", 0)
    embedder.probe_error = None
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
    assert await store.pause() is None


async def test_a_person_who_has_mended_the_server_need_not_wait(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    embedder.errors = [ProviderBusy("busy", retry_after_seconds=500)]
    await embed_rows(embedding, M, ids)
    pause = await store.pause()
    assert pause is not None
    assert pause.because == "busy; the server asks to be left alone for 500 s"
    await store.forget_failures(M)
    assert await embed_rows(embedding, M, ids) == Embedded()
    await store.look_now()
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
