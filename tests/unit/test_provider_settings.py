"""The setting names exactly one embedder, its address shows no secret, and its prefixes are the model's own."""

from __future__ import annotations

import base64
import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from pydantic import SecretStr

from winnow.domain.providers import Provider, ProviderKind
from winnow.errors import InvalidSettings
from winnow.providers.address import parse_address
from winnow.providers.chosen import parse_embedder
from winnow.providers.factory import (
    build_embedder,
    build_embedder_of,
    check_embedder,
    provider_of_settings,
)
from winnow.providers.models import known_prefixes
from winnow.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def only_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No `.env`, no keys of the machine's own user."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "WINNOW_OPENAI_API_KEY", "WINNOW_EMBEDDER", "WINNOW_OPENAI_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("local", ("local", "")),
        (" local ", ("local", "")),
        ("ollama:nomic-embed-text", ("ollama", "nomic-embed-text")),
        ("ollama:qwen3-embedding:0.6b", ("ollama", "qwen3-embedding:0.6b")),
        ("openai:text-embedding-3-small", ("openai", "text-embedding-3-small")),
        ("openai:BAAI/bge-m3", ("openai", "BAAI/bge-m3")),
    ],
)
def test_embedders_that_can_be_chosen(value: str, parsed: tuple[str, str]) -> None:
    assert parse_embedder(value) == parsed


@pytest.mark.parametrize(
    "value", ["", "ollama", "ollama:", "openai: ", "local:x", "Ollama:x", "cohere:x", "openai:a b", "ollama:x\x00"]
)
def test_anything_else_is_refused_in_one_sentence(value: str) -> None:
    with pytest.raises(InvalidSettings, match=r"choose local, ollama:MODEL .* or openai:MODEL"):
        parse_embedder(value)


async def test_each_choice_builds_its_embedder() -> None:
    for value, provider in (("local", "local"), ("ollama:bge-m3:latest", "ollama"), ("openai:bge-m3", "openai")):
        settings = load_settings(embedder=value, openai_url="http://127.0.0.1:1/v1")
        embedder = build_embedder(settings)
        assert embedder.identity.provider == provider
        await embedder.close()


@pytest.mark.parametrize("use", [build_embedder, check_embedder])
def test_what_cannot_be_built_is_refused_also_by_a_mere_look(use: Callable[[Settings], object]) -> None:
    with pytest.raises(InvalidSettings, match="WINNOW_OPENAI_API_KEY is not set"):
        use(load_settings(embedder="openai:text-embedding-3-small"))
    with pytest.raises(InvalidSettings, match="WINNOW_OPENAI_API_KEY is not set"):
        use(load_settings(embedder="openai:x", openai_api_key=SecretStr("")))
    for provider in ("ollama", "openai"):
        with pytest.raises(InvalidSettings, match=f"WINNOW_{provider.upper()}_URL is not a URL"):
            use(load_settings(embedder=f"{provider}:x", **{f"{provider}_url": "ftp://gpu1"}))
    with pytest.raises(InvalidSettings, match="WINNOW_EMBEDDER is 'word2vec'"):
        use(load_settings(embedder="word2vec"))


def test_a_look_finds_nothing_wrong_with_other_servers_without_a_key() -> None:
    check_embedder(load_settings(embedder="openai:x", openai_url="http://gpu1/v1"))
    check_embedder(load_settings(embedder="ollama:x"))
    check_embedder(load_settings())


