"""What the environment names is read as its owners read it, and the best model of a server is proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from winnow.domain.ollama_host import ollama_url
from winnow.domain.providers import ProviderKind
from winnow.errors import InvalidInput, InvalidSettings
from winnow.pipeline.setup import look, offers, proposed, proposed_chat
from winnow.providers.base import ServedModel
from winnow.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

KEY = SecretStr("sk-lies-there")


@pytest.fixture(autouse=True)
def only_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OLLAMA_HOST", "OPENAI_API_KEY", "OPENAI_BASE_URL", "WINNOW_OLLAMA_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("gpu1", "http://gpu1:11434"), ("gpu1:8080", "http://gpu1:8080"), (" gpu1 ", "http://gpu1:11434"),
        ('"gpu1:80"', "http://gpu1:80"), ("http://gpu1", "http://gpu1:80"), ("https://gpu1", "https://gpu1:443"),
        ("http://gpu1:5/ollama/", "http://gpu1:5/ollama"), ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:5", "http://127.0.0.1:5"), ("http://0.0.0.0:5", "http://127.0.0.1:5"), (":5", "http://127.0.0.1:5"),
        ("[::]:5", "http://127.0.0.1:5"), ("::", "http://127.0.0.1:11434"), ("[::1]:5", "http://[::1]:5"),
        ("::1", "http://[::1]:11434"), ("[::1]", "http://[::1]:11434"), ("gpu1:port", "http://gpu1:11434"),
        ("gpu1:99999", "http://gpu1:11434"), ("10.0.0.7", "http://10.0.0.7:11434"),
    ],
)  # fmt: skip
def test_ollamas_own_forms(host: str, url: str) -> None:
    assert ollama_url(host) == url


def test_an_ollama_is_looked_for_where_it_usually_is() -> None:
    (offer,) = offers(load_settings())
    assert (offer.kind, offer.url, offer.said_by, offer.is_local) == (
        "ollama", "http://127.0.0.1:11434", "this machine", True,
    )  # fmt: skip


def test_variables_name_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "gpu1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY.get_secret_value())
    ollama, openai = offers(load_settings())
    assert (ollama.url, ollama.said_by, ollama.is_local, ollama.api_key) == (
        "http://gpu1:11434", "OLLAMA_HOST", False, None,
    )  # fmt: skip
    assert (openai.url, openai.said_by, openai.is_local, openai.api_key) == (
        "https://api.openai.com/v1", "OPENAI_API_KEY", False, KEY,
    )  # fmt: skip
    assert KEY.get_secret_value() not in repr(openai)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1/")
    openai = offers(load_settings())[1]
    assert (openai.url, openai.said_by, openai.is_local, openai.api_key) == (
        "http://127.0.0.1:8000/v1", "OPENAI_BASE_URL and OPENAI_API_KEY", True, KEY,
    )  # fmt: skip
    monkeypatch.delenv("OPENAI_API_KEY")
    assert offers(load_settings())[1].api_key is None


@pytest.mark.parametrize("name", ["OLLAMA_HOST", "OPENAI_BASE_URL"])
def test_what_cannot_be_used_is_told_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("ftp://gpu1", "169.254.169.254", "http://a b"):
        monkeypatch.setenv(name, value)
        with pytest.raises(InvalidSettings, match=f"^{name} "):
            offers(load_settings())
    monkeypatch.setenv(name, "http://user:hunter2@gpu1")
    with pytest.raises(InvalidInput, match=name) as caught:
        offers(load_settings())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "best"),
    [
        ([], None),
        (["qwen3:8b", "llama3.2:latest"], None),
        (["all-minilm:latest", "mxbai-embed-large:latest", "qwen3:8b"], "mxbai-embed-large"),
        (["nomic-embed-text:v1.5"], "nomic-embed-text:v1.5"),
        (["gpt-5", "text-embedding-3-large", "text-embedding-3-small"], "text-embedding-3-small"),
        (["BAAI/bge-m3"], "BAAI/bge-m3"),
        (["snowflake-arctic-embed2:latest", "x"], "snowflake-arctic-embed2"),
    ],
)
def test_the_best_known_model_is_proposed(names: list[str], best: str | None) -> None:
    assert proposed([ServedModel(name=name) for name in names], own_tag=":latest") == best


def test_what_the_server_says_of_a_model_counts() -> None:
    models = [ServedModel(name="embed-me", embeds=False), ServedModel(name="odd-name", embeds=True)]
    assert proposed(models, own_tag="") == "odd-name"


@pytest.mark.parametrize(
    ("name", "url", "kind"),
    [
        ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1", ProviderKind.OPENAI),
        ("WINNOW_OLLAMA_URL", "http://127.0.0.1:9", ProviderKind.OLLAMA),
    ],
)
async def test_trouble_is_told_by_the_name_that_was_set(
    name: str, url: str, kind: ProviderKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, url)
    (offer,) = (each for each in offers(load_settings()) if each.kind is kind)
    told = (await look(offer, with_key=False)).trouble
    assert told is not None
    assert "does not answer" in told
    assert "WINNOW_OPENAI_URL" not in told
    assert (name in told) == (kind is ProviderKind.OPENAI), "an Ollama is started by one command"


@pytest.mark.parametrize(
    ("names", "chat"),
    [
        (["nomic-embed-text:latest"], None),
        (["qwen3:8b", "llama3.1:8b"], "qwen3:8b"),
        (["gpt-4o-mini", "text-embedding-3-small"], "gpt-4o-mini"),
        (["some-model"], None),
    ],
)
def test_a_model_to_extract_with_is_proposed_where_there_is_one_for_sure(names: list[str], chat: str | None) -> None:
    assert proposed_chat([ServedModel(name=name) for name in names], own_tag=":latest") == chat


def test_a_model_that_says_it_chats_is_one() -> None:
    models = [ServedModel(name="a", chats=False), ServedModel(name="b:latest", chats=True)]
    assert proposed_chat(models, own_tag=":latest") == "b"
