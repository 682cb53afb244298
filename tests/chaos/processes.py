"""Winnow's processes as the tests hold them: by process id, to be killed, frozen and asked how they ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugins.program import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TESTS = Path(__file__).parents[1]


class Child:
    """A process of Winnow's that was started here, under the name by which it pays."""

    def __init__(self, nursery: Nursery, name: str, pid: int, output: Path) -> None:
        self._nursery = nursery
        self._output = output
        self.name = name
        self.pid = pid

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._output.read_text(errors="replace")

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its log so far."""
        lines = self.output.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def code(self) -> int | None:
        """How it ended, a signal as a negative number; None while it runs."""
        return self._nursery.code_of(self.pid)

    @property
    def was_killed(self) -> bool:
        """Whether it ended by kill -9."""
        return self.code == -signal.SIGKILL

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it still runs."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ended(self, seconds: float) -> int:
        """Its exit code; fails when it takes longer than this."""
        deadline = time.monotonic() + seconds
        while (code := self.code) is None:
            assert time.monotonic() < deadline, (
                f"{self.name} has not ended within {seconds:g} s:\n{self.output[-3000:]}"
            )
            await asyncio.sleep(0.02)
        return code


class Nursery:
    """Starts processes; see `nursery.py`. Only what was started here is ever ended here."""

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        self._started = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "chaos.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One thread for the mathematics: there must be no other when the process forks.
            env={**clean_environment(), "PYTHONPATH": str(TESTS), "OPENBLAS_NUM_THREADS": "1"},
            cwd="/",  # no .env lies there
            start_new_session=True,
        )
        self._read()

    def start(self, name: str, command: Sequence[str], variables: Mapping[str, str], *, fresh: bool = False) -> Child:
        """Starts `winnow COMMAND…` with these variables, and none of the caller's that Winnow would heed."""
        self._started += 1
        output = self._outputs / f"{self._started}-{name}.log"
        output.touch()
        environment = {**clean_environment(), **variables}
        order = {"start": list(command), "environment": environment, "output": str(output), "fresh": fresh}
        return Child(self, name, self._order(order)["pid"], output)

    def code_of(self, pid: int) -> int | None:
        """How a process ended; None while it runs."""
        if pid not in self._codes:
            self._codes |= {int(ended): code for ended, code in self._order({"ended": True}).items()}
        return self._codes.get(pid)

    def close(self) -> None:
        """Ends it, and with it all that it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
