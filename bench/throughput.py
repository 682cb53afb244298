"""The whole main job over ten thousand messages: how fast, where the time goes, how much memory."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from bench.stage import chat_files, messages_of, stage, until_idle
from bench.tables import Table, say
from bench.timing import Clock, TimedEmbedder, TimedExtractor, TimedStore, TimedUnits
from taskiq import TaskiqMiddleware
from typing_extensions import override

from winnow.domain.jobs import Kind, Lane
from winnow.errors import InvalidInput
from winnow.pipeline.extract import always
from winnow.pipeline.import_files import How, import_files
from winnow.pipeline.request_extraction import request_by_hand
from winnow.pipeline.spaces import Spaces
from winnow.pipeline.sweep import Sweeper
from winnow.providers.rules import RuleExtractor
from winnow.sources.recognise import open_source
from winnow.storage.runs import Wanted
from winnow.tasks.tools import Tools
from winnow.worker import work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from bench.stage import Stage
    from bench.tables import Options
    from taskiq import TaskiqMessage, TaskiqResult

LEAST_MESSAGES = 10_000
LONGEST_SECONDS = 400.0
SAMPLE_SECONDS = 0.25
MEBIBYTE = 2**20
API_CALLS = 50
EVERYTHING = 1_000_000


async def run(options: Options) -> list[Table]:
    """The job with real processes, then once more in one process with clocks around its parts."""
    paths = chat_files(options.data)
    copies = -(-options.count(LEAST_MESSAGES, 2_000) // len(messages_of(paths)))
    speed = Table(
        title="throughput: import → score → extract → embed, everything done",
        columns=("workers", "messages", "atoms", "rows embedded", "seconds", "messages/s", "imported after, s"),
        notes=[
            (
                f"The sample {copies} times over, each copy in channels of its own (so most atoms of a later copy are "
                "found to be known, and vectors are written faster: the first row repeats "
                "nothing). API, sweeper and workers are processes; the import runs in the benchmark's."
            ),
        ],
    )
    memory = Table(title="throughput: peak memory during the run with one worker", columns=("process", "MiB"))
    for workers, times in dict.fromkeys(((1, 1), (1, copies), (2, copies))):  # one copy may be all it takes
        processes = (*[("worker",)] * workers, ("sweeper",), ("api",))
        watched = memory if (workers, times) == (1, copies) else None
        async with stage(*processes) as made, _watched(made, watched):
            speed.rows.append((workers, *await _whole_job(made, paths, times)))
        say(f"throughput: {workers} worker(s), sample {times} times: {speed.rows[-1][5]} messages/s")
    memory.notes.append(
        "Peak resident memory (RSS). PostgreSQL's processes share memory, so for all of them together the proportional "
        "share (PSS) is summed."
    )
    async with stage(bulk_concurrency=1) as made:
        parts = await _parts(made, paths, copies)
    return [speed, parts, memory]


def copies_of(folder: Path, paths: Sequence[Path], copies: int) -> list[list[Path]]:
    """The files again, each copy in channels of its own: a log's channel line, where it has one, is renamed.

    A channel line wins over what the importer is told, so without that a copy would be the same messages once more.
    """
    made = []
    for number in range(copies):
        (into := folder / f"copy-{number}").mkdir()
        for path in paths:
            first, end, rest = path.read_bytes().partition(b"\n")
            if first.startswith(b"#"):
                first = first.rstrip() + f"-copy-{number}".encode()
            (into / path.name).write_bytes(first + end + rest)
        made.append([into / path.name for path in paths])
    return made


def _require(stored: int, paths: Sequence[Path], copies: int) -> None:
    """Raises `InvalidInput` when copies were taken for known messages: the figures would be of less than they say."""
    wanted = copies * len(messages_of(paths))
    if stored != wanted:
        raise InvalidInput(
            f"{stored:,} messages were stored where {wanted:,} should be; these chats cannot be repeated"
        )


async def _whole_job(made: Stage, paths: Sequence[Path], copies: int) -> tuple[str | int | float, ...]:
    winnow = made.winnow
    files = copies_of(made.folder, paths, copies)
    started = time.perf_counter()
    stored = 0
    for number, copy in enumerate(files):
        how = How(timezone=UTC, channel=f"copy-{number}")
        stored += (await import_files(winnow.units, copy, how, tick=lambda _: None)).stored
    imported = time.perf_counter() - started
    _require(stored, paths, copies)
    await _extract_the_rest(made)
    ended = await until_idle(made, timeout_seconds=LONGEST_SECONDS)
    await _use_api(made)
    counts = await winnow.embeddings.counts()
    embedded = sum(count.embedded for count in counts.values())
    seconds = ended - started
    return stored, counts[Kind.ATOMS].total, embedded, seconds, stored / seconds, imported


async def _extract_the_rest(made: Stage) -> None:
    """As `winnow up --sample` does: nobody waits for a tenth message."""
    await request_by_hand(made.winnow.requesting(), Wanted(), again=False, limit=EVERYTHING)


async def _use_api(made: Stage) -> None:
    """Some searches, so that the API's memory is that of one in use."""
    async with httpx.AsyncClient(trust_env=False, base_url=made.api_url, timeout=30) as client:
        for number in range(API_CALLS if made.api_url else 0):
            (await client.get("/api/v1/search", params={"q": f"how are lists framed {number}"})).raise_for_status()


