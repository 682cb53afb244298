"""The least that embeds rows: read texts, ask the model server, write vectors. What Winnow's worker is held against.

    python -m bench.bare_embedder ollama|openai MODEL_URL DATABASE_URL

Two loops side by side, each with a connection to the database and one to the server; batches of rows, requests of
the size that Winnow sends, vectors decoded the quickest way and written in binary by one UPDATE. No queue, no claim, no
lease, no check of text, space or vector, no record. It reads jobs from its input, a line each, and answers `done`.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import numpy as np
import orjson
from pgvector import Vector
from pgvector.asyncpg import register_vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

AT_ONCE = 2
TEXTS_OF_OLLAMA = 32  # as providers/ollama.py sends them
READ = "SELECT id, text FROM messages WHERE id = ANY($1::bigint[]) AND embedding IS NULL"
WRITE = (
    "UPDATE messages t SET embedding = given.vector FROM unnest($1::bigint[], $2::vector[]) AS given (id, vector) "
    "WHERE t.id = given.id"
)


@dataclass
class BareEmbedder:
    """The running process."""

    process: asyncio.subprocess.Process

    async def embed(self, ids: Sequence[int], *, write: bool = True, batch: int = 100) -> float:
        """Embeds these rows, or only asks the server for them, a `batch` at a time; returns the seconds it took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        started = time.perf_counter()
        self.process.stdin.write(orjson.dumps({"ids": list(ids), "write": write, "batch": batch}) + b"\n")
        await self.process.stdin.drain()
        answer = await self.process.stdout.readline()
        if answer != b"done\n":
            raise RuntimeError(f"the bare embedder answered {answer!r}")
        return time.perf_counter() - started


@asynccontextmanager
async def bare_embedder(style: str, model_url: str, database_url: str) -> AsyncIterator[BareEmbedder]:
    """Starts one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.bare_embedder", style, model_url, database_url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26,
    )  # fmt: skip
    try:
        yield BareEmbedder(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _vectors(client: httpx.AsyncClient, style: str, texts: Sequence[str]) -> list[Any]:
    if style == "openai":
        wanted = {"model": "bench", "input": texts, "encoding_format": "base64"}
        items = (await _ask(client, "/v1/embeddings", wanted))["data"]
        return [np.frombuffer(base64.b64decode(item["embedding"]), dtype="<f4") for item in items]
    found: list[Any] = []
    for start in range(0, len(texts), TEXTS_OF_OLLAMA):
        body = {"model": "bench", "input": texts[start : start + TEXTS_OF_OLLAMA], "truncate": False}
        found += (await _ask(client, "/api/embed", body))["embeddings"]
    return found


async def _ask(client: httpx.AsyncClient, path: str, body: object) -> Any:
    while True:
        answer = await client.post(path, content=orjson.dumps(body), headers={"content-type": "application/json"})
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            return orjson.loads(answer.raise_for_status().content)
        await asyncio.sleep(int(answer.headers["retry-after-ms"]) / 1000)


async def _work(client: httpx.AsyncClient, database: Any, style: str, batches: list[list[int]], *, write: bool) -> None:
    while batches:
        rows = await database.fetch(READ, batches.pop(0))
        vectors = await _vectors(client, style, [row["text"] for row in rows])
        if write:
            await database.execute(WRITE, [row["id"] for row in rows], [Vector(vector) for vector in vectors])


async def main(style: str, model_url: str, database_url: str) -> None:
    """The program."""
    databases = [await asyncpg.connect(database_url) for _ in range(AT_ONCE)]
    for database in databases:
        await register_vector(database)
    async with httpx.AsyncClient(base_url=model_url, trust_env=False, timeout=60) as client:
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            job = orjson.loads(line)
            ids, batch = job["ids"], job["batch"]
            batches = [ids[start : start + batch] for start in range(0, len(ids), batch)]
            await asyncio.gather(*(_work(client, one, style, batches, write=job["write"]) for one in databases))
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
