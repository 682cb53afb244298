"""A model server that costs next to nothing, as a process of its own: Ollama's protocol and OpenAI's at one address.

    python -m bench.model_server --dimensions 1536 [--request-seconds 0.02 --text-seconds 0.005 --one-at-a-time]
                                 [--requests-per-second 8.3]

It prints its port. A text's vector is put together from four of 512 parts each, which are there in both protocols'
words from the start, so an answer is copying bytes: different texts have different vectors, the same text the same one.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np
import orjson
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from numpy.typing import NDArray

PARTS = 4
OF_EACH = 512
BURST = 2.0


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How it behaves: seconds a request and a text, whether requests stand in line, and how many it takes a second."""

    dimensions: int = 1536
    request_seconds: float = 0.0
    text_seconds: float = 0.0
    one_at_a_time: bool = False
    requests_per_second: float | None = None

    def arguments(self) -> list[str]:
        """As the command line takes them."""
        given = [f"--dimensions={self.dimensions}", f"--request-seconds={self.request_seconds}"]
        given += [f"--text-seconds={self.text_seconds}"] + (["--one-at-a-time"] if self.one_at_a_time else [])
        return given + ([f"--requests-per-second={self.requests_per_second}"] if self.requests_per_second else [])


@asynccontextmanager
async def model_server(manner: Manner) -> AsyncIterator[str]:
    """Starts one, and yields its address (OpenAI's clients want `/v1` behind it)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.model_server", *manner.arguments(), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


class Vectors:
    """Vectors in the words of both protocols, made of parts."""

    def __init__(self, dimensions: int) -> None:
        width, rest = divmod(dimensions, PARTS)
        if rest or width * 4 % 3:
            raise SystemExit(f"{dimensions} dimensions cannot be put together in base64; choose a multiple of 12")
        random = np.random.default_rng(7)
        parts: list[NDArray[np.float32]] = [
            random.standard_normal((OF_EACH, width), dtype=np.float32) / np.float32(dimensions**0.5)
            for _ in range(PARTS)
        ]
        self._numbers = [[b",".join(str(number).encode() for number in row) for row in part] for part in parts]
        self._base64 = [[base64.b64encode(row.astype("<f4").tobytes()) for row in part] for part in parts]

    def numbers(self, text: str) -> bytes:
        """As a JSON array."""
        return b"[" + b",".join(part[place] for part, place in zip(self._numbers, _places(text), strict=True)) + b"]"

    def base64(self, text: str) -> bytes:
        """As a JSON string."""
        return b'"' + b"".join(part[place] for part, place in zip(self._base64, _places(text), strict=True)) + b'"'


def _places(text: str) -> tuple[int, ...]:
    digest = hashlib.blake2b(text.encode(), digest_size=2 * PARTS).digest()
    return tuple(int.from_bytes(digest[at : at + 2]) % OF_EACH for at in range(0, 2 * PARTS, 2))


@dataclass
class Server:
    """Answers in its manner; refuses with 429 and the time to wait what is more than it takes."""

    manner: Manner
    vectors: Vectors
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    tokens: float = BURST
    filled_at: float = field(default_factory=time.monotonic)

    async def answer(self, path: str, body: bytes) -> tuple[HTTPStatus, bytes, str]:
        """Status, body and further headers."""
        asked = orjson.loads(body)
        texts: Sequence[str] = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        if (wait := self._wait_seconds()) > 0:
            refusal = b'{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}'
            headers = f"retry-after: {max(1, round(wait))}\r\nretry-after-ms: {int(wait * 1000) + 1}\r\n"
            return HTTPStatus.TOO_MANY_REQUESTS, refusal, headers
        seconds = self.manner.request_seconds + self.manner.text_seconds * len(texts)
        if self.manner.one_at_a_time:
            async with self.turn:
                await asyncio.sleep(seconds)
        elif seconds:
            await asyncio.sleep(seconds)
        return HTTPStatus.OK, self._told(path, asked, texts), ""

    def _wait_seconds(self) -> float:
        rate = self.manner.requests_per_second
        if rate is None:
            return 0.0
        now = time.monotonic()
        self.tokens = min(BURST, self.tokens + (now - self.filled_at) * rate)
        self.filled_at = now
        if self.tokens < 1:
            return (1 - self.tokens) / rate
        self.tokens -= 1
        return 0.0

    def _told(self, path: str, asked: dict[str, object], texts: Sequence[str]) -> bytes:
        count = b"%d" % len(texts)
        if path.endswith("/api/embed"):
            vectors = b",".join(self.vectors.numbers(text) for text in texts)
            return b'{"model":"bench","embeddings":[' + vectors + b'],"prompt_eval_count":' + count + b"}"
        form = self.vectors.base64 if asked.get("encoding_format") == "base64" else self.vectors.numbers
        items = b",".join(
            b'{"object":"embedding","index":%d,"embedding":%b}' % (index, form(text))
            for index, text in enumerate(texts)
        )
        usage = b'"usage":{"prompt_tokens":' + count + b',"total_tokens":' + count + b"}"
        return b'{"object":"list","model":"bench","data":[' + items + b"]," + usage + b"}"


class _Connection(asyncio.Protocol):
    """HTTP/1.1, no more of it than the clients use: one request at a time, its length told."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = bytearray()
        self._task: asyncio.Task[None] | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(rest) < int(headers.get("content-length", 0)):
            return
        self._received.clear()
        self._task = asyncio.create_task(self._answer(first.split()[1], bytes(rest)))

    async def _answer(self, path: str, body: bytes) -> None:
        status, content, headers = await self._server.answer(path, body)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n{headers}"
        self._transport.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)


async def serve(manner: Manner) -> None:
    """Serves on a free port until ended."""
    server = Server(manner, Vectors(manner.dimensions))
    listener = await asyncio.get_running_loop().create_server(lambda: _Connection(server), "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m bench.model_server")
    parser.add_argument("--dimensions", type=int, default=1536)
    parser.add_argument("--request-seconds", type=float, default=0.0)
    parser.add_argument("--text-seconds", type=float, default=0.0)
    parser.add_argument("--one-at-a-time", action="store_true")
    parser.add_argument("--requests-per-second", type=float)
    asyncio.run(serve(Manner(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
