"""Who embeds for a stored space: its provider as it is written down now, with the prefixes of its vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import SecretStr
from typing_extensions import override

from plugins.pipeline import SteeredEmbedder, add_messages, vector_in
from winnow.bootstrap import build
from winnow.domain.jobs import Kind
from winnow.domain.providers import Provider, ProviderKind
from winnow.domain.spaces import EmbedderIdentity, Space
from winnow.errors import SpaceMismatch
from winnow.pipeline import embedders
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.embedders import Embedders
from winnow.pipeline.providers import create_provider, edit_provider
from winnow.pipeline.remodel import begin_change
from winnow.servers import Servers
from winnow.settings import Settings
from winnow.storage.spaces import create_space

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

    from plugins.model_servers import OpenAIServer
    from winnow.bootstrap import Winnow


class Closing(SteeredEmbedder):
    """Tells whether it was closed."""

    closed = False

    @override
    async def close(self) -> None:
        self.closed = True


M = Kind.MESSAGES
KEY = "sk-first-key-of-this-test"


@pytest.fixture
async def winnow(database_url: str, tmp_path: Path) -> AsyncIterator[Winnow]:
    """One process, with nothing chosen in its settings."""
    settings = Settings(_env_file=None, data_dir=tmp_path)
    made = build(settings, Servers(database_url=database_url, nats_url="nats://127.0.0.1:1"))
    yield made
    await made.close()


async def test_a_provider_that_is_edited_is_used_as_it_is_now(
    winnow: Winnow, openai_server: OpenAIServer, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedders, "LOOK_EVERY_SECONDS", 0.0)
    openai_server.api_key = KEY
    registry = winnow.registry()
    row = await create_provider(
        registry, name="gpu", kind=ProviderKind.OPENAI, given={"urls": [openai_server.url], "api_key": SecretStr(KEY)}
    )
    embedder = winnow.embedder_of(await registry.get(row.id), "text-embedding-3-small")
    space = await begin_change(winnow.database, embedder, provider_id=row.id)
    await embedder.close()
    one, two = await add_messages(sql, ["one", "two"])
    assert (await embed_rows(winnow.embedding(), M, [one])).embedded == 1
    openai_server.api_key = "sk-second-key"
    assert (await embed_rows(winnow.embedding(), M, [two])).waiting == 1
    await edit_provider(registry, "gpu", {"api_key": SecretStr("sk-second-key")})
    await winnow.embeddings.look_now()
    await sql.execute("UPDATE embedding_jobs SET not_before = now()")
    assert (await embed_rows(winnow.embedding(), M, [two], provider_id=str(row.id))).embedded == 1
    with pytest.raises(SpaceMismatch, match="embeds for no space"):
        await embed_rows(winnow.embedding(), M, [two], provider_id="8c1f2c1e-0000-4000-8000-000000000000")
    assert space.provider_id == row.id


async def test_the_prefixes_of_stored_vectors_stay_when_the_table_of_models_changes(
    winnow: Winnow, openai_server: OpenAIServer, database_url: str, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    """Revision by revision a model's prefixes may become better known; what is stored was made with the old ones."""
    identity = EmbedderIdentity(provider="openai", model="nomic-embed-text-v1.5", document_prefix="old: ")
    async with winnow.database.transaction() as connection:
        await create_space(connection, identity, openai_server.vector("old: dimension").tolist())
    settings = Settings(
        _env_file=None, data_dir=tmp_path, embedder="openai:nomic-embed-text-v1.5", openai_url=openai_server.url
    )
    later = build(settings, Servers(database_url=database_url, nats_url="nats://127.0.0.1:1"))
    assert later.embedder.identity.document_prefix == "search_document: "
    (row,) = await add_messages(sql, ["one"])
    assert (await embed_rows(later.embedding(), M, [row])).embedded == 1
    assert np.allclose(await vector_in(sql, M, row), openai_server.vector("old: one"))
    await later.close()

    insisting = build(settings.model_copy(update={"document_prefix": "mine: "}), replace(later.servers))
    with pytest.raises(SpaceMismatch, match="WINNOW_DOCUMENT_PREFIX"):
        await embed_rows(insisting.embedding(), M, [row])
    await insisting.close()


async def test_of_the_settings_providers_the_one_of_the_kind_is_known(winnow: Winnow) -> None:
    """Each kind has one, and none has an id; a price goes by the right one."""
    source = Embedders(
        providers=winnow.registry(),
        of_settings=lambda kind: Provider(kind=ProviderKind(kind), name=kind),
        make=lambda provider, _space: SteeredEmbedder(model=provider.name),
    )
    for number, kind in enumerate(("ollama", "openai")):
        identity = EmbedderIdentity(provider=kind, model="m")
        await source.of(Space(id=number, identity=identity, dimensions=8))
    known = source.known("openai", None)
    assert known is not None
    assert known.kind is ProviderKind.OPENAI
    assert source.known("local", None) is None
    await source.close()


async def test_of_replaced_embedders_only_the_latest_stay_open(winnow: Winnow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "LOOK_EVERY_SECONDS", 0.0)
    made: list[Closing] = []

    def make(_provider: Provider, _space: Space) -> Closing:
        made.append(Closing())
        return made[-1]

    source = Embedders(
        providers=winnow.registry(),
        of_settings=lambda kind: Provider(kind=ProviderKind(kind), name=f"{kind} {len(made)}"),
        make=make,
    )
    space = Space(id=1, identity=EmbedderIdentity(provider="ollama", model="m"), dimensions=8)
    for _ in range(5):
        assert await source.of(space) is made[-1]
    assert [one.closed for one in made] == [True, True, False, False, False]
    await source.close()
    assert all(one.closed for one in made)
