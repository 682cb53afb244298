"""What Winnow's way to a model server costs over the official clients, and whether it grows with the calls.

As a worker is built: held to the fingerprint of a space, at the pace that all processes share by way of PostgreSQL.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import ollama
import openai
import orjson
import psutil
from bench.model_server import Manner, model_server
from bench.stage import stage
from bench.tables import Table, say

from winnow.domain.providers import Provider, ProviderKind
from winnow.domain.spaces import Space
from winnow.providers.base import fingerprint_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from bench.tables import Options

    from winnow.bootstrap import Winnow
    from winnow.providers.base import Embedder

TEXTS = 100
DIMENSIONS = 1032  # the next to 1,024 that the server can put together in base64
TARGET = 0.05
NEVER_REACHED = 10_000_000
MEBIBYTE = 2**20


async def run(options: Options) -> list[Table]:
    async with model_server(Manner(dimensions=DIMENSIONS)) as url, stage() as on:
        return [await _overhead(on.winnow, url, options), await _growth(on.winnow, url, options)]


async def _overhead(winnow: Winnow, url: str, options: Options) -> Table:
    table = Table(
        title=f"One call with {TEXTS} texts, {DIMENSIONS:,} dimensions, at a server that takes next to no time",
        columns=("way", "median ms", "p90 ms", "over the client"),
        notes=[
            f"Target: less than {TARGET:.0%} over the client. Negative: quicker, for answers are decoded raw.",
            f"Limited: {NEVER_REACHED:,} requests a minute were set; each request asks PostgreSQL whether it may go.",
        ],
    )
    rounds, calls = options.count(20, 5), options.count(25, 10)
    for kind in (ProviderKind.OPENAI, ProviderKind.OLLAMA):
        async with (
            _bare(kind, url) as bare,
            _ours(winnow, kind, url) as ours,
            _ours(winnow, kind, url, requests_per_minute=NEVER_REACHED) as limited,
        ):
            ways: dict[str, Callable[[list[str]], Awaitable[object]]] = {
                **bare,
                f"Winnow to {kind.value}": partial(ours.embed, input_type="document"),
                "the same, limited": partial(limited.embed, input_type="document"),
            }
            found: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(rounds):
                for name, ask in ways.items():
                    found[name] += await _times(ask, calls, seed=f"{number} {name}")
        client = median(next(iter(found.values())))
        for name, times in found.items():
            over = f"{median(times) / client - 1:+.1%}"
            table.rows.append((name, 1000 * median(times), 1000 * float(np.quantile(times, 0.9)), over))
            say(f"overhead: {table.rows[-1]}")
    return table


async def _times(ask: Callable[[list[str]], Awaitable[object]], calls: int, *, seed: str) -> list[float]:
    times = []
    for call in range(calls):
        texts = _texts(f"{seed} {call}")
        started = time.perf_counter()
        await ask(texts)
        times.append(time.perf_counter() - started)
    return times


async def _growth(winnow: Winnow, url: str, options: Options) -> Table:
    calls = options.count(10_000, 1_000)
    table = Table(
        title=f"{calls:,} calls with {TEXTS} texts each by one process",
        columns=("protocol", "calls", "MiB", "connections"),
        notes=["Memory of the whole process, which makes the texts as well."],
    )
    process = psutil.Process()
    for kind in (ProviderKind.OPENAI, ProviderKind.OLLAMA):
        async with _ours(winnow, kind, url) as ours:
            for call in range(1, calls + 1):
                await ours.embed(_texts(str(call)), input_type="document")
                if call in {calls // 5, calls // 2, calls}:
                    port = int(url.rsplit(":", 1)[1])
                    connections = [
                        getattr(found.raddr, "port", None) for found in process.net_connections("tcp")
                    ].count(port)
                    memory = round(process.memory_info().rss / MEBIBYTE)
                    table.rows.append((kind.value, call, memory, connections))
                    say(f"overhead: {table.rows[-1]}")
    return table


def _texts(seed: str) -> list[str]:
    return [f"{seed}: what somebody wrote to the team this morning, number {number}" for number in range(TEXTS)]


@asynccontextmanager
async def _ours(
    winnow: Winnow, kind: ProviderKind, url: str, *, requests_per_minute: int | None = None
) -> AsyncIterator[Embedder]:
    where = f"{url}/v1" if kind is ProviderKind.OPENAI else url
    provider = Provider(kind=kind, name=kind.value, urls=(where,), requests_per_minute=requests_per_minute)
    unheld = winnow.embedder_of(provider, "bench")
    fingerprint = await fingerprint_of(unheld)
    space = Space(id=1, identity=unheld.identity, dimensions=DIMENSIONS, fingerprint=tuple(fingerprint))
    held = winnow.embedder_of(provider, "bench", space=space)
    try:
        yield held
    finally:
        await unheld.close()
        await held.close()


@asynccontextmanager
async def _bare(kind: ProviderKind, url: str) -> AsyncIterator[dict[str, Callable[[Sequence[str]], Awaitable[object]]]]:
    """The official client as its documentation shows it, and, where it has one, by its quickest public way."""
    if kind is ProviderKind.OLLAMA:
        plain = ollama.AsyncClient(host=url)
        yield {"the client `ollama`": lambda texts: plain.embed("bench", list(texts))}
        return
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0) as client:

        async def documented(texts: Sequence[str]) -> object:
            return await client.embeddings.create(model="bench", input=list(texts))

        async def raw(texts: Sequence[str]) -> object:
            answer = await client.embeddings.with_raw_response.create(
                model="bench", input=list(texts), encoding_format="base64"
            )
            return orjson.loads(answer.content)

        yield {"the client `openai`": documented, "the same, its answer only read as JSON": raw}
