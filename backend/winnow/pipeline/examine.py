"""`winnow doctor`: are the servers, the disk and the clocks as they must be? What is wrong is said with what to do."""

from __future__ import annotations

import shutil
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.findings import doubtful, well, wrong
from winnow.domain.spaces import Role
from winnow.errors import DatabaseUnavailable, QueueUnavailable, WinnowError
from winnow.storage.doctor import DatabaseFacts, database_facts
from winnow.storage.indexes import index_states
from winnow.storage.migrate import newest_revision, require_newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from winnow.domain.findings import Finding
    from winnow.pipeline.examine_model import ExaminingModel
    from winnow.queue.facts import JetStreamFacts
    from winnow.storage.engine import Database

# A pool of a process may open so many connections (`storage.engine`), and there are at least three processes.
CONNECTIONS_OF_A_PROCESS = 20
PROCESSES = 3
LONG_IDLE_SECONDS = 60.0
CLOCKS_APART_SECONDS = 5.0
LEAST_FREE_BYTES = 2**30
FULL = 0.9
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Examining:
    """What an examination looks at.

    Attributes:
        database: the one in use.
        queue: asks NATS. Raises QueueUnavailable.
        model: makes an embedder's part, of the space of this role; None: there is none to be looked at. Raises
            WinnowError.
        extractor: looks at the extractor.
        data_dir: of the embedded servers; None: the servers are somebody else's.
    """

    database: Database
    queue: Callable[[], Awaitable[JetStreamFacts]]
    model: Callable[[Role], Awaitable[ExaminingModel | None]]
    extractor: Callable[[], AsyncIterator[Finding]]
    data_dir: Path | None


async def examine(tools: Examining) -> AsyncIterator[Finding]:
    """Everything, one finding after the other; what cannot be looked at is a finding as well."""
    parts: Sequence[tuple[str, AsyncIterator[Finding]]] = (
        ("database", _database(tools)),
        ("nats", _nats(tools)),
        ("disk", _disk(tools)),
        ("model", _model(tools, Role.ACTIVE)),
        ("next model", _model(tools, Role.BUILDING)),
        ("extractor", tools.extractor()),
    )
    for area, findings in parts:
        try:
            async with aclosing(findings) as each:  # type: ignore[type-var]
                async for finding in each:
                    yield finding
        except WinnowError as error:
            yield wrong(area, "examination", str(error), "mend this first; the rest of this area was not looked at")


async def _database(tools: Examining) -> AsyncIterator[Finding]:
    await require_newest(tools.database.url)
    facts = await database_facts(tools.database)
    yield well("database", "version", f"PostgreSQL {facts.version}, pgvector {facts.pgvector}")
    yield well("database", "schema", f"revision {newest_revision()}")
    yield _durable(facts)
    for finding in _settings(facts):
        yield finding
    yield await _indexes(tools, facts)
    yield _triggers(facts)
    yield _clock(facts)


def _durable(facts: DatabaseFacts) -> Finding:
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if getattr(facts, name) == "off"]
    if off:
        return wrong(
            "database",
            "durability",
            f"{' and '.join(off)} off: what was confirmed can be lost when the power goes",
            "switch it on in postgresql.conf",
        )
    return well("database", "durability", "a commit is on the disk")


def _settings(facts: DatabaseFacts) -> list[Finding]:
    findings = []
    if facts.autovacuum == "off":
        findings.append(
            doubtful("database", "autovacuum", "off: tables grow, and plans go by old statistics", "switch it on")
        )
    if facts.encoding != "UTF8":
        findings.append(
            wrong("database", "encoding", f"{facts.encoding} cannot hold every message", "make the database in UTF8")
        )
    free, needed = facts.max_connections - facts.connections, CONNECTIONS_OF_A_PROCESS * PROCESSES
    if facts.max_connections < needed:
        findings.append(
            doubtful(
                "database",
                "connections",
                f"max_connections is {facts.max_connections}; API, worker and sweeper may open {needed}",
                f"set max_connections to {needed + 20} or more",
            )
        )
    else:
        findings.append(
            well("database", "connections", f"{facts.connections} of {facts.max_connections} in use, {free} free")
        )
    if facts.idle_seconds is not None and facts.idle_seconds > LONG_IDLE_SECONDS:
        findings.append(
            doubtful(
                "database",
                "open transactions",
                f"one is left open for {facts.idle_seconds:,.0f} s; indexes and a change of the model wait for it",
                "end it: see pg_stat_activity",
            )
        )
    return findings