# -- memory


@asynccontextmanager
async def _watched(made: Stage, table: Table | None) -> AsyncIterator[None]:
    """Notes the largest memory of each process meanwhile."""
    peaks: dict[str, int] = {}
    pids = made.pids()

    async def watch() -> None:
        while True:
            await asyncio.to_thread(_look, pids, peaks)
            await asyncio.sleep(SAMPLE_SECONDS)

    watching = asyncio.create_task(watch(), name="memory watch")
    try:
        yield
    finally:
        watching.cancel()
        _look(pids, peaks)
        if table is not None:
            table.rows += [(name, round(size / MEBIBYTE)) for name, size in peaks.items()]


def _look(pids: dict[str, int], peaks: dict[str, int]) -> None:
    for name, pid in pids.items():
        try:
            process = psutil.Process(pid)
            if name != "postgres":
                sizes = {f"{name} (RSS)": process.memory_info().rss}
            else:
                family = [process, *process.children(recursive=True)]
                sizes = {
                    "postgres, largest process (RSS)": max(one.memory_info().rss for one in family),
                    "postgres, all processes (PSS)": sum(_proportional(one) for one in family),
                }
        except psutil.Error:  # a process of PostgreSQL that has just ended
            continue
        for label, size in sizes.items():
            peaks[label] = max(size, peaks.get(label, 0))


def _proportional(process: psutil.Process) -> int:
    """Memory of a process with what it shares divided by those who share it; plain RSS where that is not told."""
    full = process.memory_full_info()
    return int(getattr(full, "pss", full.rss))


# -- parts


class TaskClock(TaskiqMiddleware):
    """How long each task's function ran, by its name. For one task at a time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._started = 0.0
        self.tasks = 0

    @override
    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self._started = time.perf_counter()
        return message

    @override
    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self._clock.seconds[message.task_name] += time.perf_counter() - self._started
        self.tasks += 1


async def _parts(made: Stage, paths: Sequence[Path], copies: int) -> Table:
    """The job one task at a time in this process, so that the parts' times add up to the whole."""
    winnow, clock = made.winnow, Clock()
    units = TimedUnits(winnow, clock)
    files = copies_of(made.folder, paths, copies)
    with clock.on("reading alone"):
        for copy in files:
            for path in copy:
                sum(1 for _ in open_source(path))
    stored = 0
    with clock.on("import"):
        for number, copy in enumerate(files):
            how = How(timezone=UTC, channel=f"copy-{number}")
            stored += (await import_files(units, copy, how, tick=lambda _: None)).stored
    _require(stored, paths, copies)
    clock.seconds["hook of the import"] = clock.seconds.pop("hook", 0)
    await _extract_the_rest(made)
    middleware = TaskClock(clock)
    broker = winnow.brokers[Lane.BULK]
    broker.add_middlewares(middleware)
    timed = Spaces(winnow.database, TimedEmbedder(winnow.embedder, clock))
    embedding = replace(winnow.embedding(), store=TimedStore(winnow, clock), spaces=timed)
    extracting = replace(winnow.extracting(), units=units, extractor_for=always(TimedExtractor(RuleExtractor(), clock)))
    broker.state.tools = Tools(scoring=winnow.scoring(), embedding=embedding, extracting=extracting)
    stop = asyncio.Event()
    started = time.perf_counter()
    working = asyncio.create_task(work(winnow, [Lane.BULK], stop), name="worker")
    sweeping = asyncio.create_task(Sweeper(winnow.sweeping()).sweep_forever(stop), name="sweeper")
    try:
        ended = await until_idle(made, timeout_seconds=LONGEST_SECONDS)
    finally:
        stop.set()
        await asyncio.gather(working, sweeping)
    return _shares(clock, ended - started, stored, middleware.tasks)


def _shares(clock: Clock, worked: float, stored: int, tasks: int) -> Table:
    seconds = clock.seconds
    embed = sum(seconds[name] for name in seconds if name.startswith("embed_"))
    score, extract = seconds["score_message_task"], seconds["extract_knowledge_from_messages_task"]
    inside = seconds["model"] + seconds["write"] + seconds["claim"]
    parts = {
        "ingest: read the files": seconds["reading alone"],
        "ingest: store": seconds["import"] - seconds["reading alone"] - seconds["hook of the import"],
        "score": score,
        "extract: the rules": seconds["extractor"],
        "extract: claim, save, commit": extract - seconds["extractor"] - seconds["hook"],
        "embed: the model": seconds["model"],
        "embed: vector write (with HNSW)": seconds["write"],
        "embed: claim, read, bookkeeping": seconds["claim"] + max(0.0, embed - inside),
        "queue: send (the post-commit hooks)": seconds["hook"] + seconds["hook of the import"],
        "queue: sweep, receive, acknowledge": max(0.0, worked - score - extract - embed),
    }
    whole = sum(parts.values())
    table = Table(
        title="throughput: each stage's share, one task at a time",
        columns=("stage", "seconds", "share", "µs a message"),
        notes=[
            (
                f"{stored:,} messages, {tasks:,} tasks, one process, nothing overlapping: {whole:.1f} s in all. With "
                "real processes the stages overlap, and share the processors."
            )
        ],
    )
    for name, took in parts.items():
        table.rows.append((name, took, f"{took / whole:.1%}", took / stored * 1e6))
    return table
