"""A server's refusal becomes the one error that says whose fault it is: the text's, the weather's or the set-up's."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import (
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    QuotaExhausted,
    SetupFault,
    TextRefused,
    TextTooLong,
    WinnowError,
)
from winnow.providers import ollama_client, openai_client
from winnow.providers.address import ServerName
from winnow.providers.refusals import (
    batch_cap,
    batch_refused,
    duration_seconds,
    named_context,
    repeats,
    retry_after_seconds,
    says_too_long,
    server_words,
    translate_common,
)

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


OLLAMA = ServerName(shown="Ollama at http://gpu", url_setting="WINNOW_OLLAMA_URL")
OPENAI = ServerName(shown="http://gpu/v1", url_setting="WINNOW_OPENAI_URL", key_setting="WINNOW_OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("status", "words", "error", "says"),
    [
        (503, "server busy, please try again.", ProviderBusy, "busy"),
        (429, "", ProviderBusy, "429"),
        (404, 'model "bge-m3" not found, try pulling it first', ModelNotFound, "run: ollama pull bge-m3"),
        (404, "404 page not found", SetupFault, "no /api/embed"),
        (400, "the input length exceeds the context length", TextTooLong, "context length"),
        (500, "input length exceeds maximum context length", TextTooLong, "context length"),
        (500, 'do embedding request: Post "http://127.0.0.1:1/embedding": EOF', TextTooLong, "died"),
        (400, 'do embedding request: Post "http://127.0.0.1:1/v1/embeddings": EOF', TextTooLong, "died"),
        (400, "do embedding request: Post: dial tcp: connect: connection refused", ProviderUnavailable, "refused"),
        (400, "unexpected server status: llm server loading model", ProviderUnavailable, "loading"),
        (400, "embedding contains NaN or Inf values", TextRefused, "NaN"),
        (400, '"bge-m3" does not support chat', SetupFault, "not one for chats"),
        (500, "llama runner process has terminated: signal: killed", ProviderUnavailable, "terminated"),
        (502, "unexpected EOF", ProviderUnavailable, "502"),
        (400, "failed to encode response: json: unsupported value: NaN", TextRefused, "NaN"),
        (500, "json: unsupported value: NaN", TextRefused, "NaN"),
        (400, "invalid input type", TextRefused, "invalid input type"),
        (400, "this model does not support embeddings", SetupFault, "support embeddings"),
        (501, "this model does not support embeddings", SetupFault, "support embeddings"),
        (413, "", TextTooLong, "413"),
        (401, "", KeyRefused, "WINNOW_OLLAMA_URL"),
        (403, "", KeyRefused, "WINNOW_OLLAMA_URL"),
        (500, "", ProviderUnavailable, "no reason given"),
        (504, "", ProviderUnavailable, "504"),
        (408, "", ProviderUnavailable, "408"),
        (307, "", SetupFault, "sends elsewhere"),
        (405, "", SetupFault, "405"),
    ],
)
def test_ollama_refusals(status: int, words: str, error: type[WinnowError], says: str) -> None:
    refused = ollama_client.translate_refusal(status, words, server=OLLAMA, path="/api/embed", model="bge-m3")
    assert type(refused) is error
    assert says in str(refused)


@pytest.mark.parametrize(
    ("status", "words", "codes", "error", "says"),
    [
        (401, "Incorrect API key provided", "invalid_api_key", KeyRefused, "WINNOW_OPENAI_API_KEY"),
        (403, "", "", KeyRefused, "WINNOW_OPENAI_API_KEY"),
        (400, "API key not valid. Please pass a valid API key.", "", KeyRefused, "WINNOW_OPENAI_API_KEY"),
        (404, "The model `x` does not exist", "model_not_found", ModelNotFound, "(x)"),
        (404, "Not Found", "", ModelNotFound, "ends in /v1"),
        (400, "no such model", "model_not_found", ModelNotFound, "(x)"),
        (400, "Invalid model: Engine for model name x not found.", "", ModelNotFound, "(x)"),
        (429, "You exceeded your current quota", "insufficient_quota", QuotaExhausted, "credit"),
        (429, "Budget has been exceeded! Current cost: 2", "429 budget_exceeded", QuotaExhausted, "credit"),
        (
            400,
            "You passed 5000 input tokens. However, the model's context length is only 4096",
            "",
            TextTooLong,
            "4096",
        ),
        (422, "`inputs` must have less than 512 tokens. Given: 600", "validation", TextTooLong, "512"),
        (402, "Insufficient credits", "", QuotaExhausted, "credit"),
        (429, "Rate limit reached", "rate_limit_exceeded", ProviderBusy, "Rate limit reached"),
        (503, "Loading model", "", ProviderBusy, "Loading model"),
        (503, "maximum context length service", "", ProviderBusy, "busy"),
        (400, "This model's maximum context length is 8192 tokens, however", "", TextTooLong, "8192"),
        (400, "Requested 400000 tokens, max 300000 tokens per request", "", TextTooLong, "300000"),
        (400, "request (302 tokens) exceeds the available context size (256 tokens)", "", TextTooLong, "302"),
        (400, "The response was filtered due to the prompt triggering", "content_filter", TextRefused, "filtered"),
        (429, "Model is overloaded", "overloaded", ProviderBusy, "overloaded"),
        (413, "`inputs` must have less than 512 tokens. Given: 600", "", TextTooLong, "512"),
        (413, "", "", TextTooLong, "413"),
        (500, "input is too large to process. increase the physical batch size", "", TextTooLong, "too large"),
        (400, "'$.input' is invalid.", "invalid_request_error", TextRefused, "input"),
        (422, "", "", TextRefused, "422"),
        (424, "backend failed", "", ProviderUnavailable, "backend failed"),
        (409, "", "", ProviderUnavailable, "409"),
        (500, "", "", ProviderUnavailable, "500"),
        (502, "unexpected EOF, input is too long", "", ProviderUnavailable, "502"),
        (301, "", "", SetupFault, "sends elsewhere"),
        (405, "", "", SetupFault, "405"),
    ],
)
def test_openai_refusals(status: int, words: str, codes: str, error: type[WinnowError], says: str) -> None:
    refused = openai_client.translate_refusal(status, words, codes=codes, server=OPENAI, model="x", retry_after=None)
    assert type(refused) is error
    assert says in str(refused)


@given(st.integers(300, 599), st.text(max_size=60))
def test_every_refusal_has_a_meaning(status: int, words: str) -> None:
    ollama_client.translate_refusal(status, words, server=OLLAMA, path="/api/embed", model="m")
    openai_client.translate_refusal(status, words, codes="", server=OPENAI, model="m", retry_after=1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "bad  news\n"}}, "bad news"),
        ({"message": "bad news", "type": "x"}, "bad news"),
        ({"error": "bad news"}, "bad news"),
        ("bad news", "bad news"),
        ({"detail": "bad news"}, "bad news"),
        ({"detail": [{"msg": "x", "input": "private text"}]}, ""),
        ({"input": "private text"}, ""),
        (None, ""),
        (["private text"], ""),
        ("the key sk-secret is wrong", "the key *** is wrong"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_the_servers_own_words(body: object, words: str) -> None:
    assert server_words(body, secrets=["sk-secret", ""]) == words


@pytest.mark.parametrize(
    ("words", "sent", "cap"),
    [
        ("batch size 100 > maximum allowed batch size 32", 100, 32),
        ("batch size is invalid, it should not be larger than 10.: input.contents", 25, 10),
        ("at most 100 requests can be in one batch", 200, 100),
        ("batch size too large", 100, None),
        ("too many inputs", 3, None),
        ("batch size 100 > maximum allowed batch size 100", 100, None),
        ("", 100, None),
    ],
)
def test_the_batch_cap_is_learned_from_the_refusal(words: str, sent: int, cap: int | None) -> None:
    assert batch_cap(words, sent=sent) == cap


@given(st.text(max_size=80), st.integers(1, 3000))
def test_a_cap_is_always_smaller_than_what_was_sent(words: str, sent: int) -> None:
    cap = batch_cap("batch size " + words, sent=sent)
    assert cap is None or 1 <= cap < sent


@pytest.mark.parametrize(
    ("status", "words", "sent", "cap"),
    [
        (413, "batch size 100 > maximum allowed batch size 32", 100, 32),
        (422, "batch size 100 > maximum allowed batch size 32", 100, 32),
        (400, "too many inputs", 3, None),
        (413, "Request Entity Too Large", 2, None),
        (413, "", 2, None),
        (400, "Requested 400000 tokens, max 300000 tokens per request", 90, None),
    ],
)
def test_a_batch_is_refused_where_its_texts_might_not_be(status: int, words: str, sent: int, cap: int | None) -> None:
    refused = batch_refused(status, words, sent=sent)
    assert refused is not None
    assert refused.cap == cap
    assert batch_refused(status, words, sent=1) is None, "one text is not a batch"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (413, "`inputs` must have less than 512 tokens. Given: 600"),
        (400, "This model's maximum context length is 8192 tokens"),
        (500, "input is too large to process. increase the physical batch size (current batch size: 512)"),
        (400, "input is too large to process. increase the physical batch size"),
        (400, "input (600 tokens) is too large. increase the physical batch size (current batch size: 512)"),
        (400, "'$.input' is invalid."),
        (400, ""),
        (503, "too many inputs"),
    ],
)
def test_a_refused_text_is_no_refused_batch(status: int, words: str) -> None:
    assert batch_refused(status, words, sent=100) is None


@pytest.mark.parametrize(
    ("words", "context"),
    [
        ("This model's maximum context length is 8192 tokens, however you requested 10000 tokens", 8192),
        ("Invalid 'input[0]': maximum input length is 8192 tokens.", 8192),
        ("`inputs` must have less than 512 tokens. Given: 600", 512),
        ("input (600 tokens) is larger than the max context size (512 tokens). skipping", 512),
        ("input is too large to process. increase the physical batch size (current batch size: 512)", 512),
        ("the input length exceeds the context length", None),
        ("Requested 400000 tokens, max 300000 tokens per request", None),
        ("the context length is 0", None),
        ("", None),
    ],
)
def test_a_context_is_learned_from_the_refusal(words: str, context: int | None) -> None:
    assert named_context(words) == context
    if context:
        refused = openai_client.translate_refusal(413, words, codes="", server=OPENAI, model="x", retry_after=None)
        assert isinstance(refused, TextTooLong)
        assert refused.context_tokens == context


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Sat, 31 Jan 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Sat, 31 Jan 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "Sat, 31 Jan 2026 12:00:30"}, None),
        ({"retry-after": "soon"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "120ms"}, None),
    ],
)
def test_when_the_server_wants_to_be_asked_again(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, now=NOW) == seconds


def test_a_date_is_read_by_the_clock_of_the_answer_and_not_by_ours() -> None:
    headers = {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after_seconds(headers, now=NOW) == 30


@pytest.mark.parametrize(
    ("value", "seconds"), [("1h2m3.5s", 3723.5), ("250ms", 0.25), ("", None), ("5", None), ("m", None)]
)
def test_durations(value: str, seconds: float | None) -> None:
    assert duration_seconds(value) == seconds


def test_ordinary_words_are_not_about_length() -> None:
    assert not says_too_long("'$.input' is invalid. Please check the API reference")


def test_what_people_wrote_is_not_repeated() -> None:
    body = {"error": {"message": "This text is refused: our salaries are in the attached table"}}
    words = server_words(body, texts=["short", "our salaries are in the attached table"])
    assert words == "This text is refused: …"
    assert server_words({"error": "the model is gone"}, texts=["model"]) == "the model is gone"


LONG = 'my first secret line is here\nand it\'s a "second" secret line, longer — and some more'


@pytest.mark.parametrize(
    "said",
    [
        LONG,
        repr(LONG),
        json.dumps(LONG),
        json.dumps(LONG, ensure_ascii=False),
        LONG[:40] + "...",
        LONG[9:70],
        LONG * 30,
    ],
)
def test_no_piece_of_a_text_is_repeated_in_whatever_form(said: str) -> None:
    words = server_words({"error": {"message": f"bad input: {said}"}}, texts=["another", LONG])
    assert words.startswith("bad input:")
    assert "secret" not in words
    assert repeats(f"400 {said}", texts=[LONG])


def test_what_shares_little_with_the_texts_is_shown() -> None:
    said = "the input length exceeds the context length"
    assert server_words({"error": said}, texts=[LONG, "the input length"]) == said
    assert not repeats(said, texts=[LONG])


def test_a_server_that_took_too_long_is_no_text_that_is() -> None:
    for status in (500, 504):
        error = translate_common(status, "the upstream took too long to respond", shown="server")
        assert isinstance(error, ProviderUnavailable)
    assert isinstance(translate_common(400, "the text is too long", shown="server"), TextTooLong)


def test_a_request_above_the_tokens_of_a_minute_is_a_batch_to_be_halved() -> None:
    words = "Request too large for m on tokens per min (TPM): Limit 40000, Requested 52000."
    refused = batch_refused(429, words, sent=100)
    assert refused is not None
    assert refused.cap is None
    assert batch_refused(429, "Rate limit reached for m on tokens per min (TPM): Limit 40000", sent=100) is None
