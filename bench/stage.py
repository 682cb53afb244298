"""Real servers and real worker processes in a folder that is gone afterwards, and real chats to put through them."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from winnow.api.server import listen, url_of
from winnow.bootstrap import opened
from winnow.cli.children import Children
from winnow.domain.jobs import Kind, Lane
from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput
from winnow.logs import configure_logging
from winnow.pipeline.embed import embed_rows
from winnow.queue.workers import list_workers
from winnow.servers import servers_for
from winnow.settings import Settings, load_settings
from winnow.sources.recognise import open_source
from winnow.storage.migrate import migrate
from winnow.storage.status import knowledge_counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from winnow.bootstrap import Winnow
    from winnow.servers import Servers

EXAMPLES = Path(__file__).parents[1] / "examples" / "json-ld-minutes"
CHATS = ("*.log", "*.jsonl", "*.txt")
READY_SECONDS = 60.0
DRAIN_SECONDS = 5.0
LOOK_SECONDS = 0.1


@dataclass(kw_only=True)
class Stage:
    """One empty Winnow: this process's tools in `winnow`, and the processes that were asked for beside it."""

    settings: Settings
    servers: Servers
    winnow: Winnow
    children: Children
    folder: Path
    api_url: str

    def pids(self) -> dict[str, int]:
        """Process ids by name: servers and Winnow's own."""
        servers = self.servers.instance.server_pids() if self.servers.instance else {}
        return servers | self.children.pids()

    async def depth(self, lane: Lane) -> int:
        """Tasks of a lane that are not settled."""
        return await self.winnow.overviewing().queue.depth(lane)


@asynccontextmanager
async def stage(*processes: Sequence[str], **settings: object) -> AsyncIterator[Stage]:
    """Starts PostgreSQL, NATS and `winnow PROCESS…`, all empty; stops them and removes their data at the end.

    Args:
        processes: each the arguments of one process: `("worker",)`, `("worker", "--lanes", "live")`, `("api",)`.
        settings: for all processes alike.
    """
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    try:
        if os.geteuid() == 0:
            folder.chmod(0o711)  # PostgreSQL runs as another account, and must get through
        settings = {"log_level": "warning", "embedder": "local"} | settings
        chosen = load_settings(data_dir=folder, **settings)
        configure_logging(chosen)
        async with servers_for(chosen, attach=False) as servers:
            await migrate(servers.database_url)
            async with opened(chosen, servers) as winnow:
                await winnow.spaces.ours()
                variables = {"DATABASE_URL": servers.database_url, "NATS_URL": servers.nats_url}
                variables |= {f"WINNOW_{name.upper()}": str(value) for name, value in settings.items()}
                children = Children(variables, folder / "logs")
                try:
                    url = await _start(children, processes, winnow)
                    yield Stage(
                        settings=chosen,
                        servers=servers,
                        winnow=winnow,
                        children=children,
                        folder=folder,
                        api_url=url,
                    )
                finally:
                    await children.stop(DRAIN_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _start(children: Children, processes: Sequence[Sequence[str]], winnow: Winnow) -> str:
    url = ""
    for name, *arguments in processes:
        given = list(arguments)
        if name == "api":
            with closing(listen("127.0.0.1", 0)) as bound:
                url, port = url_of(bound), bound.getsockname()[1]
            given += ["--port", str(port)]
        await children.start(name, *given)
        children.raise_if_fallen()
    lanes = _lanes_served(processes)
    async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as client:
        while not await _ready(client, url, lanes, winnow):
            children.raise_if_fallen()
            await asyncio.sleep(0.05)
    return url


def _lanes_served(processes: Sequence[Sequence[str]]) -> set[str]:
    lanes: set[str] = set()
    for process in processes:
        if process[0] == "worker":
            lanes |= set(process[-1].split(",")) if "--lanes" in process else {lane.value for lane in Lane}
    return lanes


async def _ready(client: httpx.AsyncClient, url: str, lanes: set[str], winnow: Winnow) -> bool:
    if lanes:
        workers = await list_workers(winnow.brokers[Lane.LIVE].client, timeout_seconds=0.2)
        if not lanes <= {lane for worker in workers for lane in worker.lanes}:
            return False
    if not url:
        return True
    try:
        return (await client.get(f"{url}/health/ready")).is_success
    except httpx.HTTPError:
        return False


def without_surroundings() -> None:
    """Keeps the user's own settings, servers and keys out of the measurement."""
    for name in list(os.environ):
        if name.startswith("WINNOW_") or name in {"DATABASE_URL", "NATS_URL", "OPENAI_API_KEY"}:
            del os.environ[name]


def chat_files(data: Path | None) -> list[Path]:
    """The chats of a folder; those of `examples/` when none is given, or it holds no chat itself."""
    for folder in (data, EXAMPLES):
        if folder is not None:
            found = sorted(path for pattern in CHATS for path in folder.glob(pattern))
            if found:
                return found
    raise InvalidInput(f"no chats in {EXAMPLES}; run this from a checkout of the project")


def messages_of(paths: Sequence[Path]) -> list[IncomingMessage]:
    """All messages of the chats; each file is a channel of its own."""
    return [
        replace(item, channel=path.stem)
        for path in paths
        for item in open_source(path)
        if isinstance(item, IncomingMessage)
    ]


def repeated(messages: Sequence[IncomingMessage], count: int, *, channel: str) -> Iterator[IncomingMessage]:
    """`count` messages, new ones to the database: the given ones over and over, under other names."""
    for number in range(count):
        original = messages[number % len(messages)]
        yield replace(
            original, channel=f"{channel}-{original.channel}-{number // len(messages)}", external_id=f"{number}"
        )


async def embed_all(winnow: Winnow, *, batch_size: int = 500) -> int:
    """Embeds everything that has no vector, in this process; returns how many rows."""
    done = 0
    for kind in Kind:
        after = 0
        while ids := await winnow.embeddings.without_vector(kind, after=after, up_to=2**62, limit=batch_size):
            done += (await embed_rows(winnow.embedding(), kind, ids)).embedded
            after = ids[-1]
    return done


async def until_idle(stage: Stage, *, timeout_seconds: float, unread: int = 0) -> float:
    """Waits for `is_idle`, and returns the moment (`time.perf_counter`) it asked the question that was answered yes."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            seen_at = time.perf_counter()
            if await is_idle(stage, unread=unread):
                return seen_at
            await asyncio.sleep(LOOK_SECONDS)


async def is_idle(stage: Stage, *, unread: int = 0) -> bool:
    """Whether no task is on its way, no row waits for a vector, and at most `unread` messages for extraction."""
    if await stage.depth(Lane.BULK) or await stage.depth(Lane.LIVE):
        return False
    counts = await stage.winnow.embeddings.counts()
    if any(count.pending + count.in_hand for count in counts.values()):
        return False
    return (await knowledge_counts(stage.winnow.database)).messages_waiting <= unread
