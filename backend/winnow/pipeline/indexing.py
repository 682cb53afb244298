"""The indexes of nearest neighbours: taken away for a large load, built after it, and mended where something broke."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role
from winnow.errors import DatabaseBusy, Transient
from winnow.storage.indexes import (
    SPARE_BYTES,
    build_memory_bytes,
    drop_index,
    graph_bytes,
    index_session,
    index_states,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from winnow.storage.engine import Database
    from winnow.storage.indexes import IndexSession, IndexState

log = structlog.get_logger(__name__)

# A row put into a graph costs about three times what it costs in a build (two processes each, 256 and 1,536 dimensions
# alike), but a build does the rows again that were there. Measured, the two are even between a fifth and a quarter of
# the table, and at a third the build takes two thirds of the time (bench/README.md, backfilling).
BACKLOG_SHARE = 0.25
# Below this a build saves seconds at most, and all searches read every row meanwhile.
LEAST_BACKLOG = 5_000
DROP_TRIES = 5
DROP_PAUSE_SECONDS = 1.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a backfill is about to do to the table of a kind, in rows: vectors there are, and vectors to come."""

    embedded: int
    backlog: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexBuild:
    """A build as people see it: of which kind, how much of the graph there is (0 to 1), and for how long already.

    `waits` says that somebody's open transaction is in its way.
    """

    kind: Kind
    built: float
    seconds: float
    waits: bool = False
    finished: bool = False


def is_large(load: Load) -> bool:
    """Whether it is a large enough part of its table, and large enough at all, to build the index anew for it."""
    return load.backlog >= max(LEAST_BACKLOG, (load.embedded + load.backlog) * BACKLOG_SHARE)


@asynccontextmanager
async def loading(
    database: Database,
    loads: Mapping[Kind, Load],
    *,
    say: Callable[[str], None],
    tell: Callable[[IndexBuild], None],
) -> AsyncIterator[None]:
    """For a load of vectors: what is in the way is taken away before, and what is missing is built after it.

    Args:
        database: where.
        loads: what is to come, by kind.
        say: told in a sentence that an index was taken away, and when the load ends before it is there again.
        tell: told how far a build is.
    """
    away: tuple[Kind, ...] = ()
    async with AsyncExitStack() as stack:
        if any(is_large(load) for load in loads.values()):
            session = await stack.enter_async_context(index_session(database))
            away = await take_away(database, session, loads)
        names = " and ".join(kind.value for kind in away)
        if away:
            say(f"the index of {names} is away for this load and built after it; searches read every row meanwhile")
        try:
            yield
            await stack.aclose()  # from here on whoever comes first builds
            await build_missing(database, tuple(loads), tell=tell)
        except BaseException:  # Ctrl-C as well
            if away:
                say(f"the index of {names} is not built yet: `winnow up` and `winnow sweeper` do that, when they run")
            raise


def building_after_is_cheaper(load: Load, *, dimensions: int, memory_bytes: int) -> bool:
    """Whether to load first and build the index then: a large part of a table whose graph fits into memory."""
    needed = graph_bytes(load.embedded + load.backlog, dimensions) + SPARE_BYTES
    return is_large(load) and needed <= memory_bytes


async def take_away(database: Database, session: IndexSession, loads: Mapping[Kind, Load]) -> tuple[Kind, ...]:
    """Takes away the indexes that are better built after the load, for as long as `session` lasts.

    Returns the kinds whose index is away and in the session's hand; one that somebody else had at hand, or whose table
    was not to be had for a moment, is left in its place.
    """
    away = []
    for state in await index_states(database, list(loads)):
        memory = await build_memory_bytes(database)
        cheaper = building_after_is_cheaper(loads[state.kind], dimensions=state.dimensions, memory_bytes=memory)
        if state.wanted and cheaper and await session.take(state.kind) and await _dropped(database, state.kind):
            away.append(state.kind)
    return tuple(away)


async def _dropped(database: Database, kind: Kind) -> bool:
    for _ in range(DROP_TRIES):
        try:
            await drop_index(database, kind)
        except DatabaseBusy as error:
            log.info("index.not_dropped", kind=kind.value, reason=str(error))
            await asyncio.sleep(DROP_PAUSE_SECONDS)
        else:
            return True
    return False


async def build_missing(
    database: Database,
    kinds: Sequence[Kind] = tuple(Kind),
    *,
    tell: Callable[[IndexBuild], None],
    role: Role = Role.ACTIVE,
) -> None:
    """Builds the indexes of these kinds that are missing, or waits for whoever builds one; tells how far it is.

    An index in the hand of somebody who does not build it is his to build: of another backfill that still loads.

    Raises:
        DatabaseUnavailable: the database went away; `mend_indexes` goes on where this stopped.
    """
    started: dict[Kind, float] = {}
    while True:
        await mend_indexes(database, kinds, tell=tell, role=role)
        elsewhere = [
            state for state in await index_states(database, kinds, role=role) if state.missing and state.building
        ]
        for state in elsewhere:
            since = started.setdefault(state.kind, time.monotonic())
            tell(_seen(state, since))
        if not elsewhere:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def mend_indexes(
    database: Database,
    kinds: Sequence[Kind] = tuple(Kind),
    *,
    tell: Callable[[IndexBuild], None] | None = None,
    role: Role = Role.ACTIVE,
) -> int:
    """Builds every index that is missing or was left invalid by a killed build; returns how many.

    One look at the catalogue when all is well. Safe beside itself and beside backfills: what somebody has in hand or
    builds is left alone. It keeps nobody waiting, and may take minutes. For no transaction, and for a task that may
    be cancelled: what it leaves behind is mended the next time.

    Raises:
        DatabaseUnavailable: the database went away, or has no room; whoever calls this at regular times should then
            wait for longer than usual, for each try builds from the beginning.
    """
    missing = [state for state in await index_states(database, kinds, role=role) if _is_free(state)]
    if not missing:
        return 0
    built = 0
    async with index_session(database) as session:
        for state in missing:
            if await session.take(state.kind):
                built += await _build(database, session, state.kind, role, tell)
    return built


def _is_free(state: IndexState) -> bool:
    return state.missing and not state.held and not state.building


def _seen(state: IndexState, since: float) -> IndexBuild:
    return IndexBuild(kind=state.kind, built=state.built, seconds=time.monotonic() - since, waits=state.waits)


async def _build(
    database: Database,
    session: IndexSession,
    kind: Kind,
    role: Role,
    tell: Callable[[IndexBuild], None] | None,
) -> bool:
    started = time.monotonic()
    log.info("index.building", kind=kind.value)
    building = asyncio.create_task(session.build(kind, role), name=f"build the index of {kind.value}")
    try:
        while tell and not (await asyncio.wait({building}, timeout=LOOK_SECONDS))[0]:
            with contextlib.suppress(Transient):  # the build shall not end because nobody could look at it
                for state in await index_states(database, [kind], role=role):
                    tell(_seen(state, started))
        built = await building
    finally:
        building.cancel()
        await asyncio.gather(building, return_exceptions=True)
    seconds = time.monotonic() - started
    if built:
        log.info("index.built", kind=kind.value, seconds=round(seconds, 1))
        if tell:
            tell(IndexBuild(kind=kind, built=1.0, seconds=seconds, finished=True))
    return built