@pytest.mark.parametrize(
    ("value", "url", "shown"),
    [
        ("http://gpu1:11434", "http://gpu1:11434", "http://gpu1:11434"),
        ("http://gpu1/v1", "http://gpu1/v1", "http://gpu1/v1"),
        ("http://gpu1/v1/", "http://gpu1/v1", "http://gpu1/v1"),
        ("https://h/openai/v1", "https://h/openai/v1", "https://h/openai/v1"),
        ("gpu1", "http://gpu1:11434", "http://gpu1:11434"),
        ("gpu1:80", "http://gpu1:80", "http://gpu1:80"),
        ("127.0.0.1", "http://127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("http://[::1]:5", "http://[::1]:5", "http://[::1]:5"),
        ("http://user:p%40ss@gpu1/v1", "http://gpu1/v1", "http://***@gpu1/v1"),
        ("http://token@gpu1", "http://gpu1", "http://***@gpu1"),
    ],
)
def test_addresses(value: str, url: str, shown: str) -> None:
    address = parse_address(value, setting="WINNOW_OLLAMA_URL", default_port=11434)
    assert (address.url, address.shown) == (url, shown)
    assert not any(secret in repr(address) for secret in ("p@ss", "p%40ss", "token"))


def test_credentials_of_the_url_become_a_header() -> None:
    auth = parse_address("http://user:p%40ss@gpu1/v1", setting="X").basic_auth
    assert auth is not None
    assert base64.b64decode(auth.get_secret_value().removeprefix("Basic ")) == b"user:p@ss"


@pytest.mark.parametrize(
    "value", ["", "http://", "ftp://gpu1", "http://gpu1:port", "http://[gpu1", "http://a b", "http://h/v1?key=s3cret"]
)
def test_no_address(value: str) -> None:
    with pytest.raises(InvalidSettings, match="WINNOW_OPENAI_URL") as caught:
        parse_address(value, setting="WINNOW_OPENAI_URL")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "loopback"),
    [
        ("http://localhost", True),
        ("http://ollama.localhost:1", True),
        ("http://127.8.8.8", True),
        ("http://[::1]", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
    ],
)
def test_loopback(value: str, loopback: bool) -> None:
    assert parse_address(value, setting="X").is_loopback is loopback


@pytest.mark.parametrize(
    ("value", "is_openai"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://API.OPENAI.COM/v1", True),
        ("https://notopenai.com/v1", False),
        ("http://openai.com.example.org", False),
    ],
)
def test_openais_own_service(value: str, is_openai: bool) -> None:
    assert parse_address(value, setting="X").is_openai is is_openai


@pytest.mark.parametrize(
    ("model", "document", "query"),
    [
        ("nomic-embed-text", "search_document: ", "search_query: "),
        ("nomic-embed-text:latest", "search_document: ", "search_query: "),
        ("nomic-ai/nomic-embed-text-v1.5", "search_document: ", "search_query: "),
        ("text-embedding-nomic-embed-text-v1.5", "search_document: ", "search_query: "),
        ("hf.co/nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0", "search_document: ", "search_query: "),
        ("mxbai-embed-large:335m", "", "Represent this sentence for searching relevant passages: "),
        ("embeddinggemma:300m", "title: none | text: ", "task: search result | query: "),
        ("google/embeddinggemma-300m", "title: none | text: ", "task: search result | query: "),
        ("bge-m3", "", ""),
        ("all-minilm:33m", "", ""),
        ("text-embedding-3-small", "", ""),
        ("unheard-of", "", ""),
        ("mynomic-embed-textual", "", ""),
    ],
)
def test_known_prefixes(model: str, document: str, query: str) -> None:
    prefixes = known_prefixes(model)
    assert (prefixes.document, prefixes.query) == (document, query)


@pytest.mark.parametrize("model", ["qwen3-embedding:0.6b", "qwen3-embedding", "Qwen/Qwen3-Embedding-8B"])
def test_qwens_query_prefix_holds_its_task(model: str) -> None:
    prefixes = known_prefixes(model)
    assert prefixes.document == ""
    assert prefixes.query.startswith("Instruct: ")
    assert prefixes.query.endswith("\nQuery:")


async def test_a_prefix_in_the_settings_wins_even_an_empty_one() -> None:
    settings = Settings(embedder="ollama:nomic-embed-text", document_prefix="", query_prefix="q: ")
    embedder = build_embedder(settings)
    assert (embedder.identity.document_prefix, embedder.identity.query_prefix) == ("", "q: ")
    await embedder.close()


