"""One test's world: real servers that can be killed, processes that can be killed, and the record of all that was done.

world.start_sweeper()
doomed = world.start_worker(CHAOS_DIE_AT="answered")
await world.sql("INSERT INTO messages …")
await world.death_of(doomed)
world.start_worker()
await world.settled()
account = await world.account()
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import nats
import pytest
from nats.js.errors import NotFoundError

from chaos.account import Account, Disturbance, Evidence, settle_account
from chaos.record import INSERTS, Event, Row, read_record, read_rows
from winnow.bootstrap import opened
from winnow.domain.jobs import EmbedJob, Kind, Lane, in_batches
from winnow.queue.lanes import LANES
from winnow.queue.streams import DEAD_STREAM, STREAM
from winnow.servers import Servers
from winnow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from nats.js import JetStreamContext

    from chaos.model import ChaosServer
    from chaos.processes import Child, Nursery
    from chaos.servers import KillablePostgres, WipeableNats

LEASE_SECONDS = 3.0
ACK_WAIT_SECONDS = 3.0
DRAIN_SECONDS = 3.0
TIMEOUT_SECONDS = 4.0
# A loaded machine takes several times as long as an idle one; a test waits for what happens, never for a while.
PATIENCE_SECONDS = 75.0
# Retries of a write and of an ask in hand, beside lease and timeout.
HOLD_SECONDS = LEASE_SECONDS + TIMEOUT_SECONDS + 5

SETTINGS = {
    "WINNOW_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "WINNOW_ACK_WAIT_SECONDS": f"{ACK_WAIT_SECONDS:g}",
    "WINNOW_DRAIN_SECONDS": f"{DRAIN_SECONDS:g}",
    "WINNOW_PROVIDER_TIMEOUT_SECONDS": f"{TIMEOUT_SECONDS:g}",
    "WINNOW_PROVIDER_FIRST_TIMEOUT_SECONDS": f"{TIMEOUT_SECONDS:g}",
    "WINNOW_SWEEP_SECONDS": "0.3",
    "WINNOW_SWEEP_AGE_SECONDS": "0.5",
    "WINNOW_BATCH_SIZE": "10",
    "WINNOW_LOG_FORMAT": "json",
}
LOOK_SECONDS = 0.1
# How asyncpg says that a connection or the server is gone; InternalClientError is of one that ended between two steps.
LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
COUNTED = ("embedded", "pending", "in_hand", "waiting", "failed", "skipped")
ON_THEIR_WAY = ("pending", "in_hand", "waiting")


@dataclass
class World:
    """See the module."""

    postgres: KillablePostgres
    database_url: str
    nats: WipeableNats
    model: ChaosServer
    nursery: Nursery
    folder: Path
    disturbances: list[Disturbance] = field(default_factory=list)
    children: dict[str, Child] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)
    _looking: asyncpg.Connection | None = None
    _one_looks: asyncio.Lock = field(default_factory=asyncio.Lock)

    # -- processes

    def start_worker(self, **variables: str) -> Child:
        """A worker, doomed if CHAOS_… variables say so (see `doomed_worker.py`)."""
        doomed = any(variable.startswith("CHAOS_") for variable in variables)
        return self._start("worker", ["doomed" if doomed else "worker"], variables)

    def start_sweeper(self, **variables: str) -> Child:
        """A sweeper."""
        return self._start("sweeper", ["sweeper"], variables)

    def start_api(self, **variables: str) -> Child:
        """The HTTP API; `url_of_api` tells where."""
        return self._start("api", ["api", "--port", "0"], variables)

    def _start(self, role: str, command: list[str], variables: dict[str, str]) -> Child:
        self._numbers[role] += 1
        name = f"{role}{self._numbers[role]}"
        servers = {"DATABASE_URL": self.database_url, "NATS_URL": self.nats.url, "WINNOW_DATA_DIR": str(self.folder)}
        given = {**servers, **SETTINGS, **self.model.variables(name), **variables}
        child = self.nursery.start(name, command, given, fresh="CHAOS_CLOCK_SHIFT" in variables)
        self.children[name] = child
        return child

    async def listening(self, *workers: Child) -> None:
        """Returns when the workers take tasks."""

        def look() -> bool:
            return all("queue.listening" in worker.output for worker in workers)

        await self.until(look, "all listen")

    async def url_of_api(self, api: Child) -> str:
        """Where it listens, once it does."""
        await self.until(lambda: "api.listening" in api.output, "the API listens")
        return str(re.findall(r"http://127\.0\.0\.1:\d+", api.output)[0])

    async def asked_again(self) -> None:
        """Returns when the model server is asked for the next time."""
        before = len(self.model.asked)
        await self.until(lambda: len(self.model.asked) > before, "the model is asked")

    async def asked_by(self, worker: Child) -> None:
        """Returns when a worker has texts with the model server."""
        await self.until(lambda: bool(self.model.asked_by(worker.name)), f"{worker.name} asks")

    async def death_of(self, doomed: Child) -> None:
        """Returns when it has killed itself, and notes it."""
        began = time.time()

        def look() -> bool:
            nonlocal began
            ended = doomed.code is not None
            began = began if ended else time.time()
            return ended

        await self.until(look, f"{doomed.name} dies")
        assert doomed.was_killed, f"{doomed.name} ended with {doomed.code}:\n{doomed.output[-2000:]}"
        self.note("kill -9 of a worker", began, victim=doomed.name, costs=True)

    async def kill(self, child: Child, what: str = "kill -9 of a worker") -> None:
        """kill -9."""
        began = time.time()
        child.send(signal.SIGKILL)
        await child.ended(10)
        self.note(what, began, victim=child.name, costs=True)

    @asynccontextmanager
    async def frozen(self, child: Child) -> AsyncIterator[None]:
        """Stops a process where it stands, for the time of the block."""
        began = time.time()
        child.send(signal.SIGSTOP)
        try:
            yield
        finally:
            child.send(signal.SIGCONT)
            frozen = Disturbance("freeze of a worker", began, time.time(), child.name, costs=True, frozen=True)
            self.disturbances.append(frozen)

    # -- servers

    async def restart_nats(self, *, wiped: bool = False) -> None:
        """kill -9 of nats-server, then another one on the same port; without its JetStream folder when `wiped`."""
        began = time.time()
        self.nats.kill()
        if wiped:
            self.nats.wipe()
        await self.nats.start()
        self.note("wiped JetStream folder" if wiped else "kill -9 of nats-server", began)

    async def delete_streams(self, *, consumers_only: bool = False) -> None:
        """Deletes the consumers, and the streams as well unless told not to."""
        began = time.time()
        async with self.jetstream() as js:
            for lane in LANES.values():
                with suppress(NotFoundError):
                    await js.delete_consumer(STREAM, lane.durable)
            if not consumers_only:
                with suppress(NotFoundError):
                    await js.delete_stream(STREAM)
        self.note("deleted consumers" if consumers_only else "deleted stream", began)

    async def restart_postgres(self) -> None:
        """kill -9 of PostgreSQL, then another one on the same folder."""
        with self.disturbing("kill -9 of PostgreSQL"):
            await asyncio.to_thread(self.postgres.kill)
            await asyncio.to_thread(self.postgres.restart)

    async def drop_connections(self) -> None:
        """Ends every connection to the database but ours."""
        with self.disturbing("dropped connections"):
            await self.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )

    @contextmanager
    def disturbing(self, what: str, *, victim: str | None = None, costs: bool = False) -> Iterator[None]:
        """Notes the block as a disturbance."""
        began = time.time()
        try:
            yield
        finally:
            self.note(what, began, victim=victim, costs=costs)

    def note(self, what: str, began: float, *, victim: str | None = None, costs: bool = False) -> None:
        """Notes a disturbance that ends now."""
        self.disturbances.append(Disturbance(what, began, time.time(), victim, costs))

    # -- writing

    async def add(self, *texts: str, kind: Kind = Kind.MESSAGES) -> list[int]:
        """Rows with these embedded texts, in one transaction, as somebody writes them who does not know of Winnow."""
        return [row["id"] for row in await self.sql(INSERTS[kind], list(texts))]

    async def send_tasks(self, ids: Sequence[int], *, size: int = 10) -> None:
        """Tells the workers of messages, ten at a time."""
        settings = Settings(_env_file=None, embedder="local")
        servers = Servers(database_url=self.database_url, nats_url=self.nats.url)
        async with opened(settings, servers) as winnow:
            jobs = list(in_batches([EmbedJob(Kind.MESSAGES, tuple(ids))], size))
            await winnow.dispatcher.dispatch(jobs, Lane.BULK)

    # -- looking

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of our own, which Winnow does not know."""
        connection = await asyncpg.connect(self.database_url, timeout=10)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    async def sql(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Runs a statement by itself."""
        async with self.connected() as connection:
            return list(await connection.fetch(statement, *values))

    async def look(self, statement: str) -> list[asyncpg.Record]:
        """Runs a statement that may run twice, over a connection that is kept for as long as it lives."""
        async with self._one_looks:
            for _ in range(2):
                with suppress(*LOST):
                    if self._looking is None or self._looking.is_closed():
                        self._looking = await asyncpg.connect(self.database_url, timeout=10)
                    return list(await self._looking.fetch(statement))
                if self._looking is not None:
                    self._looking.terminate()
        return await self.sql(statement)

    @asynccontextmanager
    async def jetstream(self) -> AsyncIterator[JetStreamContext]:
        """JetStream over a connection of our own."""
        client = await nats.connect(self.nats.url)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def progress(self) -> dict[str, int]:
        """How many rows stand where, over all kinds; fails when a kind's counts do not add up to its rows."""
        total: Counter[str] = Counter()
        for row in await self.look("SELECT * FROM embedding_progress"):
            parts = {name: row[name] for name in COUNTED}
            assert min(parts.values()) >= 0, dict(row)
            assert sum(parts.values()) == row["total"], dict(row)
            total.update(parts)
        return dict(total)

    async def until(
        self, look: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Waits until `look` holds; fails with what is left when it does not in time."""
        deadline = time.monotonic() + seconds
        while True:
            found = look()
            if found if isinstance(found, bool) else await found:
                return
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds:.0f} s: {what}\n{await self.report()}")
            await asyncio.sleep(LOOK_SECONDS)

    async def settled(self, rows: int | None = None, seconds: float = PATIENCE_SECONDS) -> float:
        """Returns when no row is on its way any more (and there are so many), after how many seconds.

        Waits that Winnow has ordered for later than a second from now are over then: hours of backoff pass in a test.
        """
        began = time.monotonic()
        await self.until(lambda: self.is_settled(rows), "everything is settled", seconds)
        return time.monotonic() - began

    async def is_settled(self, rows: int | None = None) -> bool:
        """Whether no row is on its way just now (and there are so many). See `settled`."""
        await self.shorten_waits()
        now = await self.progress()
        return not any(now[name] for name in ON_THEIR_WAY) and (rows is None or sum(now.values()) == rows)

    async def shorten_waits(self, seconds: float = 1.0) -> None:
        """No wait ends later than this from now."""
        soon = f"now() + interval '{seconds} seconds'"
        await self.look(
            f"UPDATE embedding_jobs SET not_before = {soon} WHERE state = 'waiting' AND not_before > {soon}"
        )
        await self.look(f"UPDATE embedding_spaces SET paused_until = {soon} WHERE pauses > 0 AND paused_until > {soon}")

    async def streams_empty(self, *, dead_letters: bool = False) -> bool:
        """Whether nothing is left in the streams: no task, none in hand, no dead letter unless they are allowed."""
        async with self.jetstream() as js:
            for stream in [STREAM] if dead_letters else [STREAM, DEAD_STREAM]:
                with suppress(NotFoundError):
                    if (await js.stream_info(stream)).state.messages:
                        return False
        return True

    async def account(self, *, hold_seconds: float = HOLD_SECONDS, dead_letters: bool = False) -> Account:
        """The account of all that has happened, once the streams are empty; fails when anything is wrong."""
        await self.until(lambda: self.streams_empty(dead_letters=dead_letters), "nothing is left in the streams")
        account = settle_account(await self.evidence(hold_seconds))
        jobs = await self._jobs_left()
        account.faults += [f"a job is left: {job}" for job in jobs if job["row"] is not None]
        account.orphans = sum(job["row"] is None for job in jobs)
        if account.faults:
            shown = "\n".join(account.faults[:20])
            pytest.fail(f"{len(account.faults)} faults:\n{shown}\n{await self.report()}")
        return account

    async def _jobs_left(self) -> list[dict[str, Any]]:
        """Jobs that say that somebody still has rows in hand or waits with them."""
        left = []
        for kind in Kind:
            left += await self.sql(
                f"SELECT j.*, t.id AS row, t.embedding IS NOT NULL AS embedded FROM embedding_jobs j "
                f"LEFT JOIN {kind.value} t ON t.id = j.entity_id "
                "WHERE j.kind = $1 AND j.state NOT IN ('failed', 'skipped')",
                kind.value,
            )
        return [dict(job) for job in left]

    async def evidence(self, hold_seconds: float) -> Evidence:
        """What the database, the model server and we have noted."""
        async with self.connected() as sql:
            events: list[Event] = await read_record(sql)
            rows: list[Row] = await read_rows(sql)
        host = socket.gethostname()
        return Evidence(
            asked=list(self.model.asked),
            events=events,
            rows=rows,
            disturbances=self.disturbances,
            dimensions=self.model.dimensions,
            hold_seconds=hold_seconds,
            names={f"{host}:{child.pid}": name for name, child in self.children.items()},
        )

    async def report(self) -> str:
        """Where everything stands, for a person who has to find out why."""
        lines = [f"requests: {dict(self.model.answers)}"]
        started = min((one.began for one in self.disturbances), default=0)
        lines += [f"  {one.began - started:6.1f} s {one.what} {one.victim or ''}" for one in self.disturbances[-30:]]
        with suppress(OSError, asyncpg.PostgresError):
            lines.append(f"rows: {await self.progress()}")
            jobs = "SELECT * FROM embedding_jobs WHERE state NOT IN ('failed', 'skipped') ORDER BY 1, 2 LIMIT 20"
            lines += [str(dict(row)) for row in await self.sql(jobs)]
            lines += [str(dict(row)) for row in await self.sql("SELECT * FROM embedding_spaces")]
        for child in self.children.values():
            state = "runs" if child.code is None else f"ended with {child.code}"
            lines.append(f"-- {child.name} (process {child.pid}) {state}")
            if child.code is None or child.code > 0:
                lines += [f"   {line[:300]}" for line in child.output.splitlines()[-12:]]
        return "\n".join(lines)

    def close(self) -> None:
        """Kills what still runs."""
        if self._looking is not None:
            self._looking.terminate()
        for child in self.children.values():
            child.send(signal.SIGKILL)
