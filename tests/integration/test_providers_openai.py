"""Through the official client, OpenAI's answers become vectors, and each failure of such a server its fitting error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import SecretStr

from winnow.domain.providers import Provider, ProviderKind
from winnow.errors import (
    AnswerInvalid,
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    QuotaExhausted,
    SetupFault,
    SomeInvalid,
    TextRefused,
    TextTooLong,
    WinnowError,
)
from winnow.providers.factory import build_embedder_of
from winnow.providers.openai import decode_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers import OpenAIServer
    from winnow.providers.base import Embedder


def embedder_at(url: str, *, key: str | None = "sk-test", timeout: float = 5, first: float = 5) -> Embedder:
    provider = Provider(kind=ProviderKind.OPENAI, name="openai", urls=(url,), api_key=SecretStr(key) if key else None)
    return build_embedder_of(
        provider,
        "text-embedding-3-small",
        document_prefix="",
        query_prefix="query: ",
        first_timeout_seconds=first,
        timeout_seconds=timeout,
    )


@pytest.fixture
async def embedder(openai_server: OpenAIServer) -> AsyncIterator[Embedder]:
    made = embedder_at(openai_server.url)
    yield made
    await made.close()


@pytest.mark.parametrize("way", [None, "floats", "shuffled"])
async def test_vectors_come_in_the_order_of_the_texts_however_they_are_sent(
    openai_server: OpenAIServer, embedder: Embedder, way: Misbehaviour | None
) -> None:
    openai_server.behave(way)
    texts = ["disk full", "lunch", "disk full again"]
    result = await embedder.embed(texts, input_type="document")
    assert result.vectors.dtype == np.float32
    assert np.allclose(result.vectors, [openai_server.vector(text) for text in texts])
    assert result.tokens == 9
    assert openai_server.requests[0].body["encoding_format"] == "base64"


async def test_a_query_has_its_prefix(openai_server: OpenAIServer, embedder: Embedder) -> None:
    await embedder.embed(["disk"], input_type="query")
    assert openai_server.texts == ["query: disk"]


@pytest.mark.parametrize(
    ("misbehaviour", "error", "says"),
    [
        ("busy", ProviderBusy, "server busy"),
        ("rate_limited", ProviderBusy, "Rate limit"),
        ("no_quota", QuotaExhausted, "no quota left"),
        ("key_refused", KeyRefused, "check WINNOW_OPENAI_API_KEY"),
        ("model_missing", ModelNotFound, "text-embedding-3-small"),
        ("not_found", ModelNotFound, "ends in /v1"),
        ("refused", TextRefused, "invalid"),
        ("too_long", TextTooLong, "context length"),
        ("nan_refused", TextRefused, "NaN"),
        ("broken", ProviderUnavailable, "internal server error"),
        ("dropped", ProviderUnavailable, "does not answer"),
        ("cut", ProviderUnavailable, "does not answer"),
        ("redirect", SetupFault, "sends elsewhere"),
        ("web_page", SetupFault, "web page"),
        ("nan", SomeInvalid, "text 2 of 2 has numbers that are not finite"),
        ("zero", SomeInvalid, "text 2 of 2 has zeros only"),
        ("wrong_count", SomeInvalid, "text 2 of 2 did not come"),
        ("wrong_dimension", SomeInvalid, "text 2 of 2 has 63 numbers, most others 64"),
        ("same_index", AnswerInvalid, "which vector belongs to which text"),
    ],
)
async def test_each_failure_has_its_error_and_is_not_tried_again_by_the_client(
    openai_server: OpenAIServer,
    embedder: Embedder,
    misbehaviour: Misbehaviour,
    error: type[WinnowError],
    says: str,
) -> None:
    openai_server.fail_next(misbehaviour)
    with pytest.raises(WinnowError, match=says) as caught:
        await embedder.embed(["one", "two"], input_type="document")
    assert type(caught.value) is error
    assert len(openai_server.requests) == 1
    result = await embedder.embed(["one", "two"], input_type="document")
    assert result.vectors.shape == (2, 64)


@pytest.mark.parametrize(
    ("headers", "seconds"), [({}, 7), ({"retry-after-ms": "2500"}, 2.5), ({"retry-after": "3"}, 3)]
)
async def test_the_servers_wish_is_carried(
    openai_server: OpenAIServer, embedder: Embedder, headers: dict[str, str], seconds: float | None
) -> None:
    openai_server.fail_next("rate_limited", headers=headers)
    with pytest.raises(ProviderBusy) as caught:
        await embedder.embed(["x"], input_type="document")
    assert caught.value.retry_after_seconds == seconds


async def test_a_rate_limit_is_waited_out_but_by_a_search(openai_server: OpenAIServer, embedder: Embedder) -> None:
    for _ in range(3):
        openai_server.fail_next("rate_limited", headers={"retry-after-ms": "20"})
    result = await embedder.embed(["x"], input_type="document")
    assert result.vectors.shape == (1, 64)
    assert len(openai_server.requests) == 4
    openai_server.fail_next("rate_limited", headers={"retry-after-ms": "20"})
    with pytest.raises(ProviderBusy):
        await embedder.embed(["x"], input_type="query")


async def test_the_cap_of_another_server_is_learned_once(openai_server: OpenAIServer, embedder: Embedder) -> None:
    openai_server.max_texts = 32
    texts = [f"message {n}" for n in range(100)]
    await embedder.embed(texts, input_type="document")
    result = await embedder.embed([f"{text} again" for text in texts], input_type="document")
    assert [len(request.texts) for request in openai_server.requests] == [100, 32, 32, 32, 4, 32, 32, 32, 4]
    assert np.allclose(result.vectors[-1], openai_server.vector("message 99 again"))


async def test_a_single_text_that_is_too_large_is_too_long(openai_server: OpenAIServer, embedder: Embedder) -> None:
    openai_server.fail_next("too_large")
    with pytest.raises(TextTooLong):
        await embedder.embed(["one"], input_type="document")


async def test_more_than_openai_takes_goes_in_several_requests(openai_server: OpenAIServer, embedder: Embedder) -> None:
    await embedder.embed([f"{n}" for n in range(2050)], input_type="document")
    assert [len(request.texts) for request in openai_server.requests] == [2048, 2]
    openai_server.requests.clear()
    await embedder.embed([f"{n:04}" * 6000 for n in range(60)], input_type="document")
    assert [len(request.texts) for request in openai_server.requests] == [50, 10], "300,000 tokens of four bytes each"


async def test_an_empty_string_fails_as_it_does_there(embedder: Embedder) -> None:
    with pytest.raises(TextRefused):
        await embedder.embed(["", "fine"], input_type="document")


async def test_a_server_that_cannot_do_base64_is_asked_for_numbers(
    openai_server: OpenAIServer, embedder: Embedder
) -> None:
    openai_server.fail_next("refused", words="encoding_format: base64 is not supported")
    result = await embedder.embed(["x"], input_type="document")
    assert np.allclose(result.vectors[0], openai_server.vector("x"))
    await embedder.embed(["y"], input_type="document")
    assert [request.body["encoding_format"] for request in openai_server.requests] == ["base64", "float", "float"]


async def test_a_server_that_is_not_there_is_weather(openai_server: OpenAIServer, embedder: Embedder) -> None:
    openai_server.stop()
    with pytest.raises(ProviderUnavailable, match=f"{openai_server.url} does not answer"):
        await embedder.embed(["x"], input_type="document")


async def test_the_first_answer_may_take_longer_than_the_later_ones(openai_server: OpenAIServer) -> None:
    embedder = embedder_at(openai_server.url, first=5, timeout=0.2)
    try:
        openai_server.behave("slow", delay_seconds=0.5)
        await embedder.embed(["the model loads"], input_type="document")
        with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.2 s"):
            await embedder.embed(["too slow now"], input_type="document")
    finally:
        await embedder.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{}",
        b'{"data": null}',
        b'{"data": [{"embedding": [1.0]}]}',
        b'{"data": [{"index": 0}]}',
        b'{"data": [{"index": 0, "embedding": null}]}',
        b'{"data": [{"index": 0, "embedding": "%%%"}]}',
        b'{"data": [{"index": 0, "embedding": "AAA="}]}',
        b'{"data": [{"index": "x", "embedding": [1.0]}]}',
        b'{"data": [{"index": null, "embedding": [1.0]}]}',
        b'{"data": [{"index": 1, "embedding": [1.0]}]}',
        b'{"data": [{"index": 0, "embedding": [NaN]}]}',
        b'{"data": [{"index": 0, "embedding": "AADAfw=="}]}',
        b'{"error": {"message": "no"}}',
    ],
)
def test_what_is_no_answer_is_refused(content: bytes) -> None:
    with pytest.raises(AnswerInvalid):
        decode_answer(content, expected=1)


@pytest.mark.parametrize("second", ["null", '"x"', "1.0", "true", "[1]", "{}", "0", "2"])
@pytest.mark.parametrize("expected", [1, 2])
def test_an_index_that_names_no_text_is_refused(second: str, expected: int) -> None:
    items = f'{{"index": 0, "embedding": [1.0]}}, {{"index": {second}, "embedding": [2.0]}}'
    with pytest.raises(AnswerInvalid):
        decode_answer(f'{{"data": [{items}]}}'.encode(), expected=expected)


@pytest.mark.parametrize("usage", ["null", "[]", "[1]", '{"prompt_tokens": "many"}', "7"])
def test_an_unreadable_token_count_costs_no_vector(usage: str) -> None:
    content = '{"data": [{"index": 0, "embedding": [1.0]}], "usage": ' + usage + "}"
    answer = decode_answer(content.encode(), expected=1)
    assert answer.vectors.tolist() == [[1.0]]
    assert answer.tokens is None
