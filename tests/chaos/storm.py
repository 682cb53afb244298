"""Everything at once: the writers write, three workers and two sweepers work, and one thing after another is broken.

What is broken and when follows from the seed, as does what the model server answers to which request. What the machine
makes of it does not: no two storms are the same, and all of them must end well.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaos.account import LEASE_LOST
from chaos.model import Mishap, Plan
from chaos.world import DRAIN_SECONDS, LEASE_SECONDS, LOST, PATIENCE_SECONDS
from chaos.writers import ApiWriter, CopyWriter, Expected, OrmWriter, SqlWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chaos.account import Account
    from chaos.processes import Child
    from chaos.world import World

PHASES = ("claimed", "asked", "answered", "before_commit", "after_commit", "before_ack")
WEIGHTS: dict[Mishap, float] = {
    "429": 4,
    "429 after": 3,
    "429 date": 1,
    "503": 4,
    "500": 2,
    "404": 1,
    "400": 2,
    "NaN": 5,
    "EOF": 4,
    "short": 4,
    "hang": 1,
    "slow": 6,
    "dimension": 1,
}
SHARE_OF_MISHAPS = 0.25
WRITER_PAUSE_SECONDS = 0.25
EXTRACTION = {"WINNOW_EXTRACTION_THRESHOLD": "8", "WINNOW_EXTRACTION_QUIET_SECONDS": "3"}
RESTART_SECONDS = 0.3
# How often a doomed worker survives its phase: long enough to get something done.
SURVIVED = (2, 30)
GAVE_UP = 3
PAUSE_SECONDS = (1.0, 2.5)
# The drain, and what a loaded machine takes to tidy up after it.
END_SECONDS = DRAIN_SECONDS + 10
SETTLE_SECONDS = 150.0


@dataclass
class Storm:
    """One storm over a world; `figures` when it is over.

    Attributes:
        doomed: the workers that kill themselves, one after another in each of two places.
        worker: the third, which is killed, frozen and ended from outside.
    """

    world: World
    seed: int
    seconds: float
    chance: random.Random = field(init=False)
    expected: Expected = field(default_factory=Expected)
    settle_seconds: float = 0.0
    _calm: asyncio.Event = field(default_factory=asyncio.Event)
    _sweepers: list[Child] = field(default_factory=list)
    _worker: Child | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    async def rage(self) -> Account:
        """The storm and its end; fails when anything is lost, wrong, or paid for without a reason."""
        api = await self._begin()
        url = await self.world.url_of_api(api)
        writers: list[SqlWriter | ApiWriter] = [
            SqlWriter(self.world.database_url, random.Random(self.seed + 1), self.expected),
            CopyWriter(self.world.database_url, random.Random(self.seed + 2), self.expected),
            OrmWriter(self.world.database_url, random.Random(self.seed + 3), self.expected),
            ApiWriter(url, random.Random(self.seed + 4), self.expected),
        ]
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(self._write(writer))
            for place in (0, 1):
                group.create_task(self._keep_doomed_workers(place))
            group.create_task(self._look())
            group.create_task(self._supervise())
            await self._disturb()
            self._calm.set()
        for writer in writers:
            await writer.finish()
        return await self._settle()

    async def _begin(self) -> Child:
        """All is well: there is a vector space, and everybody runs."""
        api = self.world.start_api(**EXTRACTION)
        self._sweepers = [self._start_sweeper(), self._start_sweeper()]
        self._worker = self._start_worker()
        await self.world.add("before the storm")
        await self.world.settled(1)
        self.world.model.delay_seconds = 0.05
        share = dict(WEIGHTS) | ({"order": 6} if hasattr(self.world.model, "tells_order") else {})
        self.world.model.plan = Plan(self.seed, share, SHARE_OF_MISHAPS)
        return api

    def _start_sweeper(self) -> Child:
        return self.world.start_sweeper(**EXTRACTION)

    def _start_worker(self) -> Child:
        return self.world.start_worker(**EXTRACTION)

    # -- while it rages

    async def _write(self, writer: SqlWriter | ApiWriter) -> None:
        while not self._calm.is_set():
            await writer.step()
            await asyncio.sleep(writer.chance.uniform(0.2, 1.8) * WRITER_PAUSE_SECONDS)

    async def _look(self) -> None:
        """Counts add up at any moment; and no wait is longer than the storm has time for."""
        while not self._calm.is_set():
            with suppress(*LOST):
                await self.world.progress()
                await self.world.shorten_waits()
            await asyncio.sleep(0.5)

    async def _supervise(self) -> None:
        """Starts again what found no server at its start, as every supervisor does."""
        while not self._calm.is_set():
            if self._worker is not None and self._worker.code is not None:
                require_gave_up(self._worker)
                self._worker = self._start_worker()
            for sweeper in [one for one in self._sweepers if one.code is not None]:
                require_gave_up(sweeper)
                self._sweepers.remove(sweeper)
                self._sweepers.append(self._start_sweeper())
            await asyncio.sleep(RESTART_SECONDS)

    async def _keep_doomed_workers(self, place: int) -> None:
        """A worker dies of itself in one phase after another, and another one takes its place."""
        chance = random.Random(self.seed + 10 + place)
        phases = [*PHASES]
        chance.shuffle(phases)
        hour = {"CHAOS_CLOCK_SHIFT": str(chance.choice((3600, -3600)))} if place else {}
        while not self._calm.is_set():
            phases = [*phases[1:], phases[0]]
            doom = {"CHAOS_DIE_AT": phases[-1], "CHAOS_DIE_AFTER": str(chance.randint(*SURVIVED))}
            doomed = self.world.start_worker(**doom, **hour, **EXTRACTION)
            hour = {}
            began = time.time()
            while doomed.code is None and not self._calm.is_set():
                began = time.time()
                await asyncio.sleep(0.05)
            if doomed.was_killed:
                self.world.note(f"a worker died ({doom['CHAOS_DIE_AT']})", began, victim=doomed.name, costs=True)
            elif doomed.code is not None:
                require_gave_up(doomed)
            else:
                await self.world.kill(doomed)
            await asyncio.sleep(chance.uniform(0, 2))

    async def _disturb(self) -> None:
        """One disturbance after another, each sort once before any comes again; the consumers go last.

        JetStream then delivers at once whatever it would have delivered later, which can be minutes.
        """
        until = time.monotonic() + self.seconds
        deck: list[Callable[[], Awaitable[None]]] = []
        while time.monotonic() < until:
            if not deck:
                deck = self._deck()
                self.chance.shuffle(deck)
            await deck.pop()()
            await asyncio.sleep(self.chance.uniform(*PAUSE_SECONDS))
        await self.world.delete_streams(consumers_only=True)

    def _deck(self) -> list[Callable[[], Awaitable[None]]]:
        world = self.world
        return [
            self._kill_worker,
            self._freeze_worker,
            self._end_worker,
            self._kill_sweeper,
            self._stop_model_server,
            world.restart_nats,
            lambda: world.restart_nats(wiped=True),
            world.delete_streams,
            lambda: world.delete_streams(consumers_only=True),
            world.restart_postgres,
            world.drop_connections,
            world.drop_connections,
        ]

    async def _kill_worker(self) -> None:
        assert self._worker is not None
        killed, self._worker = self._worker, self._start_worker()
        await self.world.kill(killed)

    async def _freeze_worker(self) -> None:
        assert self._worker is not None
        async with self.world.frozen(self._worker):
            await asyncio.sleep(LEASE_SECONDS + 1)

    async def _end_worker(self) -> None:
        assert self._worker is not None
        ended, self._worker = self._worker, self._start_worker()
        await self.world.until(lambda: "queue.listening" in ended.output or ended.code is not None, "it has begun")
        if ended.code is not None:
            require_gave_up(ended)
            return
        began = time.time()
        ended.send(signal.SIGTERM)
        code = await ended.ended(END_SECONDS)
        assert code == 0, f"{ended.name} ended with {code}:\n{ended.output[-3000:]}"
        cut_off = time.time() - began > DRAIN_SECONDS - 0.5
        self.world.note("SIGTERM, cut off" if cut_off else "SIGTERM", began, victim=ended.name, costs=cut_off)

    async def _kill_sweeper(self) -> None:
        """The one that leads, if one does."""
        leading = [sweeper for sweeper in self._sweepers if "sweep.leading" in sweeper.output]
        victim = (leading or self._sweepers)[0]
        self._sweepers.remove(victim)
        await self.world.kill(victim, "kill -9 of a sweeper")
        self._sweepers.append(self._start_sweeper())

    async def _stop_model_server(self) -> None:
        with self.world.disturbing("model server down"):
            await asyncio.to_thread(self.world.model.stop)
            await asyncio.sleep(1.5)
            self.world.model.start()

    # -- when it is over

    async def _settle(self) -> Account:
        """The server is well again, whoever was doomed may live. Then all ends in order, and the account is made."""
        world = self.world
        world.model.plan = None
        world.model.delay_seconds = 0
        self.settle_seconds = await world.settled(seconds=SETTLE_SECONDS)
        await world.until(world.streams_empty, "nothing is left in the streams", PATIENCE_SECONDS)
        for child in [*self._sweepers, *self._of("api"), *self._of("worker")]:
            child.send(signal.SIGTERM)
            code = await child.ended(END_SECONDS)
            assert code == 0, f"{child.name} ended with {code}:\n{child.output[-3000:]}"
        account = await world.account()
        account.faults += self.expected.faults((await world.evidence(0)).rows)
        account.faults += [f"{number} times an error was logged: {what}" for what, number in self._errors().items()]
        return account

    def _of(self, role: str) -> list[Child]:
        return [child for name, child in self.world.children.items() if name.startswith(role) and child.code is None]

    def figures(self, account: Account) -> list[str]:
        """What a person wants to know of it."""
        world = self.world
        asked = world.model.asked
        texts = sum(len(one.texts) for one in asked)
        done = Counter(disturbance.what for disturbance in world.disturbances)
        return [
            f"storm of {self.seconds:.0f} s, seed {self.seed}, {type(world.model).__name__}",
            f"  settled {self.settle_seconds:.1f} s after its end",
            f"  rows at the end: {shown(account.rows)}; their lives: {shown(account.events)}",
            f"  writers: {shown(self.expected.done)}",
            f"  requests: {len(asked)} with {texts} texts: {shown(world.model.answers)}",
            f"  disturbances: {sum(done.values())}: {shown(done)}",
            f"  paid: {len(account.paid)} texts; again: {account.paid_again}, because: {shown(account.reasons)}",
            f"  saved by identical texts: {account.saved}; jobs of rows that are gone: {account.orphans}",
            *(f"    {reason}: {example}" for reason, example in account.examples.items() if reason == LEASE_LOST),
        ]

    def _errors(self) -> Counter[str]:
        """What Winnow's processes have logged as errors: bugs, for weather is none."""
        lines = [line for child in self.world.children.values() for line in child.log if line["level"] == "error"]
        return Counter(f"{line['event']} ({line.get('error', line.get('reason', ''))})" for line in lines)


def require_gave_up(child: Child) -> None:
    """A process that finds no server at its start says so and ends; one that has begun to work never ends by itself."""
    begun = any(words in child.output for words in ("worker.started", "sweep.leading"))
    assert child.code == GAVE_UP, f"{child.name} ended with {child.code}:\n{child.output[-3000:]}"
    assert not begun, f"{child.name} gave up in the middle:\n{child.output[-3000:]}"


def shown(counts: Counter[str]) -> str:
    """Counts in a line, the most first."""
    return ", ".join(f"{number} {what}" for what, number in counts.most_common()) or "nothing"
