"""Commands that are given something: by a pipe, or by a person at a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from plugins.program import Finished

if TYPE_CHECKING:
    from plugins.program import Program


def with_input(program: Program, *arguments: str, given: str, **variables: str) -> Finished:
    """A command whose stdin is a pipe with this in it."""
    done = subprocess.run(
        program.command(*arguments),
        input=given, capture_output=True, text=True, env=program.environment(**variables),
        cwd=tempfile.gettempdir(), timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)


def at_terminal(program: Program, *arguments: str, typed: str, **variables: str) -> tuple[int, str]:
    """A command on a terminal, at which a person types this; its exit code, and all that the terminal shows.

    The line `^C` interrupts it.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        program.command(*arguments),
        stdin=theirs, stdout=theirs, stderr=theirs, env=program.environment(TERM="dumb", **variables),
        cwd=tempfile.gettempdir(),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux: the other end is closed
        while piece := os.read(ours, 4096):
            shown += piece
            if typed and re.search(rb"(: |\? |\]: )$", shown):
                line, _, typed = typed.partition("\n")
                if line == "^C":
                    time.sleep(0.3)  # a prompt is shown a moment before it can be interrupted
                    process.send_signal(signal.SIGINT)
                    continue
                os.write(ours, line.encode() + b"\n")
    os.close(ours)
    return process.wait(60), shown.decode()
