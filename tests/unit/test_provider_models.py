"""The table of known models is whole, finds a model under the names its servers give it, and knows no false price."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest

from winnow.domain.providers import ProviderKind
from winnow.providers.models import KnownModel, known_model, known_prefixes
from winnow.providers.prices import KnownPrices

TABLE: dict[str, list[dict[str, Any]]] = tomllib.loads(
    files("winnow.providers").joinpath("models.toml").read_text("utf-8")
)
ENTRIES = [(use, entry) for use, entries in TABLE.items() for entry in entries]
PRICES = ("price_usd_per_million_tokens", "output_price_usd_per_million_tokens")


def model(name: str) -> KnownModel:
    known = known_model(name)
    assert known is not None, name
    return known


@pytest.mark.parametrize(("use", "entry"), ENTRIES, ids=[entry["names"][0] for _, entry in ENTRIES])
def test_every_entry_is_whole(use: str, entry: dict[str, Any]) -> None:
    assert use in ("embedding", "chat")
    assert len(entry["source"]) > 10
    assert isinstance(entry["context"], int)
    assert 128 <= entry["context"] <= 2_000_000
    for name in entry["names"]:
        assert name == name.lower().strip()
        assert ":" not in name, "tags are joined with a dash"
        found = model(name)
        assert (found.family, found.use, found.source) == (name, use, entry["source"])
    priced = [entry[price] for price in PRICES if price in entry]
    assert all(isinstance(price, float) and 0 < price < 100 for price in priced)
    assert ("as_of" in entry) == bool(priced), "a price has its day"
    if priced:
        assert isinstance(entry["as_of"], date)
        assert date(2024, 1, 1) < entry["as_of"] <= datetime.now(UTC).date()
    if use == "embedding":
        assert isinstance(entry["shortenable"], bool)
        assert entry.get("dimensions") is None or 64 <= entry["dimensions"] <= 8192
        assert PRICES[1] not in entry, "embeddings are read, and nothing is written"
    else:
        assert not {"dimensions", "shortenable", "document_prefix", "query_prefix"} & set(entry)
        assert len(priced) in (0, 2)


def test_no_name_is_in_two_entries() -> None:
    names = [name for _, entry in ENTRIES for name in entry["names"]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "family", "dimensions", "context"),
    [
        ("mxbai-embed-large:335m", "mxbai-embed-large", 1024, 512),
        ("nomic-embed-text:latest", "nomic-embed-text", 768, 2048),
        ("nomic-ai/nomic-embed-text-v1", "nomic-embed-text-v1", 768, 2048),
        ("text-embedding-nomic-embed-text-v1.5", "nomic-embed-text-v1.5", 768, 2048),
        ("nomic-embed-text-v2-moe", "nomic-embed-text-v2-moe", 768, 512),
        ("qwen3-embedding", "qwen3-embedding", None, 32768),
        ("qwen3-embedding:0.6b", "qwen3-embedding-0.6b", 1024, 32768),
        ("qwen3-embedding:4b-q8_0", "qwen3-embedding-4b", 2560, 32768),
        ("Qwen/Qwen3-Embedding-8B", "qwen3-embedding-8b", 4096, 32768),
        ("BAAI/bge-m3", "bge-m3", 1024, 8192),
        ("bge-large:335m", "bge-large", 1024, 512),
        ("embeddinggemma:300m", "embeddinggemma", 768, 2048),
        ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm", 384, 256),
        ("all-MiniLM-L12-v2", "all-minilm-l12", 384, 128),
        ("intfloat/multilingual-e5-large", "multilingual-e5-large", 1024, 512),
        ("intfloat/multilingual-e5-large-instruct", "multilingual-e5-large-instruct", 1024, 512),
        ("snowflake-arctic-embed:22m", "snowflake-arctic-embed-22m", 384, 512),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "snowflake-arctic-embed-l-v2.0", 1024, 8192),
        ("snowflake-arctic-embed2", "snowflake-arctic-embed2", 1024, 8192),
        ("jina/jina-embeddings-v2-base-de", "jina-embeddings-v2-base", 768, 8192),
        ("text-embedding-3-large", "text-embedding-3-large", 3072, 8192),
        ("gpt-4.1-mini-2025-04-14", "gpt-4.1-mini", None, 1047576),
        ("llama3.2:3b", "llama3.2", None, 131072),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1", None, 131072),
        ("qwen3:8b", "qwen3", None, 32768),
        ("gemma3:1b", "gemma3-1b", None, 32768),
        ("gemma3:27b", "gemma3", None, 131072),
        ("intfloat/e5-mistral-7b-instruct", "e5-mistral-7b-instruct", 4096, 4096),
    ],
)
def test_a_model_is_found_under_its_servers_names(name: str, family: str, dimensions: int | None, context: int) -> None:
    found = model(name)
    assert (found.family, found.dimensions, found.context) == (family, dimensions, context)


@pytest.mark.parametrize("name", ["", "unheard-of", "mynomic-embed-textual", "gpt-4", "llama3", "my-model:bge-m3"])
def test_other_models_are_not_known(name: str) -> None:
    assert known_model(name) is None
    assert (known_prefixes(name).document, known_prefixes(name).query) == ("", "")


def test_only_openais_own_service_has_the_listed_price() -> None:
    prices = KnownPrices()
    for own_service, price in ((True, Decimal("0.02")), (False, None)):
        found = prices.price_usd("openai", "text-embedding-3-small", 1_000_000, 0, own_service=own_service)
        assert found == price
    assert prices.price_usd("openai", "unheard-of", 1, 0, own_service=True) is None
    mini = prices.price_usd("openai", "gpt-4o-mini-2024-07-18", 2_000_000, 1_000_000, own_service=True)
    assert mini == Decimal("0.9")


@pytest.mark.parametrize("kind", [ProviderKind.LOCAL, ProviderKind.OLLAMA])
def test_nobody_charges_for_tokens_of_ones_own_models(kind: ProviderKind) -> None:
    assert KnownPrices().price_usd(kind, "text-embedding-3-small", 10**9, 0, own_service=False) == 0


@pytest.mark.parametrize("name", ["gpt-4o-mini-audio-preview", "gpt-4o-mini-tts", "my-text-embedding-3-small"])
def test_a_relative_has_the_context_and_not_the_price(name: str) -> None:
    found = model(name)
    assert found.context
    assert found.price_usd_per_million_tokens is None
    assert KnownPrices().price_usd("openai", name, 1, 0, own_service=True) is None
