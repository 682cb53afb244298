"""What a call to a model took is counted once, for the call it was made for, whether it ended well or badly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typing_extensions import override

from winnow.domain.spaces import EmbedderIdentity, Space
from winnow.errors import ProviderUnavailable, TextRefused
from winnow.pipeline.asking import Inquiry
from winnow.providers.batching import RequestLimits
from winnow.providers.endpoint import Answer, Endpoint
from winnow.providers.gate import OwnGate
from winnow.providers.instrumentation import Instrumented
from winnow.providers.line import Line
from winnow.providers.served import ServedEmbedder
from winnow.storage.embedding_records import EmbeddableText

if TYPE_CHECKING:
    from collections.abc import Callable

    from winnow.domain.pacing import RateLimits

IDENTITY = EmbedderIdentity(provider="openai", model="m", document_prefix="", query_prefix="")
SPACE = Space(id=1, identity=IDENTITY, dimensions=3)
TOKENS = 10  # of each text


class Server(Endpoint):
    """Answers unless `fault` raises, and counts what it has answered."""

    def __init__(self, fault: Callable[[list[str]], None] = lambda _: None) -> None:
        self.fault = fault
        self.asked: list[list[str]] = []
        self.told = 0

    @property
    @override
    def shown(self) -> str:
        return "server"

    @override
    async def ask(self, texts: list[str]) -> Answer:
        self.asked.append(texts)
        self.fault(texts)
        self.told += TOKENS * len(texts)
        return Answer(vectors=np.ones((len(texts), 3), np.float32), tokens=TOKENS * len(texts))

    @override
    async def close(self) -> None:
        pass


def embedder_of(server: Server, *, portion: int = 1000, line: Line | None = None) -> ServedEmbedder:
    limits = RequestLimits(texts=portion, tokens=10**6)
    return ServedEmbedder(identity=IDENTITY, endpoint=Instrumented(server), limits=limits, line=line or Line())


@pytest.mark.parametrize("culprit", [0, 37, 63])
@pytest.mark.parametrize("portion", [8, 1000])
async def test_a_batch_with_a_culprit_is_counted_as_the_server_counts_it(culprit: int, portion: int) -> None:
    def refuse(texts: list[str]) -> None:
        if f"text {culprit}" in texts:
            raise TextRefused

    server = Server(refuse)
    inquiry = Inquiry(embedder_of(server, portion=portion), SPACE, patience_seconds=1)
    await inquiry.ask([EmbeddableText(id=number, text=f"text {number}", hash=b"") for number in range(64)])
    found = inquiry.found
    assert (found.requests, found.texts) == (len(server.asked), sum(map(len, server.asked)))
    assert (found.tokens, found.estimated) == (server.told, False)
    assert len(found.vectors) == 63


async def test_a_look_is_counted() -> None:
    inquiry = Inquiry(embedder_of(Server()), SPACE, patience_seconds=1)
    await inquiry.look()
    assert (inquiry.found.requests, inquiry.found.tokens) == (1, TOKENS)


async def test_a_search_is_not_charged_for_a_batch_that_failed() -> None:
    def fail_second(_texts: list[str]) -> None:
        if len(server.asked) == 2:
            raise ProviderUnavailable

    server = Server(fail_second)
    embedder = embedder_of(server, portion=2)
    with pytest.raises(ProviderUnavailable):
        await embedder.embed(["a", "b", "c"], input_type="document")
    result = await embedder.embed(["query"], input_type="query")
    assert (result.requests, result.texts, result.tokens) == (1, 1, TOKENS)


async def test_what_nobody_answered_is_not_counted() -> None:
    def be_away(_texts: list[str]) -> None:
        raise ProviderUnavailable

    inquiry = Inquiry(embedder_of(Server(be_away)), SPACE, patience_seconds=0)
    await inquiry.ask([EmbeddableText(id=1, text="text", hash=b"")])
    assert isinstance(inquiry.found.stopped, ProviderUnavailable)
    assert inquiry.found.requests == 0


class StuckGate(OwnGate):
    """Never comes to an end with what it is told."""

    @override
    async def answered(self) -> None:
        await asyncio.Event().wait()

    @override
    async def told(self, limits: RateLimits) -> None:
        await asyncio.Event().wait()


async def test_what_was_paid_for_is_kept_however_long_the_gate_takes_to_hear_of_it() -> None:
    server = Server()
    embedder = embedder_of(server, line=Line(gate=StuckGate()))
    call = asyncio.create_task(embedder.embed(["a", "b"], input_type="document"))
    for _ in range(20):  # as far as it comes
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    async with asyncio.timeout(5):
        await embedder.embed(["a", "b"], input_type="document")
    assert len(server.asked) == 1
