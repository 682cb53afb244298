"""From a committed message to its stored vector: idle, and while the bulk lane is full."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
from bench.stage import chat_files, is_idle, messages_of, repeated, stage, until_idle
from bench.tables import Table, percentile, say
from bench.timing import TimedUnits, silent_units

from winnow.domain.jobs import EmbedJob, Kind, Lane, in_batches
from winnow.pipeline.ingest import ingest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from bench.stage import Stage
    from bench.tables import Options

    from winnow.domain.messages import IncomingMessage

QUEUED = 10_000
PROBES = "probes"
POLL_SECONDS = 0.001
BETWEEN_SECONDS = 0.02
LOST_SECONDS = 30.0
LONGEST_SECONDS = 150.0
EVERYTHING = 1_000_000

ONE_WORKER = (("worker",), ("api",))


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What else is going on. `rows_a_task` 0: nothing; `imports`: as an import does, scoring and extraction too."""

    name: str
    processes: Sequence[Sequence[str]] = ONE_WORKER
    rows_a_task: int = 0
    imports: bool = False


CONDITIONS = (
    Condition(name="idle"),
    Condition(name="10,000 messages to embed, 100 a task", rows_a_task=100),
    Condition(name="10,000 messages to embed, 1 a task", rows_a_task=1),
    Condition(
        name="the same, a worker for each lane",
        processes=(("worker", "--lanes", "live"), ("worker", "--lanes", "bulk"), ("api",)),
        rows_a_task=1,
    ),
    Condition(
        name="10,000 messages imported: score, embed, extract",
        processes=(*ONE_WORKER, ("sweeper",)),
        rows_a_task=100,
        imports=True,
    ),
)


@dataclass
class Waits:
    """Seconds until the vector was there, by the way the message came in."""

    posted: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    lost: int = 0
    rounds: int = 0


async def run(options: Options) -> list[Table]:
    """Probes each condition with messages one after the other."""
    messages = messages_of(chat_files(options.data))
    probes = options.count(200, 40)
    table = Table(
        title="latency: from a committed message to its stored vector",
        columns=("beside it", "probes", "POST: p50, ms", "p99", "commit: p50, ms", "p99", "p50 / idle", "p99 / idle"),
        notes=[
            (
                "POST: from sending `POST /api/v1/messages` to the vector being visible to another connection; commit: "
                "from the end of the transaction in this process. Seen by asking every millisecond. Ratios "
                "are of `commit`."
            ),
        ],
    )
    idle: Waits | None = None
    for condition in CONDITIONS:
        async with stage(*condition.processes) as made:
            waits = await _probe(made, condition, messages, probes)
        idle = idle or waits
        table.rows.append(_row(condition, waits, idle))
        say(f"latency: {condition.name}: {table.rows[-1][4:]} lost {waits.lost} rounds {waits.rounds}")
        if waits.lost:
            table.notes.append(f"{condition.name}: {waits.lost} not stored within {LOST_SECONDS:g} s.")
    return [table]


def _row(condition: Condition, waits: Waits, idle: Waits) -> tuple[str | int | float, ...]:
    posted, committed, usual = (
        [percentile(values, share) * 1000 for share in (0.5, 0.99)]
        for values in (waits.posted, waits.committed, idle.committed)
    )
    ratios = [loaded / quiet for loaded, quiet in zip(committed, usual, strict=True)]
    return (condition.name, len(waits.posted) + len(waits.committed), *posted, *committed, *ratios)