@pytest.mark.parametrize("kind", ProviderKind)
def test_the_settings_make_a_provider_of_each_kind(kind: ProviderKind) -> None:
    settings = load_settings(
        ollama_url="gpu1", openai_url="http://gpu2/v1", openai_api_key=SecretStr("sk-ours"), embedder="local"
    )
    provider = provider_of_settings(settings, kind)
    urls = {ProviderKind.LOCAL: (), ProviderKind.OLLAMA: ("gpu1",), ProviderKind.OPENAI: ("http://gpu2/v1",)}
    assert (provider.id, provider.kind, provider.name, provider.urls) == (None, kind, kind.value, urls[kind])
    assert (provider.api_key is not None) == (kind is ProviderKind.OPENAI), "a key goes where it belongs"


def test_a_key_that_lies_around_goes_to_openai_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ambient")
    at_openai = provider_of_settings(load_settings(), ProviderKind.OPENAI).api_key
    assert at_openai is not None
    assert at_openai.get_secret_value() == "sk-ambient"
    elsewhere = load_settings(openai_url="http://gpu2/v1")
    assert provider_of_settings(elsewhere, ProviderKind.OPENAI).api_key is None


@pytest.mark.parametrize(
    ("kind", "urls", "says"),
    [
        (ProviderKind.OLLAMA, (), "the URL of gpus .* is not set"),
        (ProviderKind.OLLAMA, ("http://gpu1", "ftp://gpu2"), "the URL of gpus .* is not a URL"),
        (ProviderKind.OPENAI, ("http://gpu1/v1?key=s3cret",), "the URL of gpus .* has a query"),
        (ProviderKind.OPENAI, ("https://api.openai.com/v1",), "the key of gpus .* is not set"),
    ],
)
def test_a_stored_provider_is_mended_where_it_is_stored(kind: ProviderKind, urls: tuple[str, ...], says: str) -> None:
    provider = Provider(id=uuid4(), kind=kind, name="gpus", urls=urls)
    with pytest.raises(InvalidSettings, match=says) as caught:
        build_embedder_of(provider, "some-model", first_timeout_seconds=1, timeout_seconds=1)
    assert "winnow providers edit gpus" in str(caught.value)
    assert "WINNOW_" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "own", "used"),
    [(None, None, "search_document: "), (None, "", ""), (None, "p: ", "p: "), ("g: ", "p: ", "g: "), ("", "p: ", "")],
)
async def test_a_prefix_is_the_given_one_or_the_providers_or_the_models(
    given: str | None, own: str | None, used: str
) -> None:
    provider = Provider(id=uuid4(), kind=ProviderKind.OLLAMA, name="gpus", urls=("http://gpu1",), document_prefix=own)
    embedder = build_embedder_of(
        provider, "nomic-embed-text:latest", first_timeout_seconds=1, timeout_seconds=1, document_prefix=given
    )
    identity = embedder.identity
    assert (identity.provider, identity.model) == ("ollama", "nomic-embed-text"), "whatever its name and its servers"
    assert (identity.document_prefix, identity.query_prefix) == (used, "search_query: ")
    await embedder.close()


def test_a_provider_that_is_not_chosen_is_not_even_imported() -> None:
    code = (
        "import sys; from winnow.providers.factory import build_embedder, check_embedder;"
        "from winnow.settings import Settings;"
        "check_embedder(Settings(embedder='ollama:x', _env_file=None));"
        "early = {'openai', 'ollama', 'tokenizers'} & set(sys.modules);"
        "build_embedder(Settings(embedder='local', _env_file=None));"
        "late = {'openai', 'ollama', 'wordllama'} & set(sys.modules);"
        "sys.exit(f'{early} {late}' if early or late else 0)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
