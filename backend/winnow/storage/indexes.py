"""The HNSW indexes as things that come and go: taken away for a large load, built anew, found broken and mended."""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import structlog
from sqlalchemy.exc import DBAPIError

from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role
from winnow.storage.embeddables import EMBEDDABLES, ENDINGS
from winnow.storage.named import fetch
from winnow.storage.refusals import reason_of, sqlstate
from winnow.storage.spaces import MAX_INDEXED_VECTOR, index_name, index_statement, indexed_expression, read_spaces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.spaces import Space
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

GIBIBYTE = 2**30
# What HNSW keeps of a row beside its vector: the element (128 bytes), 32 links of 16 bytes on the ground floor, a
# fifteenth of 16 more above, and what the allocator adds (pgvector 0.8, src/hnsw.h: HnswElementData, HnswCandidate).
ROW_OVERHEAD_BYTES = 800
# pgvector leaves this much of `maintenance_work_mem` unused (src/hnswbuild.c), and a table grows while it is indexed.
SPARE_BYTES = 16 * 2**20
# Memory on a server that may be somebody else's: its own setting is what was meant for one build, so several times
# that is the most a rare one takes, and never more than this.
MOST_TIMES_OWN = 4
MOST_BYTES = GIBIBYTE
# Of a machine that is ours as well.
MOST_OF_AVAILABLE = 0.25
# PostgreSQL sends no helpers where each process of a build (two helpers and itself) would have less than 32 MB.
LEAST_BYTES = 96 * 2**20
# Shared memory for helpers did not fit into /dev/shm (64 MB in a container that is not told otherwise), or into memory.
NO_SHARED_MEMORY = ("53100", "53200")
MANY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexState:
    """How the index of a kind stands. `held`: somebody has it in hand; `phase` and `done` (0 to 1) are of a build."""

    kind: Kind
    dimensions: int
    valid: bool
    held: bool
    phase: str | None
    done: float | None

    @property
    def wanted(self) -> bool:
        """Whether vectors of so many dimensions can be indexed at all."""
        return indexed_expression(self.dimensions) is not None

    @property
    def missing(self) -> bool:
        """Not there, or a leftover that writes pay for and searches pass over, where there should be one."""
        return self.wanted and not self.valid

    @property
    def building(self) -> bool:
        """Whether some session builds it."""
        return self.phase is not None

    @property
    def waits(self) -> bool:
        """Whether the build waits for other people's transactions to end."""
        return self.phase is not None and self.phase.startswith("waiting")

    @property
    def built(self) -> float:
        """How much of the graph is built, 0 to 1."""
        if self.phase is None or self.phase.startswith(("initializing", "waiting for writers before build")):
            return 0.0
        return (self.done or 0.0) if self.phase.startswith("building") else 1.0


async def index_states(
    database: Database, kinds: Sequence[Kind] = tuple(Kind), *, role: Role = Role.ACTIVE
) -> list[IndexState]:
    """How the indexes stand, from the catalogue alone; empty where there is no space of this role."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "index_states", [kind.value for kind in kinds], role.value, ENDINGS[role])
    return [
        IndexState(
            kind=Kind(row.kind),
            dimensions=row.dimensions,
            valid=row.valid,
            held=row.held,
            phase=row.phase,
            done=row.done,
        )
        for row in rows
    ]


def graph_bytes(rows: int, dimensions: int) -> int:
    """What the HNSW graph of so many rows takes in memory while it is built; of equal vectors it takes less."""
    width = 4 if dimensions <= MAX_INDEXED_VECTOR else 2
    return rows * (ROW_OVERHEAD_BYTES + width * dimensions)


async def build_memory_bytes(database: Database) -> int:
    """The most memory that a build of ours takes: a few times the server's own setting, if the machine can spare it."""
    async with database.autocommit() as connection:
        row = (await fetch(connection, "build_memory"))[0]
    own_bytes = int(row.own_bytes)
    most = min(own_bytes * MOST_TIMES_OWN, MOST_BYTES)
    if row.same_machine:
        most = min(most, int(psutil.virtual_memory().available * MOST_OF_AVAILABLE))
    return max(own_bytes, most)


