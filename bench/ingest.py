"""Single messages over HTTP: requests a second and their waits, against the least endpoint that stores the same row."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
from bench.stage import READY_SECONDS, chat_files, messages_of, stage
from bench.tables import Table, percentile, say

from winnow.api.server import listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from bench.tables import Options

    from winnow.domain.messages import IncomingMessage

AT_ONCE = (1, 16, 64)
HEAD = (
    b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
TARGET = 0.6


@dataclass(frozen=True, kw_only=True)
class Load:
    """What came of one round: answers a second, and each one's wait in seconds."""

    rate: float
    waits: list[float]


async def run(options: Options) -> list[Table]:
    """Both endpoints in turn, the same messages, several connections at once."""
    messages = messages_of(chat_files(options.data))
    table = Table(
        title="ingest: single messages by POST, against a bare FastAPI + asyncpg endpoint inserting the same row",
        columns=("connections", "requests", "bare: requests/s", "p99, ms", "Winnow: requests/s", "p99, ms", "ratio"),
        notes=[
            (
                "Ratio: Winnow's requests a second by the bare endpoint's, medians of rounds taken in turn. The bare "
                "one only inserts; Winnow's also logs, queues for extraction, and sends two tasks over NATS."
            ),
        ],
    )
    rounds, seconds = options.count(5, 2), options.count(4, 1)
    for processes, remark in (((("api",),), ""), ((("api",), ("worker",)), ", a worker beside")):
        async with stage(*processes, log_level="info") as made, bare(made.servers.database_url) as bare_url:
            for at_once in AT_ONCE:
                pairs = [
                    [await _load(url, messages, at_once, seconds) for url in (bare_url, made.api_url)]
                    for _ in range(rounds)
                ]
                table.rows.append(row(f"{at_once}{remark}", pairs))
                say(f"ingest: {table.rows[-1]}")
    return [table]


def row(name: str, pairs: Sequence[Sequence[Load]]) -> tuple[str | int | float, ...]:
    """The table's line of rounds taken in turn: the bare endpoint's first, then Winnow's."""
    rates = [sorted(pair[side].rate for pair in pairs)[len(pairs) // 2] for side in (0, 1)]
    slow = [percentile([wait for pair in pairs for wait in pair[side].waits], 0.99) * 1000 for side in (0, 1)]
    count = sum(len(load.waits) for pair in pairs for load in pair)
    return (name, count, rates[0], slow[0], rates[1], slow[1], rates[1] / rates[0])


@asynccontextmanager
async def bare(database_url: str) -> AsyncIterator[str]:
    """The URL of the least endpoint, in a process of its own."""
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.bare_api", database_url, str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while not await _up(client, url):
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _up(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/health/ready")).is_success
    except httpx.HTTPError:
        return False


async def _load(url: str, messages: Sequence[IncomingMessage], at_once: int, seconds: float) -> Load:
    """So many connections, each with one request at a time, for so long."""
    waits: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            bodies = _bodies(messages, f"bench-{number}")
            group.create_task(_post(url, bodies, started + seconds, waits), name=f"client {number}")
    return Load(rate=len(waits) / (time.perf_counter() - started), waits=waits)


def _bodies(messages: Sequence[IncomingMessage], channel: str) -> list[bytes]:
    head = {"channel": channel}
    return [
        json.dumps(
            head | {"author": item.author, "text": item.text, "sent_at": item.sent_at.isoformat(), "external_id": "%s"}
        ).encode()
        for item in messages[:500]
    ]


async def _post(url: str, bodies: Sequence[bytes], until: float, waits: list[float]) -> None:
    own, number = uuid4().hex, 0

    def following() -> bytes:
        nonlocal number
        number += 1
        body = bodies[number % len(bodies)].replace(b'"%s"', f'"{own}{number}"'.encode())
        return HEAD % len(body) + body

    await post(url, following, until, waits, status=201)


async def post(url: str, following: Callable[[], bytes], until: float, waits: list[float], *, status: int) -> None:
    """One request after the other on one connection, which must all be answered so; `waits` gets each one's seconds.

    Over a plain socket: a client library takes more processor time than the endpoint.
    """
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        while (now := time.perf_counter()) < until:
            writer.write(following())
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 %d" % status):
                raise RuntimeError(f"the endpoint answered {answer[:100]!r}")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            waits.append(time.perf_counter() - now)
    finally:
        writer.close()
