"""A prompt to a server that speaks OpenAI's protocol is answered by the schema, as far as the server knows how."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from plugins.model_servers_chat import ChatAnswer
from winnow.errors import (
    AnswerInvalid,
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
from winnow.providers.address import parse_address
from winnow.providers.openai_chat import OpenAIChat, decode_completion
from winnow.providers.openai_client import OpenAIServer as OpenAIConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers_chat import OpenAIChatServer, Refusable

KEY = "sk-very-secret-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"what": {"type": "string"}, "who": {"type": "string", "default": "nobody"}},
    "required": ["what"],
}


def chat_at(url: str, *, timeout: float = 5, first: float = 5) -> OpenAIChat:
    return OpenAIChat(
        server=OpenAIConnection(parse_address(url, setting="WINNOW_OPENAI_URL"), api_key=SecretStr(KEY)),
        model="gpt-4o-mini",
        first_timeout_seconds=first,
        timeout_seconds=timeout,
    )


@pytest.fixture
async def chat(openai_chat_server: OpenAIChatServer) -> AsyncIterator[OpenAIChat]:
    made = chat_at(openai_chat_server.url)
    yield made
    await made.close()


async def test_an_answer_comes_with_what_it_took(openai_chat_server: OpenAIChatServer, chat: OpenAIChat) -> None:
    openai_chat_server.chat_answers = ['{"what": "disk full", "who": null}']
    answer = await chat.complete(system="Find.", prompt="the disk is full", schema=SCHEMA, max_output_tokens=100)
    assert answer.text == '{"what": "disk full", "who": null}'
    assert (answer.model, chat.name) == ("gpt-4o-mini", "openai:gpt-4o-mini")
    assert (answer.input_tokens, answer.output_tokens, answer.truncated) == (7, 6, False)
    assert answer.seconds > 0


async def test_any_schema_is_sent_as_strict_mode_takes_it(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat
) -> None:
    await chat.complete(system="Find.", prompt="the disk is full", schema=SCHEMA, max_output_tokens=100)
    body = openai_chat_server.requests[0].body
    form = body["response_format"]
    assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)
    assert form["json_schema"]["schema"]["required"] == ["what", "who"]
    assert (body["max_completion_tokens"], body["temperature"]) == (100, 0)
    assert [message["content"] for message in body["messages"]] == ["Find.", "the disk is full"]


async def test_without_a_schema_none_is_sent(openai_chat_server: OpenAIChatServer, chat: OpenAIChat) -> None:
    openai_chat_server.chat_answers = ["fine"]
    assert (await chat.complete(system="", prompt="how are you?", max_output_tokens=100)).text == "fine"
    assert "response_format" not in openai_chat_server.requests[0].body


@pytest.mark.parametrize(
    ("refuses", "formats"),
    [
        ({"json_schema"}, ["json_schema", "json_object"]),
        ({"json_schema", "json_object"}, ["json_schema", "json_object", None]),
    ],
)
async def test_a_server_without_schemas_is_told_the_schema_in_the_prompt(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat, refuses: set[Refusable], formats: list[str | None]
) -> None:
    openai_chat_server.refuses = refuses
    for _ in range(2):
        answer = await chat.complete(system="Find.", prompt="the disk", schema=SCHEMA, max_output_tokens=100)
        assert answer.text == "{}"
    bodies = [request.body for request in openai_chat_server.requests]
    used = [body.get("response_format", {}).get("type") for body in bodies]
    assert used == [*formats, formats[-1]]
    assert '"required":["what","who"]' in bodies[-1]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("refuses", "missing", "there"),
    [("max_completion_tokens", "max_completion_tokens", "max_tokens"), ("temperature", "temperature", "messages")],
)
async def test_a_parameter_that_is_not_known_is_left_out_from_then_on(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat, refuses: Refusable, missing: str, there: str
) -> None:
    openai_chat_server.refuses = {refuses}
    for _ in range(2):
        await chat.complete(system="", prompt="x", schema=SCHEMA, max_output_tokens=100)
    bodies = [request.body for request in openai_chat_server.requests]
    assert [missing in body for body in bodies] == [True, False, False]
    assert all(there in body for body in bodies[1:])
    assert all(body["response_format"]["type"] == "json_schema" for body in bodies)


async def test_a_server_that_knows_nothing_of_all_this_answers(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat
) -> None:
    openai_chat_server.refuses = {"json_schema", "json_object", "max_completion_tokens", "temperature"}
    openai_chat_server.chat_answers = ["<think>\nlet me see\n</think>\n\n{}", "let me see</think>{}"]
    for _ in range(2):
        assert (await chat.complete(system="", prompt="x", schema=SCHEMA, max_output_tokens=100)).text == "{}"
    assert set(openai_chat_server.requests[-1].body) == {"model", "messages", "max_tokens"}


async def test_a_server_that_knows_neither_limit_says_so_once(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat
) -> None:
    openai_chat_server.refuses = {"max_completion_tokens", "max_tokens"}
    with pytest.raises(TextRefused, match="max_tokens"):
        await chat.complete(system="", prompt="x", max_output_tokens=100)
    assert len(openai_chat_server.requests) == 2


async def test_an_answer_that_ends_at_the_limit_is_marked(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat
) -> None:
    openai_chat_server.chat_answers = ["one two three four"]
    answer = await chat.complete(system="", prompt="x", max_output_tokens=2)
    assert (answer.text, answer.truncated) == ("one two", True)


@pytest.mark.parametrize(
    ("said", "error", "says"),
    [
        (ChatAnswer(refusal="I'm sorry, I can't help with that."), TextRefused, "declines: I'm sorry"),
        (ChatAnswer("some", ends="content_filter"), TextRefused, "content filter"),
        (ChatAnswer("half an ans", ends="error"), ProviderUnavailable, "broke off"),
        (ChatAnswer(""), AnswerInvalid, "empty"),
        (ChatAnswer("", ends="length", thoughts="hm"), AnswerInvalid, "does not think"),
    ],
)
async def test_a_refusal_or_nothing_is_no_answer(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat, said: ChatAnswer, error: type[WinnowError], says: str
) -> None:
    openai_chat_server.chat_answers = [said]
    with pytest.raises(WinnowError, match=says) as caught:
        await chat.complete(system="", prompt="x", max_output_tokens=100)
    assert type(caught.value) is error
    assert len(openai_chat_server.requests) == 1


async def test_what_the_model_thinks_is_left_out(openai_chat_server: OpenAIChatServer, chat: OpenAIChat) -> None:
    openai_chat_server.chat_answers = [ChatAnswer("{}", thoughts="Okay, the user wants"), '{"a": "</think>"}']
    assert (await chat.complete(system="", prompt="x", max_output_tokens=100)).text == "{}"
    assert (await chat.complete(system="", prompt="x", max_output_tokens=100)).text == '{"a": "</think>"}'


async def test_a_prompt_that_does_not_fit_is_too_long(openai_chat_server: OpenAIChatServer, chat: OpenAIChat) -> None:
    openai_chat_server.context = 50
    with pytest.raises(TextTooLong, match="maximum context length is 50"):
        await chat.complete(system="", prompt="x " * 40, max_output_tokens=20)
    assert len(openai_chat_server.requests) == 1


@pytest.mark.parametrize(
    ("misbehaviour", "error", "says"),
    [
        ("busy", ProviderBusy, "server busy"),
        ("rate_limited", ProviderBusy, "Rate limit"),
        ("no_quota", QuotaExhausted, "no quota left"),
        ("key_refused", KeyRefused, "check WINNOW_OPENAI_API_KEY"),
        ("model_missing", ModelNotFound, "gpt-4o-mini"),
        ("not_found", ModelNotFound, "ends in /v1"),
        ("refused", TextRefused, "invalid"),
        ("too_long", TextTooLong, "context length"),
        ("broken", ProviderUnavailable, "internal server error"),
        ("dropped", ProviderUnavailable, "does not answer"),
        ("cut", ProviderUnavailable, "does not answer"),
        ("redirect", SetupFault, "sends elsewhere"),
        ("web_page", SetupFault, "web page"),
    ],
)
async def test_each_failure_has_its_error_and_is_not_tried_again_by_the_client(
    openai_chat_server: OpenAIChatServer,
    chat: OpenAIChat,
    misbehaviour: Misbehaviour,
    error: type[WinnowError],
    says: str,
) -> None:
    openai_chat_server.fail_next(misbehaviour)
    with pytest.raises(WinnowError, match=says) as caught:
        await chat.complete(system="", prompt="x", schema=SCHEMA, max_output_tokens=10)
    assert type(caught.value) is error
    assert len(openai_chat_server.requests) == 1
    assert (await chat.complete(system="", prompt="x", schema=SCHEMA, max_output_tokens=10)).text == "{}"


async def test_the_first_answer_may_take_longer_than_the_later_ones(openai_chat_server: OpenAIChatServer) -> None:
    chat = chat_at(openai_chat_server.url, first=5, timeout=0.2)
    openai_chat_server.behave("slow", delay_seconds=0.5)
    await chat.complete(system="", prompt="the model loads", max_output_tokens=10)
    with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.2 s"):
        await chat.complete(system="", prompt="too slow now", max_output_tokens=10)
    await chat.close()


async def test_many_prompts_are_asked_at_once(openai_chat_server: OpenAIChatServer, chat: OpenAIChat) -> None:
    openai_chat_server.delay_seconds = 0.3
    await asyncio.gather(*(chat.complete(system="", prompt=f"{n}", max_output_tokens=10) for n in range(4)))
    assert openai_chat_server.in_flight_most > 1


async def test_neither_prompt_nor_key_are_in_an_error_or_log(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    prompt = 'ann: a very private sentence\nbob: "and another private one"'
    openai_chat_server.fail_next("refused", words=f"{KEY} cannot read {prompt}")
    openai_chat_server.fail_next("broken", words=f'{KEY} messages = "ann: a very private sentence\\nbob: \\"and ')
    openai_chat_server.chat_answers = [ChatAnswer(refusal="I won't say: ann: a very private sentence"), "{}"]
    for _ in range(3):
        with pytest.raises(WinnowError) as caught:
            await chat.complete(system="Be private about it.", prompt=prompt, max_output_tokens=10)
        shown = "".join(traceback.format_exception(caught.value))
        assert "very private" not in shown
        assert KEY not in shown
    await chat.complete(system="Be private about it.", prompt=prompt, max_output_tokens=10)
    assert openai_chat_server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    assert "private" not in caplog.text


@pytest.mark.parametrize(
    ("error", "caught"),
    [
        ({"code": 429, "message": "Rate limited upstream"}, ProviderBusy),
        ({"code": 502, "message": "Provider returned error"}, ProviderUnavailable),
        ({"message": "no code"}, ProviderUnavailable),
        ("no object", ProviderUnavailable),
    ],
)
async def test_an_error_may_come_as_a_success(
    openai_chat_server: OpenAIChatServer, chat: OpenAIChat, error: object, caught: type[WinnowError]
) -> None:
    openai_chat_server.error_as_success = error
    with pytest.raises(caught):
        await chat.complete(system="", prompt="x", max_output_tokens=10)


async def test_lm_studio_says_200_at_a_path_it_does_not_have(openai_chat_server: OpenAIChatServer) -> None:
    openai_chat_server.success_at_any_path = True
    chat = chat_at(openai_chat_server.url.removesuffix("/v1"))
    with pytest.raises(SetupFault, match=r"Unexpected endpoint.*does WINNOW_OPENAI_URL end in /v1\?"):
        await chat.complete(system="", prompt="x", max_output_tokens=10)
    await chat.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{"finish_reason": "stop"}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"content": ["x"]}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"content": " "}, "finish_reason": "stop"}]}',
    ],
)
def test_what_is_no_answer_is_refused(content: bytes) -> None:
    with pytest.raises(AnswerInvalid):
        decode_completion(content, shown="the server", private=[])


@pytest.mark.parametrize("usage", ["null", "[]", '{"prompt_tokens": "many"}', "7"])
def test_an_unreadable_token_count_costs_no_answer(usage: str) -> None:
    content = f'{{"choices": [{{"message": {{"content": "x"}}}}], "usage": {usage}}}'
    completion = decode_completion(content.encode(), shown="the server", private=[])
    assert (completion.text, completion.input_tokens) == ("x", None)
