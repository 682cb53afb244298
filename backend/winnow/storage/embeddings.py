"""NULL is the queue: claiming rows without a vector, reading their texts, storing their vectors, keeping count."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pgvector import Vector
from sqlalchemy.exc import IntegrityError

from winnow.domain.jobs import Kind
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from numpy.typing import NDArray
    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.spaces import Space
    from winnow.storage.engine import Database

CLAIM_TRIES = 5
SAVED = "embed.saved"
COUNTED = ("total", "embedded", "pending", "in_hand", "waiting", "failed", "skipped", "oldest_pending")


@dataclass(frozen=True, slots=True)
class EmbeddableText:
    """A row's text as it stood when it was read, and the hash by which a vector of it will be fenced.

    `known` says that another row of the same text has a vector already. `paid` is a vector of this very text (of its
    first `paid_characters`, if that is not None) that could not be stored when it came.
    """

    id: int
    text: str
    hash: bytes
    known: bool = False
    paid: NDArray[np.float32] | None = None
    paid_characters: int | None = None


@dataclass(frozen=True, slots=True)
class Tries:
    """How often a row's text was at fault, and how often its server was away."""

    attempts: int
    waits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A hold on rows of one kind: whoever lets it run out has lost them."""

    kind: Kind
    space: Space
    token: UUID
    worker: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a batch cost: tokens, where the server told, and seconds."""

    tokens: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Why a row was not embedded. `fault` says that the text itself was (it counts towards its attempts)."""

    state: str
    error_kind: str
    error: str
    wait_seconds: float = 0
    fault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCounts:
    """Where the rows of a kind stand: embedded + pending + in_hand + waiting + failed + skipped = total."""

    total: int
    embedded: int
    pending: int
    in_hand: int
    waiting: int
    failed: int
    skipped: int
    oldest_pending: datetime | None = None

    @property
    def without_vector(self) -> int:
        """Rows whose embedding is NULL."""
        return self.total - self.embedded


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a given set of rows stands. Rows that were deleted meanwhile are in none of the counts."""

    embedded: int
    failed: int
    skipped: int
    waiting: int
    existing: int

    @property
    def settled(self) -> bool:
        """Nothing more will happen to any of them for now."""
        return self.embedded + self.failed + self.skipped + self.waiting >= self.existing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nobody asks the model server just now: why (`error_kind`, `because`), for how long already, and how much longer.

    `seconds_left` is 0 when it is time for one worker to look whether the server is well again.
    """

    pauses: int
    seconds_since: float
    seconds_left: float
    error_kind: str
    because: str


class EmbeddingStore:
    """The statements of `sql/embedding.sql`, each in the transaction it needs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, lease: Lease, ids: Sequence[int]) -> dict[int, int]:
        """Takes what is free of the ids; the answer tells for each how many workers have died with it in hand.

        Left out is what another worker has or what has a vector, whose text another worker has, and everything while
        the space is paused.
        """
        for _ in range(CLAIM_TRIES):
            try:
                return await self._claim(lease, ids)
            except IntegrityError:  # another worker took a text of ours in the same moment
                async with self._database.autocommit() as connection:
                    await fetch(connection, "free_texts", list(ids), lease.space.id, kind=lease.kind)
        return {}

    async def _claim(self, lease: Lease, ids: Sequence[int]) -> dict[int, int]:
        async with self._database.autocommit() as connection:
            rows = await fetch(
                connection,
                "claim",
                list(ids),
                lease.space.id,
                lease.token,
                lease.worker,
                lease.seconds,
                kind=lease.kind,
            )
        return {row.entity_id: row.deaths for row in rows}

    async def lease_left(self, kind: Kind, ids: Sequence[int]) -> float | None:
        """For how many seconds some of these rows stay in somebody's hand; None when none is."""
        async with self._database.autocommit() as connection:
            seconds: float | None = (await fetch(connection, "lease_left", list(ids), kind=kind))[0].seconds
        return seconds

    async def renew(self, lease: Lease, ids: Sequence[int]) -> None:
        """The heartbeat of a lease."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "renew_leases", lease.token, list(ids), lease.seconds, kind=lease.kind)

    async def read(self, lease: Lease, ids: Sequence[int]) -> list[EmbeddableText]:
        """The texts of those ids that still have no vector, by id."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "read_texts", list(ids), lease.space.id, kind=lease.kind)
        return [
            EmbeddableText(
                id=row.id,
                text=row.text,
                hash=row.hash,
                known=row.known,
                paid=None if row.paid is None else np.array(row.paid, dtype=np.float32),
                paid_characters=row.paid_characters,
            )
            for row in rows
        ]

    async def keep(
        self,
        lease: Lease,
        rows: Sequence[EmbeddableText],
        vectors: Mapping[int, NDArray[np.float32]],
        *,
        characters: Mapping[int, int],
    ) -> None:
        """Keeps vectors that could not be stored for the next time these rows are read. Arguments as of `write`."""
        async with self._database.autocommit() as connection:
            await fetch(
                connection,
                "keep_paid",
                lease.token,
                [row.id for row in rows],
                [Vector(vectors[row.id]) for row in rows],
                [row.hash for row in rows],
                [characters.get(row.id) for row in rows],
                kind=lease.kind,
            )

    async def tries(self, lease: Lease) -> dict[int, Tries]:
        """How often each row in hand failed or waited before."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "read_attempts", lease.token, kind=lease.kind)
        return {row.entity_id: Tries(row.attempts, row.waits) for row in rows}

    async def copy(self, lease: Lease, ids: Sequence[int]) -> set[int]:
        """Gives rows the vectors that other rows of the same text have; returns the ids that got one."""
        started = time.perf_counter()
        async with self._database.transaction() as connection:
            locked = [row.id for row in await fetch(connection, "lock_rows", list(ids), kind=lease.kind)]
            copied = [
                row.id for row in await fetch(connection, "copy_vectors", locked, lease.space.id, kind=lease.kind)
            ]
            spent = Spent(seconds=time.perf_counter() - started)
            await self._settle(connection, lease, copied, saved=len(copied), spent=spent)
        await self._count_saved(len(copied))
        return set(copied)

    async def write(
        self,
        lease: Lease,
        rows: Sequence[EmbeddableText],
        vectors: Mapping[int, NDArray[np.float32]],
        *,
        characters: Mapping[int, int] | None = None,
        spent: Spent | None = None,
    ) -> set[int]:
        """Stores vectors where the text and the space are still the ones they were made of; returns the ids written.

        Rows that somebody else has locked just now are not among them, nor are rows whose text changed.

        Args:
            lease: what the rows are held by.
            rows: as they were read.
            vectors: by row id.
            characters: how much of a text its vector is of, where that is not all.
            spent: what the vectors cost, for the record of batches.
        """
        given = [row for row in rows if row.id in vectors]
        spent = spent or Spent()
        async with self._database.transaction() as connection:
            locked = {
                row.id for row in await fetch(connection, "lock_rows", [row.id for row in given], kind=lease.kind)
            }
            ready = [row for row in given if row.id in locked]
            written = await fetch(
                connection,
                "write_vectors",
                [row.id for row in ready],
                [Vector(vectors[row.id]) for row in ready],
                [row.hash for row in ready],
                lease.space.id,
                [(characters or {}).get(row.id) for row in ready],
                kind=lease.kind,
            )
            done = [row.id for row in written]
            saved = len(done) - len({row.hash for row in ready if row.id in set(done)})
            await self._settle(connection, lease, done, saved=saved, spent=spent)
        await self._count_saved(saved)
        return set(done)

    async def _count_saved(self, rows: int) -> None:
        """Outside of the transaction: its row is everybody's."""
        if rows:
            await self._database.count(SAVED, rows)

    async def _settle(
        self, connection: AsyncConnection, lease: Lease, done: list[int], *, saved: int, spent: Spent
    ) -> None:
        """Rows that have their vectors now leave the hand, in the same transaction."""
        if not done:
            return
        await fetch(connection, "delete_jobs", lease.space.id, done, kind=lease.kind)
        batch = (lease.space.id, lease.worker, len(done), saved, spent.tokens, spent.seconds)
        await fetch(connection, "note_batch", *batch, kind=lease.kind)

    async def release(self, lease: Lease, ids: Iterable[int]) -> None:
        """Gives rows back: they are plainly pending again."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "release_jobs", lease.token, list(ids), kind=lease.kind)

    async def record(self, lease: Lease, ids: Iterable[int], outcome: Outcome) -> None:
        """Notes why rows in hand got no vector."""
        async with self._database.autocommit() as connection:
            await fetch(
                connection,
                "record_outcome",
                lease.token,
                list(ids),
                outcome.state,
                outcome.wait_seconds,
                int(outcome.fault),
                outcome.error_kind,
                outcome.error,
                int(outcome.state == "waiting" and not outcome.fault),
                kind=lease.kind,
            )

    async def due(self, kind: Kind, *, space: Space, age_seconds: float, limit: int) -> list[int]:
        """Rows the sweeper should send, by id: NULL for long enough, a wait that is over, a lease that ran out."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "due_rows", space.id, age_seconds, limit, kind=kind)
        return [row.id for row in rows]

    async def without_vector(self, kind: Kind, *, after: int, up_to: int, limit: int) -> list[int]:
        """Rows a backfill should send, by id: NULL, and neither failed nor skipped."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "null_rows", after, up_to, limit, kind=kind)
        return [row.id for row in rows]

    async def forget_failures(self, kind: Kind) -> None:
        """Makes failed and waiting rows of a kind plainly pending again."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "forget_failures", kind=kind)

    async def standing(self, kind: Kind, ids: Sequence[int]) -> Standing:
        """Where these rows stand now."""
        async with self._database.autocommit() as connection:
            row = (await fetch(connection, "standing", list(ids), kind=kind))[0]
        return Standing(
            embedded=row.embedded, failed=row.failed, skipped=row.skipped, waiting=row.waiting, existing=row.existing
        )

    async def last_id(self, kind: Kind) -> int:
        """The largest id of a kind; 0 when there is no row."""
        async with self._database.autocommit() as connection:
            return int((await fetch(connection, "count_rows", kind=kind))[0].last_id)

    async def counts(self) -> dict[Kind, KindCounts]:
        """Where every row of every kind stands, from one snapshot."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "progress")
        return {Kind(row.kind): KindCounts(**{name: getattr(row, name) for name in COUNTED}) for row in rows}

    async def pause(self) -> Pause | None:
        """Why the active space's model server is not asked just now; None while it is."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "read_pause")
        return Pause(**rows[0]._asdict()) if rows else None

    async def begin_pause(self, space: Space, *, seconds: float, error_kind: str, because: str, pauses: int) -> None:
        """Stops everybody from asking for so long, unless somebody else has just done so. `pauses` as they were."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "pause_space", space.id, seconds, error_kind, because, pauses)

    async def begin_look(self, space: Space, *, seconds: float) -> int | None:
        """Whether it is time to see if the server is well again, and we who do so: how many pauses there were."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "begin_look", space.id, seconds)
        return int(rows[0].pauses) if rows else None

    async def end_look(self, space: Space) -> None:
        """We do not look after all: the next one may at once."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "end_look", space.id)

    async def resume(self, space: Space) -> None:
        """Everybody may ask again."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "resume_space", space.id)

    async def forget_old_batches(self) -> None:
        """Removes what nobody will watch any more."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "forget_old_batches")

    async def last_error(self) -> str | None:
        """The latest trouble of any row, as one line."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "last_error")
        return f"{rows[0].kind} {rows[0].entity_id} ({rows[0].state}): {rows[0].error}" if rows else None
