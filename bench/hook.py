"""The post-commit hook's share of an extraction, and what a `kiq` costs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from bench.stage import chat_files, messages_of, stage
from bench.tables import Table, percentile, say
from bench.timing import NowhereDispatcher, TimedExtractor, TimedUnits, silent_units

from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.pipeline.extract import always, extract_knowledge
from winnow.pipeline.ingest import ingest
from winnow.pipeline.score import score_messages
from winnow.providers.rules import RuleExtractor
from winnow.queue.lanes import BULK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stage import Stage
    from bench.tables import Options

    from winnow.domain.messages import IncomingMessage

MODEL_SECONDS = 2.0
AT_ONCE = 8  # the live lane's concurrency
TARGET = 0.01


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run over the sample: seconds are sums over all extractions."""

    messages: int
    windows: int
    extraction_seconds: float
    extractor_seconds: float
    hooks: list[float]
    sendings: list[float]

    @property
    def share(self) -> float:
        """The hook's part of the whole."""
        return sum(self.hooks) / self.extraction_seconds


async def run(options: Options) -> list[Table]:
    """Extracts the sample by rules, and as slowly as a model would."""
    messages = messages_of(chat_files(options.data))
    table = Table(
        title="hook: the post-commit hook's share of an extraction",
        columns=(
            "extractor",
            "windows",
            "a window, ms",
            "waits for its hook, ms (p50)",
            "p99",
            "share",
            "below 1 %",
            "sent beside, ms (p50)",
        ),
        notes=[
            (
                f"{len(messages):,} messages; share: the time an extraction waits for its hook against all of "
                "extract_knowledge. The tasks are sent beside the next window, which costs it processor time; the row "
                "without a hook shows how much. Rounds: "
                "one chat at a time, no worker beside; every round is shown. Last row: no language model was run; the "
                f"rules sleep {MODEL_SECONDS:g} s for each window in its place, {AT_ONCE} chats at a time, "
                "beside a worker. "
                "A real model would also take processor time from the hook."
            ),
        ],
    )
    for number in range(options.count(3, 1)):
        async with stage() as made:
            found = await _extract(made, messages, pause_seconds=0, at_once=1)
        table.rows.append(_row(f"rules, round {number + 1}", found))
        async with stage() as made:
            found = await _extract(made, messages, pause_seconds=0, at_once=1, silent=True)
        table.rows.append(_row(f"the same without any hook, round {number + 1}", found))
    async with stage(("worker",)) as made:
        found = await _extract(made, messages, pause_seconds=0, at_once=AT_ONCE)
    table.rows.append(_row(f"rules, {AT_ONCE} chats at a time, a worker beside", found))
    async with stage(("worker",)) as made:
        some = messages[:800] if options.quick else messages
        found = await _extract(made, some, pause_seconds=MODEL_SECONDS, at_once=AT_ONCE)
    table.rows.append(_row(f"rules and {MODEL_SECONDS:g} s of sleep a window", found))
    return [table, await _kiq(options)]


def _row(name: str, found: Measured) -> tuple[str | int | float, ...]:
    milliseconds = [seconds * 1000 for seconds in found.hooks]
    say(f"hook: {name}: {found.share:.2%}")
    return (
        name,
        found.windows,
        found.extraction_seconds / found.windows * 1000,
        percentile(milliseconds, 0.5),
        percentile(milliseconds, 0.99),
        f"{found.share:.2%}",
        "yes" if found.share < TARGET else "NO",
        percentile([seconds * 1000 for seconds in found.sendings], 0.5) if found.sendings else "none",
    )


async def _extract(
    made: Stage, messages: Sequence[IncomingMessage], *, pause_seconds: float, at_once: int, silent: bool = False
) -> Measured:
    winnow = made.winnow
    chats = []
    for _, said in groupby(messages, key=lambda message: message.channel):
        chats.append((await ingest(silent_units(winnow), list(said), lane=Lane.LIVE)).ids)
        await score_messages(winnow.scoring(), chats[-1])
    units = TimedUnits(winnow, dispatcher=NowhereDispatcher() if silent else None)
    extractor = TimedExtractor(RuleExtractor(), units.clock, pause_seconds=pause_seconds)
    tools = replace(winnow.extracting(), units=units, extractor_for=always(extractor))
    room = asyncio.Semaphore(at_once)

    async def extract(ids: Sequence[int]) -> float:
        async with room:
            started = time.perf_counter()
            await extract_knowledge(tools, ids, lane=Lane.LIVE)
            return time.perf_counter() - started

    seconds = await asyncio.gather(*(extract(ids) for ids in chats))
    await units.drain()
    return Measured(
        messages=len(messages),
        windows=extractor.windows,
        extraction_seconds=sum(seconds),
        extractor_seconds=units.clock.seconds["extractor"],
        hooks=units.hooks,
        sendings=units.sendings,
    )


async def _kiq(options: Options) -> Table:
    """What sending one task costs, beside what JetStream asks for storing the same bytes."""
    count = options.count(2000, 300)
    job = EmbedJob(Kind.MESSAGES, tuple(range(100)))
    kiq, bare = [], []
    async with stage() as made:
        broker = made.winnow.brokers[Lane.BULK]
        payload = b"x" * 900  # about what a task of 100 ids weighs
        for number in range(count):  # in turns, so that both meet the same weather
            kiq.append(await _seconds(made.winnow.dispatcher.dispatch([job], Lane.BULK)))
            bare.append(
                await _seconds(broker.js.publish(BULK.subject, payload, headers={"Nats-Msg-Id": f"bare-{number}"}))
            )
        started = time.perf_counter()
        for _ in range(count // 100):
            await made.winnow.dispatcher.dispatch([job] * 100, Lane.BULK)
        together = (time.perf_counter() - started) / count
    table = Table(
        title="hook: one kiq",
        columns=("sending a task of 100 ids", "p50, ms", "p99, ms", "against a bare publish"),
        notes=["A bare publish waits for JetStream's fsync (`sync_interval: always`) as a kiq does."],
    )
    usual = percentile(bare, 0.5)
    for name, values in (("bare JetStream publish", bare), ("kiq, one after the other", kiq)):
        middle = percentile(values, 0.5)
        table.rows.append((name, middle * 1000, percentile(values, 0.99) * 1000, f"{middle / usual:.2f}"))
    table.rows.append(("kiq, 100 at a time (mean of each)", together * 1000, "", f"{together / usual:.2f}"))
    return table


async def _seconds(work: object) -> float:
    started = time.perf_counter()
    await work  # type: ignore[misc]
    return time.perf_counter() - started
