"""Providers are written down, changed and removed as people say, their keys encrypted; one in use stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from winnow.domain.providers import ProviderKind
from winnow.errors import InvalidInput, InvalidSettings, ProviderInUse, ProviderNotFound, SetupFault
from winnow.pipeline.providers import (
    Registry,
    check_provider,
    checked_dimensions,
    create_provider,
    edit_provider,
    provider_of,
    rotate_secret,
)
from winnow.secrets import Secrets
from winnow.storage.providers import ProviderStore

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

    from plugins.model_servers import ModelServer, OllamaServer, OpenAIServer
    from winnow.storage.engine import Database
    from winnow.storage.providers import StoredProvider

KEY = SecretStr("sk-very-secret-0123456789")
OTHER = SecretStr("sk-another-one")


@pytest.fixture
def registry(database: Database, tmp_path: Path) -> Registry:
    return with_secrets(database, Secrets(file=tmp_path / "secret.key"))


def with_secrets(database: Database, secrets: Secrets) -> Registry:
    return Registry(store=ProviderStore(database), secrets=secrets, first_timeout_seconds=5, timeout_seconds=5)


async def add(registry: Registry, name: str = "gpu", kind: ProviderKind = ProviderKind.OLLAMA, **given: Any) -> Any:
    return await create_provider(registry, name=name, kind=kind, given=given)  # type: ignore[arg-type]


async def edit(registry: Registry, which: str | UUID, /, **given: Any) -> StoredProvider:
    return await edit_provider(registry, which, given)  # type: ignore[arg-type]


async def clear_key(registry: Registry, name: str) -> SecretStr | None:
    return provider_of(await registry.store.get(name), registry.secrets).api_key


async def test_all_that_is_said_of_one_comes_back(registry: Registry) -> None:
    said: dict[str, Any] = {
        "urls": ("http://gpu1:11434", "http://gpu2:11434"), "embedding_model": "bge-m3", "chat_model": "qwen3:8b",
        "document_prefix": "", "query_prefix": "q: ", "requests_per_minute": 60, "tokens_per_minute": 9, "at_once": 2,
    }  # fmt: skip
    made = await add(registry, api_key=KEY, **said)
    for stored in (made, await registry.store.get("gpu"), await registry.store.get(made.id)):
        assert {name: getattr(stored, name) for name in said} == said
        assert (stored.kind, stored.active, stored.has_key) == (ProviderKind.OLLAMA, True, True)
        provider = provider_of(stored, registry.secrets)
        assert {name: getattr(provider, name) for name in said} == said
        assert (provider.id, provider.name, provider.api_key) == (made.id, "gpu", KEY)
        assert KEY.get_secret_value() not in f"{stored!r} {provider!r}"


async def test_where_it_usually_is_needs_no_saying(registry: Registry) -> None:
    assert (await add(registry)).urls == ("http://127.0.0.1:11434",)
    assert (await add(registry, "o", ProviderKind.OPENAI, api_key=KEY)).urls == ("https://api.openai.com/v1",)
    assert (await add(registry, "two", urls=["gpu1", "http://gpu1:11434/", "gpu2:80"])).urls == (
        "http://gpu1:11434", "http://gpu2:80",
    )  # fmt: skip
    assert [stored.name for stored in await registry.store.all()] == ["gpu", "o", "two"]


async def test_the_clear_key_is_nowhere_in_the_database(registry: Registry, sql: asyncpg.Connection) -> None:
    await add(registry, api_key=KEY)
    (row,) = await sql.fetch("SELECT * FROM llm_providers")
    assert KEY.get_secret_value() not in str(row)
    assert KEY.get_secret_value().encode() not in row["api_key"]


async def test_only_what_is_given_changes(registry: Registry) -> None:
    made = await add(registry, urls=["gpu1"], embedding_model="bge-m3", api_key=KEY, at_once=2)
    changed = await edit(registry, "gpu", chat_model="qwen3:8b", at_once=None)
    assert (changed.embedding_model, changed.chat_model, changed.at_once) == ("bge-m3", "qwen3:8b", None)
    assert changed.changed_at > made.changed_at
    assert (changed.created_at, changed.urls) == (made.created_at, made.urls)
    assert await clear_key(registry, "gpu") == KEY
    await edit(registry, made.id, name="gpu.2", active=False, api_key=OTHER)
    assert await clear_key(registry, "gpu.2") == OTHER
    assert not (await registry.store.get("gpu.2")).active
    await edit(registry, "gpu.2", api_key=None)
    assert not (await registry.store.get("gpu.2")).has_key


async def test_names_are_unique_and_known(registry: Registry) -> None:
    await add(registry)
    other = await add(registry, "other")
    for again in (add(registry), edit(registry, "other", name="gpu")):
        with pytest.raises(InvalidInput, match="a provider named gpu already"):
            await again
    await registry.store.delete(other.id)
    for missing in ("other", other.id, uuid4()):
        with pytest.raises(ProviderNotFound, match="winnow providers list"):
            await edit(registry, missing, at_once=1)
    with pytest.raises(ProviderNotFound):
        await registry.store.delete(other.id)


@pytest.mark.parametrize("name", ["", "local", "GPU", "-a", ".a", "a b", "a/b", "a:b", "a\n", "é", "a" * 65])
async def test_a_name_that_cannot_be_written_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 64 of a-z"):
        await add(registry, name)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"urls": ["http://169.254.169.254"]}, "the URL of gpu leads to http://169.254.169.254, which is link-local"),
        ({"urls": ["http://user:hunter2@gpu1"]}, "credentials in it"),
        ({"urls": ["hunter2@gpu1"]}, "credentials in it"),
        ({"urls": ["ftp://gpu1"]}, "is not a URL"),
        ({"urls": ["http://gpu1/\x00"]}, "printable"),
        ({"urls": ["http://gpu1/" + "x" * 2000]}, "2,000"),
        ({"urls": [f"http://gpu{number}" for number in range(9)]}, "at most 8"),
        ({"embedding_model": "a b"}, "embedding model"),
        ({"embedding_model": ""}, "embedding model"),
        ({"chat_model": "x" * 201}, "chat model"),
        ({"document_prefix": "x" * 1001}, "document prefix"),
        ({"query_prefix": "\x00"}, "query prefix"),
        ({"requests_per_minute": 0}, "requests a minute"),
        ({"tokens_per_minute": 2**40}, "tokens a minute"),
        ({"at_once": 300}, "requests at once"),
        ({"api_key": SecretStr("")}, "a key has"),
        ({"api_key": SecretStr("hunter2 hunter2")}, "a key has"),
        ({"api_key": SecretStr("hunter2\nX: y")}, "a key has"),
        ({"api_key": SecretStr("hunter2é")}, "a key has"),
        ({"api_key": SecretStr("hunter2" * 1000)}, "a key has"),
    ],
)
async def test_what_cannot_be_is_refused_in_a_sentence(registry: Registry, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        await add(registry, **given)
    assert "hunter2" not in str(caught.value)
    await add(registry)
    with pytest.raises(InvalidInput, match=words):
        await edit(registry, "gpu", **given)


async def test_the_built_in_model_is_no_row_and_openai_wants_a_key(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="is called local"):
        await add(registry, kind=ProviderKind.LOCAL)
    with pytest.raises(InvalidInput, match="wants a key"):
        await add(registry, kind=ProviderKind.OPENAI)
    await add(registry, kind=ProviderKind.OPENAI, api_key=KEY)
    with pytest.raises(InvalidInput, match="wants a key"):
        await edit(registry, "gpu", api_key=None)


async def test_a_stored_key_goes_to_no_server_that_it_was_not_given_for(registry: Registry) -> None:
    await add(registry, urls=["https://gpu1/v1", "https://gpu2/v1"], kind=ProviderKind.OPENAI, api_key=KEY)
    for urls in (["https://evil.example/v1"], ["https://gpu1/v1", "https://gpu3/v1"], ["http://gpu1/v1"]):
        with pytest.raises(InvalidInput, match="was given for https://gpu1/v1, https://gpu2/v1"):
            await edit(registry, "gpu", urls=urls)
    assert (await edit(registry, "gpu", urls=["https://gpu2/other"])).urls == ("https://gpu2/other",)
    await edit(registry, "gpu", urls=["https://gpu3/v1"], api_key=KEY)
    await edit(registry, "gpu", urls=["https://gpu4/v1"], api_key=None)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("active", "serves the searches; .* winnow model use"),
        ("building", "is being changed to; .* winnow model cancel"),
        ("previous", "is what `winnow model back` goes back to; .* winnow model forget"),
    ],
)
async def test_one_in_use_is_neither_removed_nor_switched_off(
    registry: Registry, sql: asyncpg.Connection, status: str, words: str
) -> None:
    used = await add(registry)
    await sql.execute(
        "INSERT INTO embedding_spaces (provider, model, dimensions, status, provider_id) "
        "VALUES ('ollama', 'bge-m3', 8, $1, $2)",
        status,
        used.id,
    )
    with pytest.raises(ProviderInUse, match=f"gpu cannot be removed: its bge-m3 {words}"):
        await registry.store.delete(used.id)
    with pytest.raises(ProviderInUse, match="gpu cannot be switched off"):
        await edit(registry, "gpu", active=False)
    await edit(registry, "gpu", name="renamed")
    await sql.execute("UPDATE embedding_spaces SET status = 'retired'")
    await edit(registry, "renamed", active=False)
    await registry.store.delete(used.id)
    assert await sql.fetchval("SELECT provider_id FROM embedding_spaces") is None


async def test_another_secret_opens_no_key(database: Database, tmp_path: Path) -> None:
    one, two = (SecretStr(Fernet.generate_key().decode()) for _ in range(2))
    old, new = (with_secrets(database, Secrets(given=[each], file=tmp_path / "unused")) for each in (one, two))
    await add(old, api_key=KEY)
    for use in (clear_key(new, "gpu"), rotate_secret(new)):
        with pytest.raises(SetupFault, match="the key of gpu cannot be decrypted"):
            await use
    checked = await check_provider(new, await new.store.get("gpu"))
    assert not checked.passed
    assert "winnow providers edit gpu --key -" in checked.said
    assert await rotate_secret(with_secrets(database, Secrets(given=[two, one], file=tmp_path / "unused"))) == 1
    assert await clear_key(new, "gpu") == KEY
    with pytest.raises(SetupFault):
        await clear_key(old, "gpu")


async def test_the_secret_of_a_file_is_exchanged_and_may_be_interrupted(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret.key"
    for name in ("one", "two"):
        await add(registry, name, api_key=KEY)
    before = file.read_text()
    unchanged = await add(registry, "three")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for moment in ("encrypt", "forget_unused"):  # the second: keys are under the new one, the old one is still there
        with monkeypatch.context() as patch:
            patch.setattr(Secrets, moment, interrupted)
            with pytest.raises(KeyboardInterrupt):
                await rotate_secret(registry)
        assert {await clear_key(registry, "one"), await clear_key(registry, "two")} == {KEY}
    assert before.strip() in file.read_text()
    assert await rotate_secret(registry) == 2
    assert len(file.read_text().split()) == 1
    assert before.strip() not in file.read_text()
    assert {await clear_key(registry, "one"), await clear_key(registry, "two")} == {KEY}
    assert (await registry.store.get("three")) == unchanged


async def test_a_key_of_no_known_secret_keeps_all_as_they_are(registry: Registry, sql: asyncpg.Connection) -> None:
    for name in ("one", "two"):
        await add(registry, name, api_key=KEY)
    await sql.execute("UPDATE llm_providers SET api_key = 'nonsense' WHERE name = 'two'")
    before = await sql.fetchval("SELECT api_key FROM llm_providers WHERE name = 'one'")
    with pytest.raises(SetupFault, match="the key of two"):
        await rotate_secret(registry)
    assert await sql.fetchval("SELECT api_key FROM llm_providers WHERE name = 'one'") == before


async def test_a_check_asks_every_server_and_is_noted(
    registry: Registry, ollama_server: OllamaServer, openai_server: OpenAIServer
) -> None:
    made = await add(registry, urls=[ollama_server.url], embedding_model="bge-m3")
    assert await said(registry, made) == (True, "the server answers; bge-m3 makes vectors of 64 dimensions")
    checked = await registry.store.get("gpu")
    assert checked.checked_at is not None
    assert (checked.check_passed, checked.changed_at) == (True, made.changed_at)

    openai_server.api_key = KEY.get_secret_value()
    other = await add(
        registry, "o", ProviderKind.OPENAI, urls=[openai_server.url], embedding_model="embed-x", api_key=KEY
    )
    assert await said(registry, other) == (True, "the server answers; embed-x makes vectors of 64 dimensions")
    wrong = await edit(registry, "o", api_key=OTHER)
    assert (wrong.checked_at, wrong.check_passed, wrong.check_said) == (None, None, None)
    passed, words = await said(registry, wrong)
    assert not passed
    assert "refuses the API key" in words
    assert "the key of o" in words


async def said(registry: Registry, stored: StoredProvider) -> tuple[bool, str]:
    """What a check finds, as it is noted."""
    checked = await check_provider(registry, stored)
    noted = await registry.store.get(stored.id)
    assert (noted.check_passed, noted.check_said) == (checked.passed, checked.said)
    return checked.passed, checked.said


async def test_a_check_says_what_is_wrong(registry: Registry, ollama_server: OllamaServer) -> None:
    ollama_server.models = {"bge-m3"}
    missing = await add(registry, urls=[ollama_server.url], embedding_model="mxbai-embed-large")
    assert "ollama pull mxbai-embed-large" in (await said(registry, missing))[1]
    chat = await edit(registry, "gpu", embedding_model=None, chat_model="qwen3:8b")
    assert "does not have the model qwen3:8b" in (await said(registry, chat))[1]
    assert await said(registry, await edit(registry, "gpu", chat_model="bge-m3:latest")) == (
        True, "the server answers; bge-m3:latest is there",
    )  # fmt: skip
    assert await said(registry, await edit(registry, "gpu", chat_model=None)) == (True, "the server answers")
    ollama_server.stop()
    passed, words = await said(registry, await registry.store.get("gpu"))
    assert not passed
    assert "does not answer" in words


async def test_servers_of_one_provider_have_the_same_model(registry: Registry, ollama_server: OllamaServer) -> None:
    from plugins.model_servers import OllamaServer as Another  # noqa: PLC0415

    spare = Another(dimensions=64)
    spare.start()
    made = await add(registry, urls=[ollama_server.url, spare.url], embedding_model="bge-m3")
    assert (await said(registry, made))[1].startswith("all 2 servers answer")
    spare.dimensions = 32
    passed, words = await said(registry, made)
    assert not passed
    assert "different models of the name bge-m3" in words
    spare.stop()
    checked = await check_provider(registry, made)
    assert (checked.passed, checked.warning, checked.dimensions) == (True, True, 64)
    assert checked.said.startswith("1 of 2 servers answer; bge-m3 makes vectors of 64 dimensions; ")
    assert spare.url in checked.said
    assert checked_dimensions(await registry.store.get("gpu")) == 64
    ollama_server.stop()
    passed, words = await said(registry, made)
    assert not passed
    assert "does not answer" in words


@pytest.mark.parametrize("kind", list(ProviderKind)[1:])
async def test_a_key_that_the_server_repeats_is_not_noted(
    registry: Registry, ollama_server: OllamaServer, openai_server: OpenAIServer, kind: ProviderKind
) -> None:
    server: ModelServer = ollama_server if kind is ProviderKind.OLLAMA else openai_server
    made = await add(registry, kind=kind, urls=[server.url], embedding_model="x", api_key=KEY)
    server.behave("broken", words=f"no such account: {KEY.get_secret_value()}")
    passed, words = await said(registry, made)
    assert not passed
    assert "no such account: ***" in words
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY.get_secret_value()}"


async def test_what_was_checked_and_changed_meanwhile_is_not_noted(
    registry: Registry, ollama_server: OllamaServer
) -> None:
    made = await add(registry, urls=[ollama_server.url], embedding_model="bge-m3")
    await edit(registry, "gpu", embedding_model="another")
    await check_provider(registry, made)
    assert (await registry.store.get("gpu")).checked_at is None


async def test_an_address_that_is_forbidden_by_now_is_not_asked(registry: Registry, sql: asyncpg.Connection) -> None:
    made = await add(registry)
    await sql.execute("UPDATE llm_providers SET urls = ARRAY['http://169.254.169.254/v1']")
    passed, words = await said(registry, await registry.store.get(made.id))
    assert not passed
    assert "link-local" in words
    assert issubclass(InvalidSettings, InvalidInput)


async def test_a_key_that_is_written_during_an_exchange_is_of_the_new_secret(
    registry: Registry, tmp_path: Path, somebody: asyncpg.Connection, sql: asyncpg.Connection
) -> None:
    await add(registry, "one", api_key=KEY)
    async with somebody.transaction():
        await somebody.execute("SELECT pg_advisory_xact_lock(x'77696e6b'::bigint)")  # as an exchange holds it
        adding = asyncio.create_task(add(registry, "two", api_key=OTHER))
        while not await sql.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert not adding.done()
        (tmp_path / "secret.key").write_bytes(Fernet.generate_key() + b"\n")
    await adding
    assert await clear_key(registry, "two") == OTHER
    with pytest.raises(SetupFault, match="the key of one"):
        await clear_key(registry, "one")
