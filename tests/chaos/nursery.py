"""Starts Winnow's processes quickly: what they import is imported once, and each of them is a fork of that.

Run as a program, it takes orders from its standard input, one line of JSON each, and answers each with one:

    {"start": ["worker"], "environment": {…}, "output": "…/worker1.log"}   → {"pid": 4711}
    {"ended": true}                                                       → {"4711": -9}, of those that ended since

A command is `winnow`'s own command line; `doomed` is `doomed_worker.py`. With `"fresh": true` the process is made anew:
a wrong clock must be there before anything is imported. When the orders end, so does everything that was started.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from typing import Any, BinaryIO, NoReturn

from chaos import doomed_worker
from plugins._loaded import load


def main() -> None:
    """Imports what all processes need, then takes orders."""
    load()
    living: set[int] = set()
    answer({})
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        if "start" in order:
            pid = start(order)
            living.add(pid)
            answer({"pid": pid})
        else:
            ended = reap()
            living -= set(ended)
            answer({str(pid): code for pid, code in ended.items()})
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def answer(said: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def reap() -> dict[int, int]:
    """Exit codes of those that have ended, as `subprocess` gives them."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def start(order: dict[str, Any]) -> int:
    """The id of a new process."""
    pid = os.fork()
    if not pid:
        become(order)
    return pid


def become(order: dict[str, Any]) -> NoReturn:
    """The rest of this process's life."""
    code = 1
    try:
        os.setsid()
        with open(os.devnull, "rb") as nothing, open(order["output"], "ab") as output:  # noqa: PTH123
            _attach(nothing, output)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir("/")
        random.seed()
        if order.get("fresh"):
            os.execv(sys.executable, [sys.executable, "-P", doomed_worker.__file__])
        code = _run(order["start"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _attach(nothing: BinaryIO, output: BinaryIO) -> None:
    os.dup2(nothing.fileno(), 0)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)


def _run(command: list[str]) -> int:
    from winnow.cli.main import app  # noqa: PLC0415 - loaded long ago

    try:
        if command == ["doomed"]:
            doomed_worker.main()
        else:
            app(command, prog_name="winnow")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - the process ends with it
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    main()
