"""Through the official client, Ollama's answers become vectors, and each of its failures the error that fits."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from winnow.domain.providers import Provider, ProviderKind
from winnow.errors import (
    AnswerInvalid,
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    SetupFault,
    SomeInvalid,
    TextRefused,
    TextTooLong,
    WinnowError,
)
from winnow.providers.base import probe_dimensions
from winnow.providers.factory import build_embedder_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers import OllamaServer
    from winnow.providers.base import Embedder


def embedder_at(url: str, *, model: str = "nomic-embed-text", timeout: float = 5, first: float = 5) -> Embedder:
    return build_embedder_of(
        Provider(kind=ProviderKind.OLLAMA, name="ollama", urls=(url,)),
        model,
        document_prefix="search_document: ",
        query_prefix="search_query: ",
        first_timeout_seconds=first,
        timeout_seconds=timeout,
    )


@pytest.fixture
async def embedder(ollama_server: OllamaServer) -> AsyncIterator[Embedder]:
    made = embedder_at(ollama_server.url)
    yield made
    await made.close()


async def test_vectors_come_in_order_with_prefix_and_token_count(
    ollama_server: OllamaServer, embedder: Embedder
) -> None:
    result = await embedder.embed(["disk full", "lunch"], input_type="document")
    expected = [ollama_server.vector(f"search_document: {text}") for text in ("disk full", "lunch")]
    assert np.allclose(result.vectors, expected)
    assert result.tokens == 7
    assert str(embedder.identity) == "ollama:nomic-embed-text"
    await embedder.embed(["disk full"], input_type="query")
    assert ollama_server.texts[-1] == "search_query: disk full"


async def test_nothing_is_cut_silently_and_the_model_stays_loaded(
    ollama_server: OllamaServer, embedder: Embedder
) -> None:
    await embedder.embed(["x"], input_type="document")
    body = ollama_server.requests[0].body
    assert (body["truncate"], body["keep_alive"], body["model"]) == (False, "30m", "nomic-embed-text")


async def test_the_dimension_is_probed(ollama_server: OllamaServer, embedder: Embedder) -> None:
    ollama_server.dimensions = 1024
    assert await probe_dimensions(embedder) == 1024


async def test_a_large_batch_goes_in_portions(ollama_server: OllamaServer, embedder: Embedder) -> None:
    texts = [f"message {n}" for n in range(100)]
    result = await embedder.embed(texts, input_type="document")
    assert np.allclose(result.vectors, [ollama_server.vector(f"search_document: {text}") for text in texts])
    assert [len(request.texts) for request in ollama_server.requests] == [32, 32, 32, 4]


@pytest.mark.parametrize(
    ("misbehaviour", "error", "says"),
    [
        ("busy", ProviderBusy, "server busy"),
        ("rate_limited", ProviderBusy, "Rate limit"),
        ("model_missing", ModelNotFound, "run: ollama pull nomic-embed-text"),
        ("not_found", SetupFault, "no /api/embed"),
        ("key_refused", KeyRefused, "WINNOW_OLLAMA_URL"),
        ("refused", TextRefused, "invalid"),
        ("nan_refused", TextRefused, "NaN"),
        ("too_long", TextTooLong, "context length"),
        ("eof", TextTooLong, "died"),
        ("broken", ProviderUnavailable, "internal server error"),
        ("dropped", ProviderUnavailable, "does not answer"),
        ("cut", ProviderUnavailable, "does not answer"),
        ("redirect", SetupFault, "sends elsewhere"),
        ("web_page", SetupFault, "web page"),
        ("nan", SomeInvalid, "text 2 of 2 has numbers that are not finite"),
        ("zero", SomeInvalid, "text 2 of 2 has zeros only"),
        ("wrong_count", AnswerInvalid, "1 vectors for 2 texts"),
        ("wrong_dimension", SomeInvalid, "text 2 of 2 has 63 numbers, most others 64"),
    ],
)
async def test_each_failure_has_its_error_and_the_next_request_is_well(
    ollama_server: OllamaServer,
    embedder: Embedder,
    misbehaviour: Misbehaviour,
    error: type[WinnowError],
    says: str,
) -> None:
    ollama_server.fail_next(misbehaviour)
    with pytest.raises(WinnowError, match=says) as caught:
        await embedder.embed(["one", "two"], input_type="document")
    assert type(caught.value) is error
    result = await embedder.embed(["one", "two"], input_type="document")
    assert result.vectors.shape == (2, 64)


async def test_a_batch_that_is_too_large_is_asked_for_in_halves_and_one_text_is_too_long(
    ollama_server: OllamaServer, embedder: Embedder
) -> None:
    ollama_server.fail_next("too_large", "too_large", words="Request Entity Too Large")
    result = await embedder.embed([f"message {n}" for n in range(8)], input_type="document")
    assert result.vectors.shape == (8, 64)
    assert [len(request.texts) for request in ollama_server.requests] == [8, 4, 2, 2, 2, 2]
    ollama_server.fail_next("too_large")
    with pytest.raises(TextTooLong, match="413"):
        await embedder.embed(["one"], input_type="document")


async def test_one_bad_text_does_not_make_its_neighbours_pay_twice(
    ollama_server: OllamaServer, embedder: Embedder
) -> None:
    ollama_server.poison("cursed", "nan_refused")
    texts = [*(f"message {n}" for n in range(40)), "cursed"]
    with pytest.raises(TextRefused):
        await embedder.embed(texts, input_type="document")
    await embedder.embed(texts[:40], input_type="document")
    assert set(ollama_server.answered.values()) == {1}
    assert len(ollama_server.answered) == 40


async def test_a_server_that_is_not_there_is_weather_and_how_to_start_it_is_told(
    ollama_server: OllamaServer, embedder: Embedder
) -> None:
    await embedder.embed(["x"], input_type="document")
    ollama_server.stop()
    with pytest.raises(ProviderUnavailable, match=f"Ollama at {ollama_server.url} does not answer.*ollama serve"):
        await embedder.embed(["y"], input_type="document")
    ollama_server.start()
    await embedder.embed(["y"], input_type="document")


async def test_the_first_answer_may_take_longer_than_the_later_ones(ollama_server: OllamaServer) -> None:
    embedder = embedder_at(ollama_server.url, first=5, timeout=0.2)
    try:
        ollama_server.fail_next("slow", "slow", delay_seconds=0.5)
        await embedder.embed(["the model loads"], input_type="document")
        with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.2 s"):
            await embedder.embed(["too slow now"], input_type="document")
        ollama_server.fail_next("slow", delay_seconds=0.5)
        await embedder.embed(["it may have to load again"], input_type="document")
    finally:
        await embedder.close()


async def test_at_most_two_requests_are_in_flight(ollama_server: OllamaServer, embedder: Embedder) -> None:
    ollama_server.delay_seconds = 0.05
    await asyncio.gather(*(embedder.embed([f"{n}"], input_type="document") for n in range(8)))
    assert ollama_server.in_flight_most == 2


async def test_what_it_took_is_told_without_what_failed_calls_took(
    ollama_server: OllamaServer, embedder: Embedder
) -> None:
    texts = [f"message {n}" for n in range(40)]
    result = await embedder.embed([*texts, texts[0]], input_type="document")
    assert (result.requests, result.texts, result.tokens) == (2, 40, 40 * 4)
    assert 0 < result.seconds < 5
    ollama_server.fail_next("broken")
    with pytest.raises(ProviderUnavailable):
        await embedder.embed(["one", "two"], input_type="document")
    again = await embedder.embed(["one", "two"], input_type="document")
    assert (again.requests, again.texts, again.tokens) == (1, 2, 2 * 3)
    assert (await embedder.embed(["three"], input_type="document")).requests == 1


async def test_what_a_provider_says_about_requests_at_once_is_kept(ollama_server: OllamaServer) -> None:
    provider = Provider(kind=ProviderKind.OLLAMA, name="ollama", urls=(ollama_server.url,), at_once=3)
    embedder = build_embedder_of(provider, "bge-m3", first_timeout_seconds=5, timeout_seconds=5)
    ollama_server.delay_seconds = 0.05
    await asyncio.gather(*(embedder.embed([f"{n}"], input_type="document") for n in range(9)))
    assert ollama_server.in_flight_most == 3
    await embedder.close()


async def test_latest_is_the_same_model_and_the_same_space(ollama_server: OllamaServer) -> None:
    embedder = embedder_at(ollama_server.url, model="bge-m3:latest")
    assert embedder.identity.model == "bge-m3"
    await embedder.close()


async def test_no_text_asks_nothing(ollama_server: OllamaServer, embedder: Embedder) -> None:
    result = await embedder.embed([], input_type="document")
    assert len(result.vectors) == 0
    assert not ollama_server.requests


@pytest.mark.parametrize(("model", "context"), [("bge-m3", 8192), ("qwen3-embedding:0.6b", 8192), ("all-minilm", None)])
async def test_a_model_of_long_context_is_loaded_with_it(
    ollama_server: OllamaServer, model: str, context: int | None
) -> None:
    embedder = embedder_at(ollama_server.url, model=model)
    result = await embedder.embed(["word " * 20_000], input_type="document")
    await embedder.close()
    options = ollama_server.requests[0].body.get("options", {})
    assert options.get("num_ctx") == context
    assert 0 < result.characters[0] < 3 * (context or 256)


async def test_an_answer_is_gone_when_it_was_read(ollama_server: OllamaServer) -> None:
    """Nothing of it waits for the collector, whose full rounds come ever more rarely."""
    embedder = embedder_at(ollama_server.url)
    await embedder.embed(["the first"], input_type="document")
    gc.collect()
    gc.disable()
    try:
        await embedder.embed(["one", "two"], input_type="document")
        assert not [left for left in gc.get_objects() if isinstance(left, httpx.Response)]
    finally:
        gc.enable()
        await embedder.close()
