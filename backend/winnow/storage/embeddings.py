"""NULL is the queue: claiming rows without a vector, reading their texts, storing their vectors, keeping count."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from pgvector import Vector
from sqlalchemy.exc import IntegrityError

from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role
from winnow.errors import DatabaseBusy
from winnow.storage.embedding_records import Claimed, EmbeddableText, KindCounts, Lease, Outcome, Pause
from winnow.storage.named import fetch
from winnow.storage.rotation import standing_in
from winnow.storage.usage import note_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.spaces import Space
    from winnow.domain.usage import Use
    from winnow.storage.engine import Database

CLAIM_TRIES = 5
# To insert into HNSW is processor and cache and nothing else, so large writes stand in line rather than in each other's
# way: four at once took longer on two cores than two and two. Small ones do not: behind them somebody waits.
LARGE_WRITE_ROWS = 20
LARGE_WRITES_AT_ONCE = 2
SAVED = "embed.saved"
COUNTED = ("total", "embedded", "pending", "in_hand", "waiting", "failed", "skipped", "oldest_pending")


class EmbeddingStore:
    """The statements of `sql/embedding.sql`, each in the transaction it needs.

    At most `large_writes` writes of 20 rows or more are made at once.
    """

    def __init__(self, database: Database, *, large_writes: int = LARGE_WRITES_AT_ONCE) -> None:
        self._database = database
        self._large_writes = asyncio.Semaphore(large_writes)

    async def claim(self, lease: Lease, ids: Sequence[int]) -> dict[int, Claimed]:
        """Takes what is free of the ids.

        Left out is what another worker has or what has a vector, whose text another row in hand holds, and everything
        while the space is paused.
        """
        for _ in range(CLAIM_TRIES):
            with suppress(IntegrityError, DatabaseBusy):  # another worker took a text of ours in the same moment
                return await self._claim(lease, ids)
        return {}

    async def _claim(self, lease: Lease, ids: Sequence[int]) -> dict[int, Claimed]:
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
                role=lease.space.role,
            )
        return {row.entity_id: Claimed(attempts=row.attempts, waits=row.waits, deaths=row.deaths) for row in rows}

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
            rows = await fetch(
                connection,
                "read_texts",
                list(ids),
                lease.space.id,
                lease.remote,
                kind=lease.kind,
                role=lease.space.role,
            )
        return [
            EmbeddableText(
                id=row.id,
                text=row.text,
                hash=row.hash,
                known=row.known,
                private=row.private,
                paid=None if row.paid is None else np.array(row.paid, dtype=np.float32),
                paid_characters=row.paid_characters,
            )
            for row in rows
        ]

    async def private(self, lease: Lease, ids: Sequence[int]) -> set[int]:
        """Those of the rows whose texts may not leave for a model that is elsewhere."""
        async with self._database.autocommit() as connection:
            return {row.id for row in await fetch(connection, "private_rows", list(ids), kind=lease.kind)}

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
                role=lease.space.role,
            )

    async def copy(self, lease: Lease, ids: Sequence[int]) -> set[int]:
        """Gives rows the vectors that other rows of the same text have; returns the ids that got one."""
        async with self._database.transaction() as connection:
            locked = [row.id for row in await fetch(connection, "lock_rows", list(ids), kind=lease.kind)]
            return await self._where_it_is(connection, lease, "copy_vectors", locked, lease.space.id)

    async def write(
        self,
        lease: Lease,
        rows: Sequence[EmbeddableText],
        vectors: Mapping[int, NDArray[np.float32]],
        *,
        characters: Mapping[int, int] | None = None,
    ) -> set[int]:
        """Stores vectors where the text and the space are still the ones they were made of; returns the ids written.

        Rows that somebody else has locked just now are not among them, nor are rows whose text changed.

        Args:
            lease: what the rows are held by.
            rows: as they were read.
            vectors: by row id.
            characters: how much of a text its vector is of, where that is not all.
        """
        given = [row for row in rows if row.id in vectors]
        turn = self._large_writes if len(given) >= LARGE_WRITE_ROWS else nullcontext()
        async with turn, self._database.transaction() as connection:
            locked = {
                row.id for row in await fetch(connection, "lock_rows", [row.id for row in given], kind=lease.kind)
            }
            ready = [row for row in given if row.id in locked]
            return await self._where_it_is(
                connection,
                lease,
                "write_vectors",
                [row.id for row in ready],
                [Vector(vectors[row.id]) for row in ready],
                [row.hash for row in ready],
                lease.space.id,
                [(characters or {}).get(row.id) for row in ready],
            )

    @staticmethod
    async def _where_it_is(
        connection: AsyncConnection, lease: Lease, name: str, ids: list[int], *rest: Any
    ) -> set[int]:
        """Writes into the column that is the space's now: it may have been changed while the model was asked."""
        written = await fetch(connection, name, ids, *rest, kind=lease.kind, role=lease.space.role)
        if ids and not written:
            role = Role((await fetch(connection, "read_role", lease.space.id))[0].status)
            if role not in {lease.space.role, Role.RETIRED}:
                written = await fetch(connection, name, ids, *rest, kind=lease.kind, role=role)
        done = [row.id for row in written]
        await fetch(connection, "delete_jobs", lease.space.id, done, kind=lease.kind)
        return set(done)

    async def note(self, use: Use) -> None:
        """Notes what a batch came to, for those who watch and those who pay."""
        await note_use(self._database, use)
        if use.saved:
            await self._database.count(SAVED, use.saved)

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
                int(outcome.weather),
                kind=lease.kind,
                role=lease.space.role,
            )

    async def judge(self, lease: Lease, rows: Sequence[EmbeddableText], outcome: Outcome) -> set[int]:
        """Notes what is to be said of texts, where they are still the texts of these rows; returns the ids noted."""
        async with self._database.autocommit() as connection:
            noted = await fetch(
                connection,
                "record_verdict",
                lease.token,
                [row.id for row in rows],
                outcome.state,
                outcome.wait_seconds,
                int(outcome.fault),
                outcome.error_kind,
                outcome.error,
                [row.hash for row in rows],
                kind=lease.kind,
                role=lease.space.role,
            )
        return {row.entity_id for row in noted}

    async def due(self, kind: Kind, *, space: Space, age_seconds: float, limit: int) -> list[int]:
        """Rows the sweeper should send, by id: NULL for long enough, a wait that is over, a lease that ran out."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "due_rows", space.id, age_seconds, limit, kind=kind, role=space.role)
        return [row.id for row in rows]

    async def without_vector(
        self, kind: Kind, *, after: int, up_to: int, limit: int, space: Space | None = None
    ) -> list[int]:
        """Rows a backfill should send, by id: NULL in a space (None: the active one), neither failed nor skipped."""
        role, space_id = (space.role, space.id) if space else (Role.ACTIVE, None)
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "null_rows", after, up_to, limit, space_id, kind=kind, role=role)
        return [row.id for row in rows]

    async def forget_failures(self, kind: Kind, *, role: Role = Role.ACTIVE) -> None:
        """Makes failed and waiting rows of a kind plainly pending again, in the space of this role."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "forget_failures", kind=kind, role=role)

    async def last_id(self, kind: Kind) -> int:
        """The largest id of a kind; 0 when there is no row."""
        async with self._database.autocommit() as connection:
            return int((await fetch(connection, "count_rows", kind=kind))[0].last_id)

    async def counts(self) -> dict[Kind, KindCounts]:
        """Where every row of every kind stands, from one snapshot."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "progress")
        return {Kind(row.kind): KindCounts(**{name: getattr(row, name) for name in COUNTED}) for row in rows}

    async def counts_in(self, space: Space) -> dict[Kind, KindCounts]:
        """Where every row of every kind stands in a space."""
        async with self._database.autocommit() as connection:
            return await standing_in(connection, space)

    async def pause(self, role: Role = Role.ACTIVE) -> Pause | None:
        """Why the model server of this role's space is not asked just now; None while it is."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "read_pause", role.value)
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

    async def look_now(self, role: Role = Role.ACTIVE) -> None:
        """Somebody asked for it by hand: a pause is over as soon as one worker finds the server well."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "look_now", role.value)

    async def end_look(self, space: Space) -> None:
        """We do not look after all: the next one may at once."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "end_look", space.id)

    async def resume(self, space: Space) -> None:
        """Everybody may ask again."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "resume_space", space.id)

    async def newest_due(self, kind: Kind, *, space: Space, limit: int) -> list[int]:
        """The latest rows that are due, or nobody has in hand, by id."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "newest_due_rows", space.id, limit, kind=kind, role=space.role)
        return sorted(row.id for row in rows)

    async def free_texts(self) -> None:
        """Lets go of the texts of workers that died."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "free_texts")

    async def tidy(self) -> None:
        """Removes what is about rows or texts that are no more."""
        async with self._database.autocommit() as connection:
            for kind in Kind:
                await fetch(connection, "tidy_jobs", kind=kind)

    async def release_private(self, space: Space, *, remote: bool) -> None:
        """Makes rows pending again that were skipped as local-only, and need not be.

        `remote`: the space's model is elsewhere.
        """
        async with self._database.autocommit() as connection:
            for kind in Kind:
                await fetch(connection, "release_private", space.id, remote, kind=kind)

    async def private_in_hand(self, space: Space) -> int:
        """Texts of local-only channels that a worker has in hand, and may have read before they were."""
        async with self._database.autocommit() as connection:
            found = [await fetch(connection, "private_in_hand", space.id, kind=kind) for kind in Kind]
        return sum(int(rows[0].number) for rows in found)

    async def last_error(self) -> str | None:
        """The latest trouble of any row, as one line."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "last_error")
        return f"{rows[0].kind} {rows[0].entity_id} ({rows[0].state}): {rows[0].error}" if rows else None