async def drop_index(database: Database, kind: Kind) -> None:
    """Takes the index away, for whoever has it in hand. Searches read every row from now on.

    Raises:
        DatabaseBusy: somebody's transaction was in the way for half a second.
    """
    async with database.transaction() as connection:
        await fetch(connection, "wait_briefly")
        await connection.exec_driver_sql(f"DROP INDEX IF EXISTS {index_name(EMBEDDABLES[kind])}")
    log.info("index.dropped", kind=kind.value)


@asynccontextmanager
async def index_session(database: Database) -> AsyncIterator[IndexSession]:
    """A session for taking indexes in hand and building them; what it holds comes free when the block ends.

    Raises:
        DatabaseUnavailable: the server does not answer, or went away in between.
    """
    async with database.autocommit() as connection:
        try:
            await fetch(connection, "keep_session")
            yield IndexSession(database, connection)
        finally:
            # It is not for the pool any more: its settings are its own, and its locks end with it.
            with contextlib.suppress(DBAPIError, OSError):
                await connection.invalidate()


class IndexSession:
    """One connection that holds locks on indexes and builds them, one at a time and outside of any transaction."""

    def __init__(self, database: Database, connection: AsyncConnection) -> None:
        self._database = database
        self._connection = connection

    async def take(self, kind: Kind) -> bool:
        """Takes a kind's index in hand for as long as the session lasts; False: somebody else has it."""
        return bool((await fetch(self._connection, "take_index", kind=kind))[0].taken)

    async def run(self, statement: str) -> None:
        """Makes or drops an index whose table is in hand, by a statement of its own that runs in no transaction."""
        await self._connection.exec_driver_sql(statement)

    async def build(self, kind: Kind, role: Role = Role.ACTIVE) -> bool:
        """Builds the index that `take` has taken, if it is still missing, for the space that has this role now.

        Nobody is kept waiting by it, but it waits itself: for every transaction that was open when it began. Returns
        whether a valid index came of it.

        Raises:
            DatabaseUnavailable: the server, this session, or its disk's last room went away; what is left is mended
                by the next build.
        """
        states = await index_states(self._database, [kind], role=role)
        if not states or not states[0].missing or states[0].building:
            return False
        async with self._database.autocommit() as connection:
            space = (await read_spaces(connection)).get(role)
            rows = (await fetch(connection, "count_rows", kind=kind, role=role))[0]
        if space is None or indexed_expression(space.dimensions) is None:
            return False
        needed = graph_bytes(rows.total - rows.without_vector, space.dimensions) + SPARE_BYTES
        memory = min(max(needed, LEAST_BYTES), await build_memory_bytes(self._database))
        try:
            await self._create(kind, space, memory_bytes=memory, helpers=MANY)
        except DBAPIError as error:
            if sqlstate(error) not in NO_SHARED_MEMORY:
                raise
            log.warning("index.without_helpers", kind=kind.value, reason=reason_of(error))
            await self._create(kind, space, memory_bytes=memory, helpers=0)
        after = await index_states(self._database, [kind], role=role)
        return bool(after) and not after[0].missing

    async def _create(self, kind: Kind, space: Space, *, memory_bytes: int, helpers: int) -> None:
        embeddable = EMBEDDABLES[kind]
        await fetch(self._connection, "prepare_build", memory_bytes // 1024, helpers)
        await self._connection.exec_driver_sql(
            f"DROP INDEX CONCURRENTLY IF EXISTS {index_name(embeddable, space.role)}"
        )
        create = index_statement(embeddable, space.dimensions, concurrently=True, role=space.role)
        await self._connection.exec_driver_sql(create)
