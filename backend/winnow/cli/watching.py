"""`winnow status`: where everything stands, once or again and again."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from winnow.api.answers import status_out
from winnow.cli.render import json_text, overview_parts, pace_line, pause_line, plain
from winnow.cli.running import console
from winnow.errors import SetupFault, Transient
from winnow.pipeline.overview import overview

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from winnow.bootstrap import Winnow
    from winnow.errors import WinnowError
    from winnow.pipeline.overview import Overview

    Seen = Overview | WinnowError
    Show = Callable[[Seen], None]

WATCH_SECONDS = 2.0
LEAST_PAUSE_SECONDS = 0.1
# NATS, when it was not there at the beginning, is looked for so often: each try takes some seconds.
QUEUE_SECONDS = 10.0


async def watch(winnow: Winnow, *, every_seconds: float, as_json: bool) -> None:
    """Shows the state again and again until it is cancelled, or nobody reads any more.

    On a terminal it is drawn in place; anywhere else, and in JSON, each look is one line. A database that is away is
    told and waited for.
    """
    async with _finding_the_queue(winnow):
        with _shown(every_seconds, as_json=as_json) as show:
            clock = asyncio.get_running_loop().time
            while not console.quiet:
                began = clock()
                show(await _look(winnow))
                await asyncio.sleep(max(began + every_seconds - clock(), LEAST_PAUSE_SECONDS))


async def _look(winnow: Winnow) -> Seen:
    try:
        return await overview(winnow.overviewing(), truncated=True)
    except (Transient, SetupFault) as error:
        return error


@asynccontextmanager
async def _finding_the_queue(winnow: Winnow) -> AsyncIterator[None]:
    """Connects to NATS as soon as it is there; a connection that is lost afterwards comes back by itself."""

    async def find() -> None:
        while True:
            with contextlib.suppress(SetupFault):
                await winnow.start_queue_if_there()
            await asyncio.sleep(QUEUE_SECONDS)

    finding = asyncio.create_task(find(), name="find NATS")
    try:
        yield
    finally:
        finding.cancel()
        await asyncio.gather(finding, return_exceptions=True)


@contextlib.contextmanager
def _shown(every_seconds: float, *, as_json: bool) -> Iterator[Show]:
    if as_json:
        yield _show_json
    elif console.file.isatty() and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda seen: live.update(_frame(seen, every_seconds), refresh=True)
    else:
        yield _show_line


def _frame(seen: Seen, every_seconds: float) -> Group:
    head = Text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, every {every_seconds:g} s; Ctrl-C ends", "dim")
    if isinstance(seen, Exception):
        return Group(head, Text(plain(str(seen)), "red"))
    return Group(head, *overview_parts(console, seen))


def _show_json(seen: Seen) -> None:
    told = {"error": str(seen)} if isinstance(seen, Exception) else status_out(seen).model_dump(mode="json")
    line = json_text(console, {"at": datetime.now(UTC).isoformat(), **told})
    console.print(line, markup=False, soft_wrap=True)


def _show_line(seen: Seen) -> None:
    told = str(seen) if isinstance(seen, Exception) else _in_a_line(seen)
    console.print(plain(f"{datetime.now(UTC):%H:%M:%S}  {told}"), markup=False, soft_wrap=True)


def _in_a_line(state: Overview) -> str:
    counts = state.embeddings.values()
    parts = {
        "pending": sum(count.pending for count in counts),
        "processing": sum(count.in_hand for count in counts),
        "waiting": sum(count.waiting for count in counts),
        "failed": state.failed,
        "skipped": sum(count.skipped for count in counts),
    }
    embedded, total = sum(count.embedded for count in counts), sum(count.total for count in counts)
    rest = "".join(f", {number:,} {name}" for name, number in parts.items() if number)
    paused = f"; paused {pause_line(state)}" if state.pause else ""
    return f"{embedded:,} of {total:,} embedded{rest}; {pace_line(state)}{paused}"
