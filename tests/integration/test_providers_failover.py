"""A primary and a spare over real HTTP: texts are embedded while either is there, and never by another model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from plugins.model_servers import OllamaServer, OpenAIServer
from winnow.domain.providers import Provider, ProviderKind
from winnow.errors import KeyRefused, ModelNotFound, ProviderUnavailable, SpaceMismatch
from winnow.providers.base import fingerprint_of
from winnow.providers.factory import build_embedder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugins.model_servers import ModelServer
    from winnow.providers.base import Embedder


@pytest.fixture(params=[ProviderKind.OLLAMA, ProviderKind.OPENAI])
def kind(request: pytest.FixtureRequest) -> ProviderKind:
    return ProviderKind(request.param)


@pytest.fixture
def servers(kind: ProviderKind) -> Iterator[list[ModelServer]]:
    style = OllamaServer if kind is ProviderKind.OLLAMA else OpenAIServer
    made: list[ModelServer] = [style(), style()]
    for server in made:
        server.start()
    yield made
    for server in made:
        server.stop()


def embedder_of(
    kind: ProviderKind, *urls: str, fingerprint: Sequence[float] | None = None, key: str | None = None
) -> Embedder:
    provider = Provider(id=uuid4(), kind=kind, name="gpus", urls=urls, api_key=SecretStr(key) if key else None)
    return build_embedder_of(
        provider, "some-model", first_timeout_seconds=5, timeout_seconds=5, fingerprint=fingerprint
    )


async def test_the_spare_takes_over_and_gives_back(kind: ProviderKind, servers: list[ModelServer]) -> None:
    primary, spare = servers
    url = primary.url.replace("http://", "http://user:s3cret@")
    embedder = embedder_of(kind, url, spare.url)
    await embedder.embed(["one"], input_type="document")
    primary.stop()
    with capture_logs() as logs:
        result = await embedder.embed(["two"], input_type="document")
        assert np.allclose(result.vectors[0], spare.vector("two"))
        assert result.requests == 1, "the text; neither the sentence nor what nobody answered counts"
        primary.start()
        async with asyncio.timeout(20):
            while primary.texts[-1] != "three":
                await embedder.embed(["three"], input_type="document")
                await asyncio.sleep(0.05)
    await embedder.close()
    assert [entry["event"] for entry in logs] == ["provider.failed_over", "provider.failed_back"]
    assert "s3cret" not in str(logs)


async def test_a_spare_of_another_model_is_never_used(kind: ProviderKind, servers: list[ModelServer]) -> None:
    primary, spare = servers
    spare.dimensions = 32
    embedder = embedder_of(kind, primary.url, spare.url)
    await embedder.embed(["one"], input_type="document")
    primary.stop()
    with pytest.raises(ProviderUnavailable, match=f"{spare.url} serves another model.*32 dimensions instead of 64"):
        await embedder.embed(["two"], input_type="document")
    await embedder.close()
    assert "two" not in spare.texts


async def test_the_fingerprint_of_a_space_is_known_again(kind: ProviderKind, servers: list[ModelServer]) -> None:
    plain = embedder_of(kind, servers[0].url)
    fingerprint = await fingerprint_of(plain)
    await plain.close()
    same = embedder_of(kind, servers[1].url, fingerprint=fingerprint)
    assert (await same.embed(["one"], input_type="document")).vectors.shape == (1, 64)
    await same.close()
    other = embedder_of(kind, servers[1].url, fingerprint=fingerprint[::-1])
    with pytest.raises(SpaceMismatch, match="another model"):
        await other.embed(["two"], input_type="document")
    await other.close()
    assert "two" not in servers[1].texts


async def test_without_spare_and_fingerprint_nothing_but_the_texts_is_sent(
    kind: ProviderKind, servers: list[ModelServer]
) -> None:
    embedder = embedder_of(kind, servers[0].url)
    await embedder.embed(["one"], input_type="document")
    await embedder.close()
    assert servers[0].texts == ["one"]


async def test_what_is_wrong_is_to_be_mended_where_the_provider_is_stored(
    kind: ProviderKind, servers: list[ModelServer]
) -> None:
    server = servers[0]
    embedder = embedder_of(kind, server.url, key="sk-0123456789-wrong")
    server.fail_next("key_refused", words="Incorrect API key provided: sk-0123456789-wrong")
    with pytest.raises(KeyRefused, match=r"the key of gpus \(winnow providers edit gpus\)") as caught:
        await embedder.embed(["one"], input_type="document")
    assert caught.value.__cause__ is None
    assert "sk-0123" not in str(caught.value)
    assert server.requests[0].headers["authorization"] == "Bearer sk-0123456789-wrong"
    server.fail_next("model_missing")
    with pytest.raises(ModelNotFound, match="some-model"):
        await embedder.embed(["one"], input_type="document")
    await embedder.close()