async def _probe(made: Stage, condition: Condition, messages: Sequence[IncomingMessage], count: int) -> Waits:
    waits = Waits()
    async with AsyncExitStack() as stack:
        ask = await stack.enter_async_context(_Asking.over(made))
        for number in range(20):  # connections, model and code are warm before anything counts
            await ask.committed(messages[number])
            await ask.posted(messages[number])
        deadline = time.monotonic() + LONGEST_SECONDS
        while len(waits.committed) < count and time.monotonic() < deadline:
            if condition.rows_a_task:
                waits.rounds += 1
                await _fill(made, condition, messages, waits.rounds)
            while len(waits.committed) < count and time.monotonic() < deadline:
                said = messages[len(waits.committed) % len(messages)]
                took = await ask.committed(said), await ask.posted(said)
                if condition.rows_a_task and not await made.depth(Lane.BULK) and await _is_over(made, condition):
                    break  # the load was gone meanwhile: these two do not count
                waits.committed.append(took[0])
                waits.posted.append(took[1])
                waits.lost += sum(seconds >= LOST_SECONDS for seconds in took)
                await asyncio.sleep(BETWEEN_SECONDS)
            if len(waits.committed) < count:
                await until_idle(made, timeout_seconds=LONGEST_SECONDS, unread=9 if condition.imports else EVERYTHING)
    return waits


async def _is_over(made: Stage, condition: Condition) -> bool:
    # Nine probes may wait for the tenth; where nobody imports, nobody extracts.
    return not condition.imports or await is_idle(made, unread=9)


async def _fill(made: Stage, condition: Condition, messages: Sequence[IncomingMessage], number: int) -> None:
    """Puts 10,000 messages on the bulk lane."""
    winnow = made.winnow
    # Each with a text of its own: the vector of a known text is copied, and no model asked.
    fresh = [
        replace(said, text=f"{said.text} ({said.channel} {said.external_id})")
        for said in repeated(messages, QUEUED, channel=f"load-{number}")
    ]
    if condition.imports:
        if (known := (await ingest(winnow.units, fresh, lane=Lane.BULK)).known) != 0:
            raise AssertionError(f"{known} messages are known already")
        return
    ids = (await ingest(silent_units(winnow), fresh, lane=Lane.BULK)).ids
    if len(ids) != QUEUED:
        raise AssertionError(f"{len(ids)} messages are new, not {QUEUED}")
    jobs = list(in_batches([EmbedJob(Kind.MESSAGES, ids)], condition.rows_a_task))
    for start in range(0, len(jobs), 500):
        await winnow.dispatcher.dispatch(jobs[start : start + 500], Lane.BULK)


class _Asking:
    """Sends a message and asks for its vector until it is there."""

    def __init__(self, made: Stage, connection: Any, client: httpx.AsyncClient) -> None:
        self._connection = connection
        self._client = client
        self._units = TimedUnits(made.winnow)
        self._sent = 0

    @classmethod
    @asynccontextmanager
    async def over(cls, made: Stage) -> AsyncIterator[_Asking]:
        """Opens a connection of its own to the database and one to the API."""
        connection = await asyncpg.connect(made.servers.database_url)
        try:
            async with httpx.AsyncClient(trust_env=False, base_url=made.api_url, timeout=LOST_SECONDS) as client:
                yield cls(made, connection, client)
        finally:
            await connection.close()

    async def committed(self, said: IncomingMessage) -> float:
        """Seconds from the commit in this process."""
        self._sent += 1
        fresh = replace(said, channel=PROBES, external_id=f"{self._sent}", text=self._text(said))
        done = await ingest(self._units, [fresh], lane=Lane.LIVE)
        return await self._until_stored(done.ids[0], self._units.committed_at)

    async def posted(self, said: IncomingMessage) -> float:
        """Seconds from sending the request."""
        self._sent += 1
        body = {"channel": PROBES, "external_id": f"{self._sent}", "text": self._text(said), "author": said.author}
        started = time.perf_counter()
        answer = (await self._client.post("/api/v1/messages", json=body)).raise_for_status()
        return await self._until_stored(answer.json()["ids"][0], started)

    def _text(self, said: IncomingMessage) -> str:
        """Another one each time, as those of the load."""
        return f"{said.text} ({self._sent})"

    async def _until_stored(self, row: int, since: float) -> float:
        question = "SELECT embedding IS NOT NULL FROM messages WHERE id = $1"
        while not await self._connection.fetchval(question, row):
            if time.perf_counter() - since > LOST_SECONDS:
                return LOST_SECONDS
            await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter() - since
