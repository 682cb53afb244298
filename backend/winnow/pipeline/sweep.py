"""The sweeper: what nobody promised, what was lost on the way, and what has come due."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from winnow.domain.jobs import EmbedJob, Kind, Lane, ScoreJob, in_batches
from winnow.domain.spaces import Role
from winnow.errors import SetupFault, Transient
from winnow.pipeline.channels import Channelling, release_private
from winnow.pipeline.housekeeping import keep_house
from winnow.pipeline.indexing import mend_indexes
from winnow.pipeline.remodel import finish_building
from winnow.pipeline.stragglers import Stragglers
from winnow.pipeline.sweep_extraction import ExtractionSweep
from winnow.storage.channels import park_queue
from winnow.storage.leadership import leadership
from winnow.storage.threads import unjudged_messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from winnow.domain.jobs import Dispatcher, Job
    from winnow.domain.spaces import Space
    from winnow.errors import WinnowError
    from winnow.pipeline.spaces import Spaces
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database
    from winnow.storage.extraction import ExtractionStore
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)

# As much as the bulk lane is given at a time: enough to keep workers busy, little enough to stay in step with the rows.
BATCHES_AHEAD = 20
EXTRACTION_EVERY_SECONDS = 2.0
PROMISED_SECONDS = 120.0
# What was stored so long ago and has no score or no conversation yet: its job is lost, or nobody promised one.
UNJUDGED_SECONDS = 30.0
UNJUDGED_EVERY_SECONDS = 10.0
# The look for them reads the whole queue for extraction, where what nobody extracts stays (search-only channels): at
# most this share of the time.
LOOKS_SHARE = 0.05
TROUBLE_PAUSE_SECONDS = 5.0
# What was sent and is still not in anybody's hand is sent again after so long; NATS may lose it.
SENT_SECONDS = 30.0
RESEND_SECONDS = 2.0
LOOK_EVERY_SECONDS = 2.0
# To find what is left of a space that is being built means to read its table, for there is no index of that.
BUILDING_EVERY_SECONDS = 2.0
# Between two looks that wake-ups ask for.
WAKE_PAUSE_SECONDS = 0.2
TIDY_EVERY_SECONDS = 600.0
MEND_EVERY_SECONDS = 10.0
# A build that failed begins from nothing.
MEND_PAUSE_SECONDS = 60.0


class Backlog(Protocol):
    """How much the queue holds of a lane."""

    async def depth(self, lane: Lane) -> int:
        """Tasks not yet settled. Raises QueueUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """What the sweeper needs, and its timers."""

    database: Database
    units: UnitsOfWork
    embeddings: EmbeddingStore
    extractions: ExtractionStore
    spaces: Spaces
    dispatcher: Dispatcher
    backlog: Backlog
    every_seconds: float
    age_seconds: float
    batch_size: int
    extraction_threshold: int
    extraction_quiet_seconds: float


