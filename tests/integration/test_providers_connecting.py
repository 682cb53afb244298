"""A machine that lets nobody connect is away, and not slow."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from winnow.domain.providers import Provider, ProviderKind
from winnow.errors import ProviderTimeout, ProviderUnavailable
from winnow.providers import ollama_client, openai_client
from winnow.providers.factory import build_embedder_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A listener whose backlog is full: it answers no further connection, like a machine that is switched off."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            each = sockets.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("kind", [ProviderKind.OLLAMA, ProviderKind.OPENAI])
async def test_who_cannot_be_connected_to_does_not_answer(
    kind: ProviderKind, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in (ollama_client, openai_client):
        monkeypatch.setattr(client, "CONNECT_SECONDS", 0.2)
    provider = Provider(kind=kind, name="off", urls=(f"http://127.0.0.1:{silent_port}",))
    embedder = build_embedder_of(provider, "m", first_timeout_seconds=60, timeout_seconds=60)
    with pytest.raises(ProviderUnavailable, match="does not answer") as caught:
        await embedder.embed(["text"], input_type="document")
    assert not isinstance(caught.value, ProviderTimeout)
    await embedder.close()