async def _indexes(tools: Examining, facts: DatabaseFacts) -> Finding:
    states = [
        (role, state)
        for role in (Role.ACTIVE, Role.PREVIOUS)
        for state in await index_states(tools.database, role=role)
    ]
    missing = [state.kind.value for role, state in states if role == Role.ACTIVE and state.missing]
    if missing:
        busy = any(state.building or state.held for _, state in states)
        return doubtful(
            "database",
            "indexes",
            f"no index of nearest neighbours for {', '.join(missing)}: searches read every row",
            "it is being built; wait" if busy else "start `winnow up` or `winnow sweeper`, which builds it",
        )
    if facts.broken_indexes:
        return doubtful(
            "database",
            "indexes",
            f"left behind invalid: {', '.join(facts.broken_indexes)}",
            "REINDEX INDEX CONCURRENTLY, or drop it",
        )
    return well("database", "indexes", "all valid" if states else "made with the first vector")


def _triggers(facts: DatabaseFacts) -> Finding:
    off, missing = ", ".join(facts.triggers_off), ", ".join(facts.triggers_missing)
    if not off and not missing:
        return well("database", "triggers", "all on")
    return wrong(
        "database",
        "triggers",
        " and ".join([f"switched off: {off}"] * bool(off) + [f"missing: {missing}"] * bool(missing))
        + "; texts that change keep their old vectors",
        "restore them from a dump of the database" if missing else "ALTER TABLE … ENABLE TRIGGER ALL",
    )


def _clock(facts: DatabaseFacts) -> Finding:
    apart = abs(facts.now - time.time())
    if apart > CLOCKS_APART_SECONDS:
        return doubtful(
            "clocks",
            "database",
            f"the database's clock and this machine's are {apart:,.0f} s apart",
            "synchronise both with NTP; leases go by the database's, logs by each machine's own",
        )
    return well("clocks", "database", f"{apart:.1f} s apart")


async def _nats(tools: Examining) -> AsyncIterator[Finding]:
    try:
        facts = await tools.queue()
    except QueueUnavailable as error:
        yield wrong("nats", "jetstream", str(error), "start it with JetStream (nats-server -js), or check NATS_URL")
        return
    yield well("nats", "jetstream", f"NATS {facts.version}")
    if facts.storage == "memory":
        yield wrong(
            "nats",
            "storage",
            "the stream of tasks is kept in memory: a restart loses it (no row is lost, the sweeper finds them)",
            "delete the stream TASKS while nothing is queued; Winnow makes it again on files",
        )
    elif facts.storage:
        yield well("nats", "storage", f"on files, {facts.replicas} replica(s)")
    if tools.data_dir is not None:
        yield well("nats", "sync", "each task is on the disk before it is confirmed (sync_interval: always)")
    else:
        yield doubtful(
            "nats",
            "sync",
            "how often this NATS writes to its disk cannot be seen from here; by default every two minutes",
            "set jetstream { sync_interval: always }, or rely on the sweeper, which finds the rows of lost tasks",
        )
    if facts.most_bytes is not None and facts.used_bytes > FULL * facts.most_bytes:
        yield doubtful(
            "nats",
            "room",
            f"{facts.used_bytes / facts.most_bytes:.0%} of its store is in use",
            "raise max_file_store, or start more workers",
        )
    if facts.dead:
        yield doubtful(
            "nats",
            "dead letters",
            f"{facts.dead} tasks that nobody could read or finish",
            "read them with: nats stream view DEAD; no row is lost with them",
        )


async def _model(tools: Examining, role: Role) -> AsyncIterator[Finding]:
    try:
        model = await tools.model(role)
    except DatabaseUnavailable:
        if role == Role.ACTIVE:
            raise
        return  # that was said before
    if model is not None:
        async for finding in model.examine():
            yield finding


async def _disk(tools: Examining) -> AsyncIterator[Finding]:
    if tools.data_dir is None:
        return
    usage = shutil.disk_usage(tools.data_dir)
    says = f"{usage.free / GIB:,.1f} GiB free where {tools.data_dir} is"
    if usage.free < LEAST_FREE_BYTES:
        yield doubtful("disk", "room", says, "make room: at less than some megabytes the servers stop")
    else:
        yield well("disk", "room", says)