@dataclass(slots=True)
class Sweeper:
    """Looks at regular times for work that is due. Of any number of copies only one, the leader, sweeps."""

    tools: Sweeping
    _sent: dict[tuple[int, Kind], dict[int, float]] = field(default_factory=dict)
    _written: set[Kind] = field(default_factory=set)
    _paused: bool = False
    _look_at: float = 0.0
    _building_at: float = 0.0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _tidied_at: float = 0.0
    _extraction_at: float = 0.0
    _unjudged_at: float = 0.0
    _judging: dict[int, float] = field(default_factory=dict)
    _trouble: str = ""
    _extraction: ExtractionSweep = field(init=False)

    def __post_init__(self) -> None:
        self._extraction = ExtractionSweep(
            store=self.tools.extractions,
            dispatcher=self.tools.dispatcher,
            backlog=self.tools.backlog,
            threshold=self.tools.extraction_threshold,
            quiet_seconds=self.tools.extraction_quiet_seconds,
        )

    async def sweep_forever(self, stop: asyncio.Event) -> None:
        """Sweeps while it leads, and waits its turn while another copy does, until told to stop.

        A server that is away is waited for, and said once.
        """
        while not stop.is_set():
            try:
                async with leadership(self.tools.database, on_rows_written=self._rows_written) as still_leading:
                    if still_leading is not None:
                        log.info("sweep.leading")
                        await self._lead(still_leading, stop)
            except (Transient, SetupFault) as error:
                self._say(error)
            await _first_of(stop, seconds=TROUBLE_PAUSE_SECONDS)

    async def _lead(self, still_leading: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        beside = [
            asyncio.create_task(self._mend_indexes(), name="mend indexes"),
            asyncio.create_task(keep_house(self.tools.units, self.tools.database), name="keep house"),
            asyncio.create_task(self._stragglers().look_forever(), name="look for stragglers"),
        ]
        try:
            while not stop.is_set():
                pause, may_wake = self.tools.every_seconds, True
                await still_leading()
                try:
                    if await self.sweep() >= BATCHES_AHEAD:
                        pause = WAKE_PAUSE_SECONDS  # there is more, and the workers are not to wait for it
                    self._trouble = ""
                except (Transient, SetupFault) as error:
                    self._say(error)
                    pause, may_wake = TROUBLE_PAUSE_SECONDS, False
                await _first_of(stop, seconds=min(pause, WAKE_PAUSE_SECONDS))  # many wake-ups are one look
                await _first_of(stop, *([self._wake] if may_wake else []), seconds=pause - WAKE_PAUSE_SECONDS)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def _stragglers(self) -> Stragglers:
        tools = self.tools
        return Stragglers(
            database=tools.database, dispatcher=tools.dispatcher, backlog=tools.backlog, batch_size=tools.batch_size
        )

    async def _mend_indexes(self) -> None:
        """Beside the sweeping, for a build takes minutes: what a killed backfill took away or broke comes back."""
        while True:
            pause = MEND_EVERY_SECONDS
            try:
                await mend_indexes(self.tools.database)
                await finish_building(self.tools.database)
            except (Transient, SetupFault) as error:
                pause = MEND_PAUSE_SECONDS
                log.warning("sweep.index_not_built", reason=str(error))
            except Exception:
                pause = MEND_PAUSE_SECONDS
                log.exception("sweep.index_not_built")
            await asyncio.sleep(pause)

    def _rows_written(self, kind: str) -> None:
        if kind in tuple(Kind):  # anybody may notify of anything
            self._written.add(Kind(kind))
            self._wake.set()

    def _say(self, error: WinnowError) -> None:
        if str(error) != self._trouble:
            log.warning("sweep.waiting", reason=str(error))
        self._trouble = str(error)

    async def sweep(self) -> int:
        """One look at everything; returns how many jobs were sent.

        Raises:
            Transient: a server is away, or the model cannot be probed yet.
            SetupFault: the stored vectors are another embedder's.
        """
        self._wake.clear()
        sent = 0
        if time.monotonic() >= self._tidied_at + TIDY_EVERY_SECONDS:
            self._tidied_at = time.monotonic()
            await self.tools.embeddings.tidy()
            await park_queue(self.tools.database)
            await release_private(
                Channelling(database=self.tools.database, embeddings=self.tools.embeddings, spaces=self.tools.spaces)
            )
        if time.monotonic() >= self._extraction_at:
            began = time.monotonic()
            found = await self._extraction.sweep()
            self._extraction_at = began if found else began + EXTRACTION_EVERY_SECONDS
            sent += found
        if time.monotonic() >= self._unjudged_at:
            began = time.monotonic()
            sent += await self._sweep_unjudged()
            self._unjudged_at = _next_look(began, UNJUDGED_EVERY_SECONDS)
        return sent + await self._sweep_embeddings()

    async def _sweep_unjudged(self) -> int:
        """Sends what has no score or no conversation to be given one, unless the lane is full of it anyway."""
        if await self.tools.backlog.depth(Lane.BULK) >= BATCHES_AHEAD:
            return 0
        now = time.monotonic()
        self._judging = {row: until for row, until in self._judging.items() if until > now}
        most = BATCHES_AHEAD * self.tools.batch_size
        found = await unjudged_messages(
            self.tools.database, age_seconds=UNJUDGED_SECONDS, limit=most + len(self._judging)
        )
        fresh = tuple(row for row in found if row not in self._judging)[:most]
        jobs = list(in_batches([ScoreJob(fresh)], self.tools.batch_size))
        if jobs:
            await self.tools.dispatcher.dispatch(jobs, Lane.BULK)
            self._judging |= dict.fromkeys(fresh, now + PROMISED_SECONDS)
            log.info("sweep.scoring", messages=len(fresh))
        return len(jobs)

    async def _sweep_embeddings(self) -> int:
        self.tools.spaces.forget()  # a person may have changed the model
        # Without a space to write into, a worker could do nothing but fail; with another's, neither.
        space = await self.tools.spaces.ours()
        await self.tools.embeddings.free_texts()
        depth = await self.tools.backlog.depth(Lane.BULK)
        sent = await self._sweep_active(space, depth)
        return sent + await self._sweep_building(BATCHES_AHEAD - depth - sent, nothing_queued=not depth)

    async def _sweep_active(self, space: Space, depth: int) -> int:
        pause = await self.tools.embeddings.pause()
        if pause:
            self._paused = True
            return 0 if pause.seconds_left else await self._send_a_look(space)
        # Whoever wrote something just now, or while the server was not asked, does not wait behind all that is older.
        written = set(Kind) if self._paused else self._written
        self._paused, self._written = False, set()
        sent = 0
        for kind in written:
            latest = await self.tools.embeddings.newest_due(kind, space=space, limit=self.tools.batch_size)
            sent += await self._send(kind, space, latest, Lane.LIVE)
        for kind in Kind:
            if sent < BATCHES_AHEAD - depth:
                age = 0.0 if kind in written else self.tools.age_seconds
                sent += await self._sweep_kind(kind, space, BATCHES_AHEAD - depth - sent, age, nothing_queued=not depth)
        return sent

    async def _sweep_building(self, room: int, *, nothing_queued: bool) -> int:
        """What is left of the lane is for the space that is being built, if there is one."""
        if room <= 0 or time.monotonic() < self._building_at:
            return 0
        self._building_at = time.monotonic() + BUILDING_EVERY_SECONDS
        space = (await self.tools.spaces.all()).get(Role.BUILDING)
        if space is None:
            return 0
        pause = await self.tools.embeddings.pause(Role.BUILDING)
        if pause:
            return 0 if pause.seconds_left else await self._send_a_look(space)
        sent = 0
        for kind in Kind:
            if sent < room:
                sent += await self._sweep_kind(kind, space, room - sent, 0.0, nothing_queued=nothing_queued)
        return sent

    async def _send_a_look(self, space: Space) -> int:
        """One task now and then, whatever the lane holds, makes a worker look whether the server is well again."""
        if time.monotonic() < self._look_at:
            return 0
        self._look_at = time.monotonic() + LOOK_EVERY_SECONDS
        for kind in Kind:
            if due := await self.tools.embeddings.due(kind, space=space, age_seconds=0, limit=1):
                return await self._send(kind, space, due, Lane.BULK)
        return 0

    async def _sweep_kind(
        self, kind: Kind, space: Space, room: int, age_seconds: float, *, nothing_queued: bool
    ) -> int:
        """Sends what is due, but not what was sent a moment ago and may still be in the lane.

        Even when the lane is empty that stays out for a while: what cannot be claimed does not keep others from it.
        """
        since = time.monotonic() - (RESEND_SECONDS if nothing_queued else SENT_SECONDS)
        already = self._sent.get((space.id, kind), {})
        ahead = self._sent[space.id, kind] = {row: at for row, at in already.items() if at > since}
        most = room * self.tools.batch_size
        due = await self.tools.embeddings.due(kind, space=space, age_seconds=age_seconds, limit=most + len(ahead))
        return await self._send(kind, space, [row for row in due if row not in ahead][:most], Lane.BULK)

    async def _send(self, kind: Kind, space: Space, ids: Sequence[int], lane: Lane) -> int:
        space_id = None if space.role == Role.ACTIVE else space.id
        jobs: list[Job] = list(in_batches([EmbedJob(kind, tuple(ids), space_id)], self.tools.batch_size))
        if jobs:
            await self.tools.dispatcher.dispatch(jobs, lane)
            self._sent.setdefault((space.id, kind), {}).update(dict.fromkeys(ids, time.monotonic()))
            log.info("sweep.embedding", kind=kind.value, rows=len(ids), lane=lane.value, space=space.id)
        return len(jobs)


def _next_look(began: float, every_seconds: float) -> float:
    """When a look that began then, and ends now, is due again: the later, the longer it took."""
    now = time.monotonic()
    return max(began + every_seconds, now + (now - began) / LOOKS_SHARE)


async def _first_of(*events: asyncio.Event, seconds: float) -> None:
    """Returns when one of the events is set, or after so long."""
    if seconds <= 0 or any(event.is_set() for event in events):
        return
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
