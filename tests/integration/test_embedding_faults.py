"""Whatever the model answers, every row is accounted for: the culprit with its reason, the weather at no cost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from plugins.pipeline import SteeredEmbedder, add_messages, add_row, asking, come_due, job_of
from winnow.bootstrap import build
from winnow.domain.jobs import Kind
from winnow.errors import (
    AnswerInvalid,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    QuotaExhausted,
    TextRefused,
    TextTooLong,
)
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.servers import Servers
from winnow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers import OllamaServer, OpenAIServer
    from winnow.bootstrap import Winnow
    from winnow.pipeline.embed import Embedding
    from winnow.providers.base import EmbeddingResult, InputType
    from winnow.storage.embeddings import EmbeddingStore

M = Kind.MESSAGES


async def seconds_to_wait(sql: asyncpg.Connection, row_id: int) -> float:
    return float(
        await sql.fetchval(
            "SELECT extract(epoch FROM not_before - now()) FROM embedding_jobs WHERE entity_id = $1", row_id
        )
    )


async def test_blank_texts_are_skipped_with_the_reason_and_counted(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["", "one", " \t\n ", "\u00a0\u2003"])
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1, skipped=3)
    assert embedder.calls == [("one",)]
    job = await job_of(sql, ids[2])
    assert (job["state"], job["error_kind"], job["error"]) == ("skipped", "blank", "the text is blank")
    counts = (await store.counts())[M]
    assert (counts.total, counts.embedded, counts.skipped, counts.pending) == (4, 1, 3, 0)
    assert await embed_rows(embedding, M, ids) == Embedded()
    await sql.execute("UPDATE messages SET text = 'words now' WHERE id = $1", ids[0])
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)


async def test_a_blank_topic_is_one_without_name_and_description(embedding: Embedding, sql: asyncpg.Connection) -> None:
    ids = [await add_row(sql, Kind.TOPICS, ""), await add_row(sql, Kind.TOPICS, "name")]
    assert await embed_rows(embedding, Kind.TOPICS, ids) == Embedded(embedded=1, skipped=1)


async def test_only_blank_texts_never_bother_the_model(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    assert await embed_rows(embedding, M, await add_messages(sql, ["", " "])) == Embedded(skipped=2)
    assert not embedder.calls


@pytest.mark.parametrize("error", [TextRefused("odd"), TextTooLong("too long"), AnswerInvalid("NaN")])
async def test_a_refused_batch_is_halved_until_the_culprit_stands_alone(
    error: Exception, embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    texts = [f"text {number}" for number in range(16)]
    texts[11] = "culprit"
    ids = await add_messages(sql, texts)
    embedder.refusals["culprit"] = error
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=15, waiting=1)
    assert len(embedder.calls) <= 1 + 2 * 4 + 1, "halving 16 texts takes four steps of two calls; the culprit, one more"
    assert set(embedder.paid.values()) == {1}, "a neighbour is paid for once"
    job = await job_of(sql, ids[11])
    assert (job["state"], job["attempts"], job["waits"]) == ("waiting", 1, 0)
    assert (job["error_kind"], job["error"]) == (type(error).__name__, str(error))


async def test_two_culprits_are_both_found(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["culprit 1", "one", "two", "three", "culprit 2"])
    embedder.refusals["culprit"] = TextRefused()
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=3, waiting=2)


async def test_a_text_at_fault_fails_after_its_attempts_and_starts_anew_when_changed(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["culprit", "one"])
    embedder.refusals["culprit"] = TextRefused("odd")
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1, waiting=1)
    assert await embed_rows(embedding, M, ids) == Embedded(), "not before it is due"
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(waiting=1)
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(failed=1)
    job = await job_of(sql, ids[0])
    assert (job["state"], job["attempts"], job["error"]) == ("failed", 3, "odd")
    assert (await store.counts())[M].failed == 1
    assert await store.last_error() == f"messages {ids[0]} (failed): odd"
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(), "a failed row is left alone"
    await sql.execute("UPDATE messages SET text = 'mended' WHERE id = $1", ids[0])
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)
    assert await job_of(sql, ids[0]) is None


async def test_weather_costs_no_attempt_and_the_waits_grow(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winnow.domain.backoff.random.random", lambda: 1.0)
    ids = await add_messages(sql, ["one", "two"])
    waits = []
    for _ in range(2):
        embedder.errors = [ProviderUnavailable("away")]
        assert await embed_rows(embedding, M, ids) == Embedded(waiting=2)
        waits.append(await seconds_to_wait(sql, ids[0]))
        await come_due(sql)
    job = await job_of(sql, ids[1])
    assert (job["attempts"], job["waits"], job["error_kind"]) == (0, 2, "ProviderUnavailable")
    assert waits == pytest.approx([2, 4], abs=1)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)


@pytest.mark.parametrize("where", [0, 2, 4])
async def test_a_text_that_brings_the_server_down_is_found_once_the_server_is_well_without_it(
    where: int, embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    texts = ["one", "two", "three", "four"]
    texts.insert(where, "poison")
    ids = await add_messages(sql, texts)
    embedder.refusals["poison"] = ProviderUnavailable("500, as ever")
    for _ in range(2):
        assert await embed_rows(embedding, M, ids) == Embedded(waiting=5)
        await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=4, waiting=1)
    assert set(embedder.paid.values()) == {1}
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(waiting=1)
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(failed=1)
    job = await job_of(sql, ids[where])
    assert (job["attempts"], job["error_kind"], job["error"]) == (3, "ProviderUnavailable", "500, as ever")


async def test_a_text_whose_vector_has_always_another_length_fails_alone(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    class Odd(SteeredEmbedder):
        @override
        async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
            self.dimensions = 7 if list(texts) == ["odd"] else 8
            if "odd" in texts and len(texts) > 1:
                raise AnswerInvalid
            return await SteeredEmbedder.embed(self, texts, input_type=input_type)

    ids = await add_messages(sql, ["one", "odd", "two"])
    tools = asking(embedding, Odd())
    assert await embed_rows(tools, M, ids) == Embedded(embedded=2, waiting=1)
    assert await store.pause() is None, "the model is the same as ever"
    for expected in (Embedded(waiting=1), Embedded(failed=1)):
        await come_due(sql)
        assert await embed_rows(tools, M, ids) == expected
    assert "7 numbers" in (await job_of(sql, ids[1]))["error"]


async def test_the_server_s_own_wish_for_a_pause_is_kept(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    (row_id,) = await add_messages(sql, ["one"])
    embedder.errors = [ProviderBusy("busy", retry_after_seconds=300)]
    await embed_rows(embedding, M, [row_id])
    assert await seconds_to_wait(sql, row_id) == pytest.approx(300, abs=5)


async def test_what_was_answered_before_the_weather_turned_is_kept(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three", "four"])
    embedder.errors = [
        TextRefused()
    ]  # the batch; then its first half is answered, and before the second the server dies
    calls = 0

    async def die(_texts: Sequence[str]) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ProviderUnavailable

    embedder.during = die
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2, waiting=2)
    assert [await job_of(sql, row_id) is None for row_id in ids] == [True, True, False, False]
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)
    assert set(embedder.paid.values()) == {1}


async def test_a_culprit_and_weather_in_one_batch_are_told_apart(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["culprit", "", "two", "three"])
    embedder.refusals["culprit"] = TextRefused()

    async def die(texts: Sequence[str]) -> None:
        if "three" in texts and "culprit" not in texts:
            raise ProviderUnavailable

    embedder.during = die
    done = await embed_rows(embedding, M, ids)
    assert done.taken == 4
    assert (done.skipped, done.failed, done.given_back) == (1, 0, 0)
    culprit, weather = await job_of(sql, ids[0]), await job_of(sql, ids[3])
    assert (culprit["attempts"], weather["attempts"]) == (1, 0)


@pytest.mark.parametrize("error", [ModelNotFound("ollama pull it"), QuotaExhausted("no money left")])
async def test_a_wrong_set_up_waits_with_its_sentence(
    error: Exception, embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    embedder.errors = [error]
    assert await embed_rows(embedding, M, ids) == Embedded(waiting=2)
    assert len(embedder.calls) == 1
    job = await job_of(sql, ids[0])
    assert (job["state"], job["attempts"], job["error"]) == ("waiting", 0, str(error))
    assert str(error) in (await store.last_error() or "")
    pause = await store.pause()
    assert pause is not None
    assert (pause.error_kind, pause.because) == (type(error).__name__, str(error))


async def test_a_cancelled_call_gives_its_rows_back_at_once(
    embedding: Embedding, embedder: SteeredEmbedder, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    thinking = asyncio.Event()

    async def think(_texts: Sequence[str]) -> None:
        thinking.set()
        await asyncio.sleep(60)

    embedder.during = think
    call = asyncio.create_task(embed_rows(embedding, M, ids))
    await thinking.wait()
    assert (await store.counts())[M].in_hand == 2
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs") == 0
    embedder.during = None
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=2)


async def test_a_bug_in_an_embedder_leaves_the_rows_to_the_end_of_their_lease(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one"])
    embedder.errors = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        await embed_rows(embedding, M, ids)
    await come_due(sql)
    assert await embed_rows(embedding, M, ids) == Embedded(embedded=1)


# -- over HTTP


@pytest.fixture
async def over_ollama(database_url: str, ollama_server: OllamaServer) -> AsyncIterator[Winnow]:
    """Winnow with a model server that can misbehave."""
    settings = Settings(_env_file=None, embedder="ollama:nomic-embed-text", ollama_url=ollama_server.url)
    winnow = build(settings, Servers(database_url=database_url, nats_url="nats://127.0.0.1:1"))
    await winnow.spaces.ours()
    yield winnow
    await winnow.close()


def impatient(winnow: Winnow) -> Embedding:
    """Bad weather is not waited out in hand."""
    return replace(winnow.embedding(), patience_seconds=0)


@pytest.mark.parametrize("how", ["nan", "wrong_count", "zero"])
async def test_an_unusable_answer_is_never_stored_and_asked_for_again(
    how: Misbehaviour, over_ollama: Winnow, ollama_server: OllamaServer, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    ollama_server.fail_next(how)
    assert await embed_rows(impatient(over_ollama), M, ids) == Embedded(embedded=3)
    paid = {text.removeprefix("search_document: "): times for text, times in ollama_server.answered.items()}
    looks = paid.pop("dimension")
    assert paid == {"one": 1, "two": 1, "three": 1}, "what can be used of the answer is not asked for again"
    assert looks == (2 if how == "wrong_count" else 1), "it was asked whether the server itself is at fault"


async def test_a_text_whose_vector_is_always_unusable_fails_alone(
    over_ollama: Winnow, ollama_server: OllamaServer, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "dragon", "three"])
    ollama_server.poison("dragon", "nan")
    for expected in (Embedded(embedded=2, waiting=1), Embedded(waiting=1), Embedded(failed=1)):
        assert await embed_rows(impatient(over_ollama), M, ids) == expected
        await come_due(sql)
    assert "not finite" in (await job_of(sql, ids[1]))["error"]


@pytest.mark.parametrize("how", ["busy", "rate_limited", "dropped", "cut", "broken"])
async def test_bad_weather_over_http_costs_nothing(
    how: Misbehaviour, over_ollama: Winnow, ollama_server: OllamaServer, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    ollama_server.behave(how)
    done = await embed_rows(impatient(over_ollama), M, ids)
    assert (done.embedded, done.failed, done.waiting) == (0, 0, 2)
    assert [(await job_of(sql, row_id))["attempts"] for row_id in ids] == [0, 0]
    ollama_server.behave(None)
    await come_due(sql)
    assert (await embed_rows(impatient(over_ollama), M, ids)).embedded == 2


async def test_retry_after_of_a_real_answer_reaches_the_row(
    database_url: str, openai_server: OpenAIServer, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    (row_id,) = await add_messages(sql, ["one"])
    settings = Settings(_env_file=None, embedder="openai:text-embedding-3-small", openai_url=openai_server.url)
    winnow = build(settings, Servers(database_url=database_url, nats_url="nats://127.0.0.1:1"))
    await winnow.spaces.ours()
    openai_server.fail_next("rate_limited", headers={"retry-after": "120"})
    assert await embed_rows(impatient(winnow), M, [row_id]) == Embedded(waiting=1)
    assert await seconds_to_wait(sql, row_id) == pytest.approx(120, abs=5)
    await winnow.close()


async def test_a_killed_server_is_waited_for(
    over_ollama: Winnow, ollama_server: OllamaServer, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    ollama_server.stop()
    assert await embed_rows(impatient(over_ollama), M, ids) == Embedded(waiting=2)
    ollama_server.start()
    await come_due(sql)
    assert await embed_rows(impatient(over_ollama), M, ids) == Embedded(embedded=2)


async def test_a_missing_model_says_what_to_do(
    over_ollama: Winnow, ollama_server: OllamaServer, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    (row_id,) = await add_messages(sql, ["one"])
    ollama_server.models = {"another"}
    assert await embed_rows(impatient(over_ollama), M, [row_id]) == Embedded(waiting=1)
    assert "ollama pull nomic-embed-text" in (await job_of(sql, row_id))["error"]
