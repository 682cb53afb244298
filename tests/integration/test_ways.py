"""Whoever asks a server in a process, for whatever model, goes by one connection, one line and one pace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from winnow.bootstrap import build
from winnow.domain.providers import Provider, ProviderKind
from winnow.domain.usage import Purpose
from winnow.errors import AnswerInvalid, ProviderBusy
from winnow.providers.factory import build_catalogue, build_embedder_of, build_language_model, pace_name
from winnow.providers.ways import Ways
from winnow.servers import Servers
from winnow.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

    from plugins.model_servers import OllamaServer, OpenAIServer
    from plugins.model_servers_chat import OllamaChatServer, OpenAIChatServer
    from winnow.providers.base import Completion, Embedder, LanguageModel

KEY = "sk-0123456789abcdef"


def provider_at(url: str, kind: ProviderKind = ProviderKind.OPENAI) -> Provider:
    key = SecretStr(KEY) if kind is ProviderKind.OPENAI else None
    return Provider(kind=kind, name=kind.value, urls=(url,), api_key=key)


def embedder_of(provider: Provider, model: str, ways: Ways) -> Embedder:
    return build_embedder_of(provider, model, first_timeout_seconds=5, timeout_seconds=5, ways=ways)


def chat_of(provider: Provider, ways: Ways | None = None) -> LanguageModel:
    return build_language_model(provider, "gpt-4o-mini", first_timeout_seconds=5, timeout_seconds=5, ways=ways)


async def say(chat: LanguageModel, prompt: str = "x", *, output: int = 10) -> Completion:
    return await chat.complete(system="", prompt=prompt, max_output_tokens=output)


async def test_two_models_of_an_ollama_have_two_requests_in_flight_together(ollama_server: OllamaServer) -> None:
    """As while the model is changed: the old one searches, the new one is filled."""
    ways, ollama_server.delay_seconds = Ways(), 0.05
    written = Provider(kind=ProviderKind.OLLAMA, name="gpu", urls=(ollama_server.url.removeprefix("http://"),))
    old = embedder_of(provider_at(ollama_server.url, ProviderKind.OLLAMA), "all-minilm", ways)
    new = embedder_of(written, "bge-m3", ways)
    texts = [[f"{number}"] for number in range(4)]
    await asyncio.gather(*(each.embed(text, input_type="document") for each in (old, new) for text in texts))
    assert ollama_server.in_flight_most == 2
    assert len(ollama_server.requests) == 8
    await old.close()
    await new.close()


async def test_a_client_is_closed_with_the_last_of_its_users(openai_server: OpenAIServer) -> None:
    ways, provider = Ways(), provider_at(openai_server.url)
    one, two = (embedder_of(provider, model, ways) for model in ("one", "two"))
    catalogue = build_catalogue(provider, ways=ways)
    for closed in (one, one, catalogue):  # closing twice gives up no more than once
        await closed.close()
    assert (await two.embed(["still there"], input_type="document")).tokens
    await two.close()
    with pytest.raises(RuntimeError, match="closed"):
        await two.embed(["too late"], input_type="document")
    again = embedder_of(provider, "one", ways)
    assert (await again.embed(["a new client"], input_type="document")).tokens
    await again.close()


async def test_another_key_is_another_client(openai_server: OpenAIServer) -> None:
    ways, openai_server.api_key = Ways(), KEY
    right = embedder_of(provider_at(openai_server.url), "m", ways)
    none = Provider(kind=ProviderKind.OPENAI, name="openai", urls=(openai_server.url,))
    wrong = embedder_of(none, "m", ways)
    assert (await right.embed(["x"], input_type="document")).tokens
    with pytest.raises(Exception, match="refuses the API key"):
        await wrong.embed(["x"], input_type="document")
    await right.close()
    await wrong.close()


async def test_prompts_of_ollama_are_asked_one_by_one(ollama_chat_server: OllamaChatServer) -> None:
    ollama_chat_server.delay_seconds = 0.05
    chat = build_language_model(
        provider_at(ollama_chat_server.url, ProviderKind.OLLAMA), "qwen3:4b", first_timeout_seconds=5, timeout_seconds=5
    )
    await asyncio.gather(*(say(chat, f"{number}") for number in range(4)))
    assert ollama_chat_server.in_flight_most == 1
    assert len(ollama_chat_server.requests) == 4
    await chat.close()


async def test_prompts_to_two_models_of_an_ollama_leave_room_for_a_search(ollama_chat_server: OllamaChatServer) -> None:
    ways, provider = Ways(), provider_at(ollama_chat_server.url, ProviderKind.OLLAMA)
    ollama_chat_server.delay_seconds = 0.05
    chats = [
        build_language_model(provider, model, first_timeout_seconds=5, timeout_seconds=5, ways=ways)
        for model in ("qwen3:4b", "llama3.2")
    ]
    await asyncio.gather(*(say(chat, f"{number}") for number in range(3) for chat in chats))
    assert ollama_chat_server.in_flight_most == 1
    for chat in chats:
        await chat.close()


async def test_a_short_rate_limit_of_prompts_is_waited_out(openai_chat_server: OpenAIChatServer) -> None:
    chat = chat_of(provider_at(openai_chat_server.url))
    openai_chat_server.fail_next("rate_limited", headers={"retry-after-ms": "20"})
    assert (await say(chat)).text == "{}"
    assert len(openai_chat_server.requests) == 2
    await chat.close()


async def test_prompts_and_texts_share_the_limit_that_a_person_set(openai_chat_server: OpenAIChatServer) -> None:
    """A prompt counts for the answer it may have: what it leaves of a minute is too little for a search to wait for."""
    ways, provider = Ways(), replace(provider_at(openai_chat_server.url), tokens_per_minute=1000)
    chat, embedder = chat_of(provider, ways), embedder_of(provider, "text-embedding-3-small", ways)
    await say(chat, output=990)
    with pytest.raises(ProviderBusy, match="limits the rate"):
        await embedder.embed(["word " * 200], input_type="query")
    await chat.close()
    await embedder.close()


async def test_limits_that_a_server_tells_are_those_of_a_model(openai_server: OpenAIServer) -> None:
    ways, provider = Ways(), provider_at(openai_server.url)
    one, two = (embedder_of(provider, model, ways) for model in ("one", "two"))
    told = {"x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0", "retry-after": "30"}
    openai_server.fail_next("rate_limited", headers=told)
    with pytest.raises(ProviderBusy):
        await one.embed(["refused"], input_type="query")
    with pytest.raises(ProviderBusy, match="limits the rate just now"):
        await one.embed(["not even sent"], input_type="query")
    assert (await two.embed(["another model"], input_type="query")).tokens
    assert [request.texts for request in openai_server.requests] == [("refused",), ("another model",)]
    await one.close()
    await two.close()


def test_a_pace_is_known_by_server_and_key_and_tells_neither_key_nor_model() -> None:
    one = provider_at("http://gpu/v1")
    named = Provider(kind=ProviderKind.OPENAI, name="gpu", urls=("gpu/v1", "spare/v1"), api_key=SecretStr(KEY))
    assert pace_name(one, "m") == pace_name(named, "m")
    assert pace_name(one, "m") != pace_name(one, "n")
    assert KEY not in pace_name(one, "m")
    other_key = Provider(kind=ProviderKind.OPENAI, name="openai", urls=one.urls, api_key=SecretStr("sk-other"))
    assert pace_name(one, "m") != pace_name(other_key, "m")
    limited = replace(one, requests_per_minute=9)
    assert pace_name(limited, "m") == pace_name(limited, "n"), "what a person set is the provider's"


async def test_what_prompts_take_is_noted_as_extraction(
    database_url: str, sql: asyncpg.Connection, tmp_path: Path, openai_chat_server: OpenAIChatServer
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    winnow = build(settings, Servers(database_url=database_url, nats_url="nats://127.0.0.1:1"))
    chat = winnow.language_model_of(provider_at(openai_chat_server.url), "gpt-4o-mini", Purpose.EXTRACT)
    openai_chat_server.chat_answers = ['{"what": 1}', '{"what": 2}', ""]
    taken = [await say(chat, "the disk is full") for _ in range(2)]
    with pytest.raises(AnswerInvalid):
        await say(chat, "the disk is full")
    await chat.close()
    await winnow.close()
    (row,) = await sql.fetch("SELECT * FROM llm_usage")
    assert (row["purpose"], row["provider"], row["model"], row["requests"]) == ("extract", "openai", "gpt-4o-mini", 3)
    assert row["tokens"] == sum(one.input_tokens or 0 for one in taken) + 4
    assert row["output_tokens"] == sum(one.output_tokens or 0 for one in taken)
    assert row["estimated"]
    assert row["price_usd"] in {None, Decimal(0)}, "not OpenAI's own service: its price is not known"
