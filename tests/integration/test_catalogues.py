"""A server's models are told as it tells them, a download's progress is followed, and a spare server stands in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from plugins.model_servers_chat import OllamaChatServer, OpenAIChatServer, ShownModel
from winnow.domain.providers import Provider, ProviderKind
from winnow.errors import (
    InvalidSettings,
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    SetupFault,
    TextRefused,
    WinnowError,
)
from winnow.providers.base import ServedModel, probe_dimensions
from winnow.providers.factory import build_catalogue, build_language_model
from winnow.providers.local import MODEL, LocalEmbedder
from winnow.providers.ollama_catalogue import failed_pull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers_chat import ChatServer
    from winnow.providers.base import LanguageModel, ModelCatalogue

TIMEOUTS: Any = {"first_timeout_seconds": 5.0, "timeout_seconds": 5.0}


def ollama_at(*urls: str) -> Provider:
    return Provider(kind=ProviderKind.OLLAMA, name="ollama", urls=urls)


def openai_at(*urls: str, key: str | None = None) -> Provider:
    api_key = SecretStr(key) if key else None
    return Provider(kind=ProviderKind.OPENAI, name="openai", urls=urls, api_key=api_key)


@pytest.fixture
async def ollama(ollama_chat_server: OllamaChatServer) -> AsyncIterator[ModelCatalogue]:
    made = build_catalogue(ollama_at(ollama_chat_server.url))
    yield made
    await made.close()


@pytest.fixture
async def openai(openai_chat_server: OpenAIChatServer) -> AsyncIterator[ModelCatalogue]:
    made = build_catalogue(openai_at(openai_chat_server.url, key="sk-test"))
    yield made
    await made.close()


async def test_ollama_tells_its_version_and_models(
    ollama_chat_server: OllamaChatServer, ollama: ModelCatalogue
) -> None:
    ollama_chat_server.models = {"qwen3:4b", "nomic-embed-text"}
    assert await ollama.version() == "0.12.6"
    assert await ollama.models() == [
        ServedModel(name="nomic-embed-text:latest", size_bytes=274_302_450),
        ServedModel(name="qwen3:4b", size_bytes=2_620_788_019),
    ]


async def test_ollama_describes_a_model(ollama_chat_server: OllamaChatServer, ollama: ModelCatalogue) -> None:
    ollama_chat_server.dimensions = 768
    assert await ollama.describe("nomic-embed-text") == ServedModel(
        name="nomic-embed-text", embeds=True, chats=False, dimensions=768, context=2048
    )
    assert await ollama.describe("qwen3:4b") == ServedModel(name="qwen3:4b", embeds=False, chats=True, context=40_960)
    ollama_chat_server.shown["old"] = ShownModel(capabilities=None)
    assert await ollama.describe("old") == ServedModel(name="old", dimensions=2560, context=40_960)


async def test_a_model_that_ollama_does_not_have(ollama_chat_server: OllamaChatServer, ollama: ModelCatalogue) -> None:
    ollama_chat_server.models = {"llama3.2"}
    with pytest.raises(ModelNotFound, match=r"run: ollama pull bge-m3"):
        await ollama.describe("bge-m3")


async def test_a_download_is_followed_to_its_end(ollama_chat_server: OllamaChatServer, ollama: ModelCatalogue) -> None:
    ollama_chat_server.models, ollama_chat_server.pullable = set(), {"bge-m3"}
    steps = [step async for step in ollama.pull("bge-m3")]
    assert [step.says for step in steps] == [
        "pulling manifest",
        *["pulling 970aa74c0a90"] * 3,
        "verifying sha256 digest",
        "writing manifest",
        "removing any unused layers",
        "success",
    ]
    bytes_of = [(step.done_bytes, step.total_bytes) for step in steps[:4]]
    assert bytes_of == [(None, None), (None, 274_290_656), (137_145_328, 274_290_656), (274_290_656, 274_290_656)]
    assert [model.name for model in await ollama.models()] == ["bge-m3:latest"]


async def test_there_is_no_such_model_to_download(ollama: ModelCatalogue) -> None:
    with pytest.raises(ModelNotFound, match="no model bge-m4 to be had"):
        _ = [step async for step in ollama.pull("bge-m4")]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("pull model manifest: file does not exist", ModelNotFound),
        ("invalid model name", ModelNotFound),
        ("max retries exceeded: Get https://x: dial tcp: lookup registry.ollama.ai: no such host", ProviderUnavailable),
        ("pull model manifest: 503: upstream", ProviderUnavailable),
        ("write /root/.ollama/models/blobs/sha256-1: no space left on device", SetupFault),
        ("pull model manifest: 412: The model requires a newer version of Ollama", SetupFault),
    ],
)
async def test_a_download_that_ends_badly_says_why(
    ollama_chat_server: OllamaChatServer, ollama: ModelCatalogue, words: str, error: type[WinnowError]
) -> None:
    assert type(failed_pull("bge-m3", words, shown="Ollama")) is error
    ollama_chat_server.pullable, ollama_chat_server.pull_error = {"bge-m3"}, words
    steps = ollama.pull("bge-m3")
    for _ in range(3):
        await anext(steps)
    with pytest.raises(WinnowError) as caught:
        await anext(steps)
    assert type(caught.value) is error


async def test_openai_tells_names(openai_chat_server: OpenAIChatServer, openai: ModelCatalogue) -> None:
    assert await openai.version() is None
    assert await openai.models() == [ServedModel(name="gpt-4o-mini"), ServedModel(name="text-embedding-3-small")]
    assert await openai.describe("gpt-4o-mini") == ServedModel(name="gpt-4o-mini")
    with pytest.raises(ModelNotFound, match=r"does not have the model gpt-9; it has gpt-4o-mini, text-embedding"):
        await openai.describe("gpt-9")
    with pytest.raises(SetupFault, match="downloads no model"):
        _ = [step async for step in openai.pull("gpt-4o-mini")]


async def test_compatible_servers_tell_more(openai_chat_server: OpenAIChatServer, openai: ModelCatalogue) -> None:
    openai_chat_server.models = {"Qwen/Qwen3-8B"}
    openai_chat_server.told = {"owned_by": "vllm", "root": "Qwen/Qwen3-8B", "max_model_len": 32_768}
    assert await openai.describe("Qwen/Qwen3-8B") == ServedModel(name="Qwen/Qwen3-8B", context=32_768)
    meta = {"vocab_type": 2, "n_vocab": 151_936, "n_ctx_train": 40_960, "n_embd": 4096, "n_params": 8, "size": 5}
    openai_chat_server.told = {"owned_by": "llamacpp", "meta": meta}
    assert await openai.models() == [
        ServedModel(name="Qwen/Qwen3-8B", context=40_960, dimensions=4096, size_bytes=5),
    ]
    openai_chat_server.models, openai_chat_server.told = {"models/gemini-embedding-001"}, {"owned_by": "google"}
    assert await openai.describe("gemini-embedding-001") == ServedModel(name="gemini-embedding-001")


async def test_a_server_without_a_list_of_models_says_so(
    openai_chat_server: OpenAIChatServer, openai: ModelCatalogue
) -> None:
    openai_chat_server.has_models = False
    with pytest.raises(SetupFault, match="no list of models"):
        await openai.models()


async def test_the_built_in_model() -> None:
    catalogue = build_catalogue(Provider(kind=ProviderKind.LOCAL, name="local"))
    (model,) = await catalogue.models()
    assert model == await catalogue.describe(MODEL)
    embedder = LocalEmbedder()
    assert model.dimensions == await probe_dimensions(embedder)
    await embedder.close()
    assert await catalogue.version()
    with pytest.raises(ModelNotFound):
        await catalogue.describe("bge-m3")
    with pytest.raises(SetupFault):
        catalogue.pull(MODEL)
    await catalogue.close()


@pytest.fixture(params=["ollama", "openai"])
def server(request: pytest.FixtureRequest) -> Iterator[ChatServer]:
    made: ChatServer = OllamaChatServer() if request.param == "ollama" else OpenAIChatServer()
    made.start()
    yield made
    made.stop()


def provider_of(server: ChatServer, *spares: ChatServer) -> Provider:
    urls = [each.url for each in (server, *spares)]
    return ollama_at(*urls) if isinstance(server, OllamaChatServer) else openai_at(*urls, key="sk-test")


@pytest.mark.parametrize(
    ("misbehaviour", "error"),
    [
        ("busy", ProviderBusy),
        ("key_refused", KeyRefused),
        ("broken", ProviderUnavailable),
        ("dropped", ProviderUnavailable),
        ("cut", ProviderUnavailable),
        ("redirect", SetupFault),
        ("web_page", SetupFault),
        ("not_found", SetupFault),
    ],
)
async def test_each_failure_has_its_error(
    server: ChatServer, misbehaviour: Misbehaviour, error: type[WinnowError]
) -> None:
    catalogue = build_catalogue(provider_of(server))
    server.fail_next_about(misbehaviour)
    with pytest.raises(WinnowError) as caught:
        await catalogue.models()
    assert type(caught.value) is error
    assert await catalogue.models()
    await catalogue.close()


@pytest.mark.parametrize(
    ("misbehaviour", "error"),
    [("busy", ProviderBusy), ("dropped", ProviderUnavailable), ("cut", ProviderUnavailable), ("web_page", SetupFault)],
)
async def test_a_download_may_fail_in_each_of_these_ways(
    ollama_chat_server: OllamaChatServer, ollama: ModelCatalogue, misbehaviour: Misbehaviour, error: type[WinnowError]
) -> None:
    ollama_chat_server.pullable = {"bge-m3"}
    ollama_chat_server.fail_next_about(misbehaviour)
    with pytest.raises(WinnowError) as caught:
        _ = [step async for step in ollama.pull("bge-m3")]
    assert type(caught.value) is error


async def test_a_server_that_is_not_there_is_weather(server: ChatServer) -> None:
    server.stop()
    catalogue = build_catalogue(provider_of(server))
    with pytest.raises(ProviderUnavailable, match="does not answer"):
        await catalogue.models()
    await catalogue.close()


async def test_a_server_that_hangs_is_given_up(server: ChatServer) -> None:
    server.api_key = None
    catalogue = build_catalogue(provider_of(server), timeout_seconds=0.2)
    server.fail_next_about("slow", delay_seconds=1)
    with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.2 s"):
        await catalogue.models()
    await catalogue.close()


async def say(chat: LanguageModel) -> str:
    return (await chat.complete(system="", prompt="x", max_output_tokens=10)).text


async def test_a_spare_stands_in_for_a_server_that_does_not_answer(server: ChatServer) -> None:
    spare = type(server)()
    spare.start()
    server.chat_answers, spare.chat_answers = (lambda _: "first"), (lambda _: "spare")
    chat = build_language_model(provider_of(server, spare), "m", **TIMEOUTS)
    catalogue = build_catalogue(provider_of(server, spare))
    try:
        assert await say(chat) == "first"
        server.stop()
        assert await say(chat) == "spare"
        assert [model.name for model in await catalogue.models()]
        assert (await catalogue.describe("gpt-4o-mini")).name == "gpt-4o-mini"
        server.start()
        assert await say(chat) == "first"
        server.fail_next("refused")
        with pytest.raises(TextRefused):  # a refusal is an answer
            await say(chat)
        server.stop()
        spare.stop()
        with pytest.raises(ProviderUnavailable):
            await say(chat)
    finally:
        await chat.close()
        await catalogue.close()
        spare.stop()


async def test_a_download_goes_to_the_spares_as_well(ollama_chat_server: OllamaChatServer) -> None:
    spare = OllamaChatServer()
    spare.start()
    for each in (ollama_chat_server, spare):
        each.models, each.pullable = set(), {"bge-m3"}
    catalogue = build_catalogue(ollama_at(ollama_chat_server.url, spare.url))
    assert [step.says async for step in catalogue.pull("bge-m3")].count("success") == 2
    await catalogue.close()
    spare.stop()
    assert spare.models == {"bge-m3"}


async def test_messages_name_where_the_provider_was_set(server: ChatServer) -> None:
    server.behave("key_refused")
    for identity, words in ((None, r"WINNOW_\w+"), (uuid4(), r"\(winnow providers edit gpu\)")):
        provider = provider_of(server)
        written = Provider(kind=provider.kind, name="gpu", urls=provider.urls, api_key=provider.api_key, id=identity)
        chat = build_language_model(written, "m", **TIMEOUTS)
        with pytest.raises(KeyRefused, match=words):
            await say(chat)
        await chat.close()


async def test_a_server_that_is_not_openai_gets_the_limit_by_the_name_that_none_ignores(
    openai_chat_server: OpenAIChatServer,
) -> None:
    chat = build_language_model(openai_at(openai_chat_server.url), "m", **TIMEOUTS)
    await say(chat)
    openai_chat_server.refuses = {"max_tokens"}  # as OpenAI's reasoning models do behind a gateway
    await say(chat)
    await say(chat)
    await chat.close()
    bodies = [request.body for request in openai_chat_server.requests]
    assert ["max_tokens" in body for body in bodies] == [True, True, False, False]
    assert ["max_completion_tokens" in body for body in bodies] == [False, False, True, True]


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        (Provider(kind=ProviderKind.LOCAL, name="local"), "does not chat"),
        (ollama_at(), "WINNOW_OLLAMA_URL is not set"),
        (ollama_at("http://"), "WINNOW_OLLAMA_URL is not a URL"),
        (Provider(kind=ProviderKind.OPENAI, name="gpu", id=uuid4()), "the URL of gpu .* is not set"),
        (openai_at("https://api.openai.com/v1"), "WINNOW_OPENAI_API_KEY is not set"),
    ],
)
def test_a_provider_that_cannot_chat_is_told_at_once(provider: Provider, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        build_language_model(provider, "m", **TIMEOUTS)
