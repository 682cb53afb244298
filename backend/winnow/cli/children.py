"""The processes that `winnow up` starts: watched, started again when they fall, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from winnow.cli.running import SUPERVISOR_VARIABLE
from winnow.errors import EmbeddedServerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

log = structlog.get_logger(__name__)

# A process that lived this long was well; the next fall begins the pauses anew.
WELL_SECONDS = 30.0
PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
KILL_AFTER_SECONDS = 5.0
LARGE_LOG_BYTES = 10_000_000


@dataclass(slots=True)
class Child:
    """One process: what runs, where it logs, how often it fell of late."""

    name: str
    arguments: Sequence[str]
    log_file: Path
    process: asyncio.subprocess.Process
    started_at: float = field(default_factory=time.monotonic)
    falls: int = 0
    log_start: int = 0

    def last_error(self) -> str:
        """What it said last, since its latest start, about why it ended."""
        with self.log_file.open(errors="replace") as log_lines:
            log_lines.seek(self.log_start)
            told = [line.removeprefix("error: ").strip() for line in log_lines if line.startswith("error: ")]
        return told[-1] if told else f"see {self.log_file}"


class Children:
    """Starts processes of this program with given variables, their logs in a folder, and keeps them running."""

    def __init__(self, variables: Mapping[str, str], logs: Path) -> None:
        own = {SUPERVISOR_VARIABLE: str(os.getpid()), "WINNOW_LOG_FORMAT": "json", "NO_COLOR": "1", "COLUMNS": "400"}
        self._environment = {**os.environ, **variables, **own}
        self._logs = logs
        self._children: list[Child] = []
        self._stopping = False

    async def start(self, name: str, *arguments: str) -> None:
        """Starts `winnow NAME ARGUMENTS`."""
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_file = self._logs / f"{name}.log"
        if log_file.exists() and log_file.stat().st_size > LARGE_LOG_BYTES:
            log_file.replace(log_file.with_suffix(".log.1"))  # two of each at most
        log_file.touch(mode=0o600)
        log_start = log_file.stat().st_size
        process = await self._spawn(name, arguments, log_file)
        self._children.append(Child(name, arguments, log_file, process, log_start=log_start))

    async def _spawn(self, name: str, arguments: Sequence[str], log_file: Path) -> asyncio.subprocess.Process:
        with log_file.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "winnow.cli.entry",
                name,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops its children in order
            )

    def pids(self) -> dict[str, int]:
        """Process ids of those that run."""
        return {child.name: child.process.pid for child in self._children if child.process.returncode is None}

    def raise_if_fallen(self) -> None:
        """Raises `EmbeddedServerFailed` when one has ended; for the time of the start."""
        for child in self._children:
            if child.process.returncode is not None:
                raise EmbeddedServerFailed(f"`winnow {child.name}` did not come up: {child.last_error()}")

    async def watch(self) -> None:
        """Starts again whatever ends, after a pause that grows, for as long as it is awaited."""
        await asyncio.gather(*(self._watch(child) for child in self._children))

    async def _watch(self, child: Child) -> None:
        while True:
            code = await child.process.wait()
            if self._stopping:
                return
            child.falls = 0 if time.monotonic() - child.started_at > WELL_SECONDS else child.falls + 1
            pause = PAUSES_SECONDS[min(child.falls, len(PAUSES_SECONDS) - 1)]
            log.warning("child.fell", name=child.name, code=code, again_in_seconds=pause, reason=child.last_error())
            await asyncio.sleep(pause)
            child.log_start = child.log_file.stat().st_size
            child.process = await self._spawn(child.name, child.arguments, child.log_file)
            child.started_at = time.monotonic()

    async def stop(self, grace_seconds: float) -> None:
        """SIGTERM to all, time to finish what is in hand, SIGKILL to whoever overstays, or to all when cancelled."""
        self._stopping = True
        living = [child for child in self._children if child.process.returncode is None]
        for child in living:
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)
        waiting = [asyncio.create_task(child.process.wait(), name=f"end of {child.name}") for child in living]
        if not waiting:
            return
        try:
            await asyncio.wait(waiting, timeout=grace_seconds + KILL_AFTER_SECONDS)
        finally:
            for child in living:
                if child.process.returncode is None:
                    log.warning("child.killed", name=child.name)
                    with contextlib.suppress(ProcessLookupError):
                        child.process.kill()
        await asyncio.gather(*waiting)
