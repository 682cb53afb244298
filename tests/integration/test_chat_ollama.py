"""A prompt to an Ollama server is read whole and answered by the schema, or there is an error that says why not."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

import pytest

from plugins.model_servers_chat import ChatAnswer, ShownModel
from winnow.errors import (
    AnswerInvalid,
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    SetupFault,
    TextRefused,
    TextTooLong,
    WinnowError,
)
from winnow.providers.address import parse_address
from winnow.providers.ollama_chat import OllamaChat, decode_completion
from winnow.providers.ollama_client import OllamaServer as OllamaConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers_chat import OllamaChatServer

SCHEMA = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}


def chat_at(url: str, *, model: str = "qwen3:4b", timeout: float = 5, first: float = 5) -> OllamaChat:
    return OllamaChat(
        server=OllamaConnection(parse_address(url, setting="WINNOW_OLLAMA_URL")),
        model=model,
        first_timeout_seconds=first,
        timeout_seconds=timeout,
    )


@pytest.fixture
async def chat(ollama_chat_server: OllamaChatServer) -> AsyncIterator[OllamaChat]:
    made = chat_at(ollama_chat_server.url)
    yield made
    await made.close()


def words(number: int) -> str:
    return " ".join(f"word{n}" for n in range(number))


async def test_an_answer_comes_with_what_it_took(ollama_chat_server: OllamaChatServer, chat: OllamaChat) -> None:
    ollama_chat_server.chat_answers = ['{"what": "disk full"}']
    answer = await chat.complete(system="Find.", prompt="the disk is full", schema=SCHEMA, max_output_tokens=100)
    assert answer.text == '{"what": "disk full"}'
    assert (answer.model, chat.name) == ("qwen3:4b", "ollama:qwen3:4b")
    assert not answer.truncated
    assert answer.output_tokens == 4
    assert answer.input_tokens is not None
    assert answer.input_tokens > 5
    assert answer.seconds > 0


async def test_the_server_is_told_to_keep_to_the_schema_and_not_to_think(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    await chat.complete(system="Find.", prompt="the disk is full", schema=SCHEMA, max_output_tokens=100)
    body = ollama_chat_server.requests[0].body
    assert body["format"] == SCHEMA
    assert '"required":["what"]' in body["messages"][0]["content"]
    assert body["messages"][1] == {"role": "user", "content": "the disk is full"}
    assert body["options"] == {"num_ctx": 4096, "num_predict": 100, "temperature": 0}
    assert (body["think"], body["stream"], body["truncate"], body["keep_alive"]) == (False, False, False, "30m")


async def test_without_a_schema_none_is_sent(ollama_chat_server: OllamaChatServer, chat: OllamaChat) -> None:
    ollama_chat_server.chat_answers = ["fine"]
    answer = await chat.complete(system="Talk.", prompt="how are you?", max_output_tokens=100)
    assert answer.text == "fine"
    body = ollama_chat_server.requests[0].body
    assert "format" not in body
    assert body["messages"][0]["content"] == "Talk."


async def test_a_thinking_model_answers(ollama_chat_server: OllamaChatServer, chat: OllamaChat) -> None:
    ollama_chat_server.thinking = {"qwen3:4b"}
    ollama_chat_server.chat_answers = ["well"]
    assert (await chat.complete(system="", prompt="think!", max_output_tokens=100)).text == "well"


async def test_a_server_that_does_not_know_think_is_asked_without_it_from_then_on(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    ollama_chat_server.refuses = {"think"}
    ollama_chat_server.chat_answers = ["one", "two"]
    assert (await chat.complete(system="", prompt="first", max_output_tokens=10)).text == "one"
    assert (await chat.complete(system="", prompt="second", max_output_tokens=10)).text == "two"
    assert ["think" in request.body for request in ollama_chat_server.requests] == [True, False, False]


async def test_thoughts_that_leave_no_room_for_an_answer_are_none(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    ollama_chat_server.refuses = {"think"}
    ollama_chat_server.thinking = {"qwen3:4b"}
    with pytest.raises(AnswerInvalid, match="does not think"):
        await chat.complete(system="", prompt="think!", max_output_tokens=100)


async def test_an_answer_that_ends_at_the_limit_is_marked(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    ollama_chat_server.chat_answers = [words(50), ChatAnswer("{\n\n\n\n", ends="length"), ChatAnswer(" \n ", "length")]
    answer = await chat.complete(system="", prompt="x", max_output_tokens=20)
    assert answer.truncated
    assert answer.text == words(20)
    assert (await chat.complete(system="", prompt="x", max_output_tokens=20)).truncated
    assert (await chat.complete(system="", prompt="x", max_output_tokens=20)).truncated


@pytest.mark.parametrize(
    ("number", "context"), [(10, 4096), (1000, 4096), (3000, 16_384), (8000, 32_768), (12_000, 40_960)]
)
async def test_the_context_grows_in_steps_up_to_the_models_own(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat, number: int, context: int
) -> None:
    ollama_chat_server.chat_answers = lambda prompt: prompt.split()[-1]
    answer = await chat.complete(system="Last?", prompt=words(number), max_output_tokens=500)
    assert answer.text == f"word{number - 1}"
    assert ollama_chat_server.requests[0].body["options"]["num_ctx"] == context
    assert ollama_chat_server.read == [f"Last?\n{words(number)}"]


async def test_the_context_does_not_shrink_for_that_would_load_the_model_again(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    for number in (10, 3000, 10):
        await chat.complete(system="", prompt=words(number), max_output_tokens=500)
    used = [request.body["options"]["num_ctx"] for request in ollama_chat_server.requests]
    assert used == [4096, 16_384, 16_384]


async def test_a_prompt_that_does_not_fit_is_not_even_sent(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    ollama_chat_server.shown["qwen3:4b"] = ShownModel(context=8192)
    with pytest.raises(TextTooLong, match="do not fit into the 8192"):
        await chat.complete(system="", prompt=words(8000), max_output_tokens=500)
    assert not ollama_chat_server.requests


@pytest.mark.parametrize("knows_truncate", [True, False])
async def test_more_tokens_than_estimated_get_a_larger_context_and_are_never_cut(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat, knows_truncate: bool
) -> None:
    ollama_chat_server.knows_truncate = knows_truncate
    prompt = "a " * 5000  # a token for each two bytes
    answer = await chat.complete(system="", prompt=prompt, max_output_tokens=100)
    assert [request.body["options"]["num_ctx"] for request in ollama_chat_server.requests] == [4096, 8192]
    assert answer.input_tokens is not None
    assert answer.input_tokens > 5000
    await chat.complete(system="", prompt="a " * 9000, max_output_tokens=100)
    assert [request.body["options"]["num_ctx"] for request in ollama_chat_server.requests[2:]] == [16_384]


async def test_a_prompt_that_has_too_many_tokens_after_all_is_too_long(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    ollama_chat_server.shown["qwen3:4b"] = ShownModel(context=4096)
    for knows_truncate in (True, False):
        ollama_chat_server.knows_truncate = knows_truncate
        with pytest.raises(TextTooLong):
            await chat.complete(system="", prompt="a " * 5000, max_output_tokens=100)


async def test_a_server_that_does_not_tell_the_context_is_asked_for_what_is_needed(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    ollama_chat_server.shown["qwen3:4b"] = ShownModel(capabilities=None, context=None)
    for _ in range(2):
        await chat.complete(system="", prompt=words(8000), max_output_tokens=500)
    assert ollama_chat_server.requests[0].body["options"]["num_ctx"] == 32_768
    assert ollama_chat_server.about == ["/api/show"]


@pytest.mark.parametrize(
    ("misbehaviour", "error", "says"),
    [
        ("busy", ProviderBusy, "server busy"),
        ("rate_limited", ProviderBusy, "Rate limit"),
        ("no_quota", ProviderBusy, "quota"),
        ("model_missing", ModelNotFound, "run: ollama pull qwen3:4b"),
        ("not_found", SetupFault, "no /api/chat"),
        ("key_refused", KeyRefused, "WINNOW_OLLAMA_URL"),
        ("refused", TextRefused, "invalid"),
        ("too_large", TextTooLong, "413"),
        ("eof", TextTooLong, "died"),
        ("broken", ProviderUnavailable, "internal server error"),
        ("dropped", ProviderUnavailable, "does not answer"),
        ("cut", ProviderUnavailable, "does not answer"),
        ("redirect", SetupFault, "sends elsewhere"),
        ("web_page", SetupFault, "web page"),
    ],
)
async def test_each_failure_has_its_error_and_the_next_request_is_well(
    ollama_chat_server: OllamaChatServer,
    chat: OllamaChat,
    misbehaviour: Misbehaviour,
    error: type[WinnowError],
    says: str,
) -> None:
    ollama_chat_server.shown["qwen3:4b"] = ShownModel(context=4096)  # no second try with a larger one
    ollama_chat_server.fail_next(misbehaviour)
    with pytest.raises(WinnowError, match=says) as caught:
        await chat.complete(system="", prompt="x", max_output_tokens=10)
    assert type(caught.value) is error
    assert len(ollama_chat_server.requests) == 1
    ollama_chat_server.chat_answers = ["well"]
    assert (await chat.complete(system="", prompt="x", max_output_tokens=10)).text == "well"


async def test_a_model_for_embeddings_does_not_chat(ollama_chat_server: OllamaChatServer) -> None:
    chat = chat_at(ollama_chat_server.url, model="nomic-embed-text:latest")
    with pytest.raises(SetupFault, match="nomic-embed-text is not one for chats"):
        await chat.complete(system="", prompt="x", max_output_tokens=10)
    await chat.close()


async def test_a_model_that_is_not_there_is_named_before_anything_is_sent(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat
) -> None:
    ollama_chat_server.models = {"llama3.2"}
    with pytest.raises(ModelNotFound, match=r"run: ollama pull qwen3:4b"):
        await chat.complete(system="", prompt="x", max_output_tokens=10)
    assert not ollama_chat_server.requests


async def test_a_server_that_is_not_there_is_weather(ollama_chat_server: OllamaChatServer, chat: OllamaChat) -> None:
    ollama_chat_server.stop()
    with pytest.raises(ProviderUnavailable, match="ollama serve"):
        await chat.complete(system="", prompt="x", max_output_tokens=10)


async def test_the_first_answer_may_take_longer_than_the_later_ones(ollama_chat_server: OllamaChatServer) -> None:
    chat = chat_at(ollama_chat_server.url, first=5, timeout=0.2)
    ollama_chat_server.behave("slow", delay_seconds=0.5)
    await chat.complete(system="", prompt="the model loads", max_output_tokens=10)
    with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.2 s"):
        await chat.complete(system="", prompt="too slow now", max_output_tokens=10)
    await chat.close()


async def test_the_prompt_is_in_no_error_and_no_log(
    ollama_chat_server: OllamaChatServer, chat: OllamaChat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    prompt = 'ann: a very private sentence\nbob: "and another private one"'
    ollama_chat_server.fail_next("refused", words=f"cannot read {prompt}")
    ollama_chat_server.fail_next("broken", words='failed at: bob: \\"and another private one\\"')
    ollama_chat_server.fail_next("refused", words="bad line: ann: a very private sentence")
    ollama_chat_server.fail_next("web_page", "cut")
    for _ in range(5):
        with pytest.raises(WinnowError) as caught:
            await chat.complete(system="Be private about it.", prompt=prompt, max_output_tokens=10)
        assert "very private" not in "".join(traceback.format_exception(caught.value))
    await chat.complete(system="Be private about it.", prompt=prompt, max_output_tokens=10)
    assert "private" not in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{}",
        b'{"message": null}',
        b'{"message": {}}',
        b'{"message": {"content": null}, "done": true}',
        b'{"message": {"content": 7}, "done": true}',
        b'{"message": {"content": ""}, "done": true, "done_reason": "stop"}',
        b'{"message": {"content": "  \\n"}, "done": true, "done_reason": "stop"}',
        b'{"message": {"content": ""}, "done": true, "done_reason": "length"}',
        b'{"message": {"content": "<think>so"}, "done": true, "done_reason": "length"}',
        b'{"error": "no"}',
    ],
)
def test_what_is_no_answer_is_refused(content: bytes) -> None:
    with pytest.raises(AnswerInvalid):
        decode_completion(content, shown="Ollama")


def test_an_answer_that_ends_without_being_done_is_cut() -> None:
    """Ollama gives up on a model that repeats itself."""
    completion = decode_completion(b'{"message": {"content": "{ { { {"}, "done": false}', shown="Ollama")
    assert completion.truncated
