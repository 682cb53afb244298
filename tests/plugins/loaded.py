"""Commands as forks of a `winnow` that is loaded already, for loading is most of what they cost; see `_loaded.py`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TESTS = Path(__file__).parents[1]
# Read by the commands, not while they are loaded. What else is set may change the loading.
READ_LATE = ("WINNOW_", "DATABASE_URL", "NATS_URL", "OPENAI_", "OLLAMA_", "COLUMNS")


class LoadedProgram:
    """Loaded by this process's own Python, in an environment of nothing that Winnow heeds."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="winnow-test-"))
        self._numbers = count(1)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "plugins._loaded", str(self._folder / "orders")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One thread for the mathematics: there must be no other when the process forks.
            env={**environment, "PYTHONPATH": str(TESTS), "OPENBLAS_NUM_THREADS": "1"},
            cwd=self._folder,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"loaded\n"

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], folder: str, seconds: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command to its end; like `subprocess.run`, and from any thread."""
        out, err = (self._folder / f"{next(self._numbers)}.{stream}" for stream in ("out", "err"))
        out.touch()
        err.touch()
        order = {
            "command": list(command),
            "environment": dict(environment),
            "folder": folder,
            "out": str(out),
            "err": str(err),
        }
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(self._folder / "orders"))
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps(order).encode() + b"\n")
                stream.flush()
                pid = int(stream.readline())
                try:
                    code = int(stream.readline())
                except TimeoutError:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(
                        list(command), seconds, out.read_bytes(), err.read_bytes()
                    ) from None
        done = subprocess.CompletedProcess(list(command), code, out.read_bytes(), err.read_bytes())
        out.unlink()
        err.unlink()
        return done

    def close(self) -> None:
        """Lets go of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


_loading = threading.Lock()
_loaded: list[LoadedProgram] = []


def loaded_program(environment: Mapping[str, str]) -> LoadedProgram:
    """The one that this test process keeps, loaded in this environment at its first command."""
    with _loading:  # commands are run side by side, too
        if not _loaded:
            _loaded.append(LoadedProgram(environment))
    return _loaded[0]


def pytest_sessionfinish() -> None:
    """Lets go of it."""
    while _loaded:
        _loaded.pop().close()
