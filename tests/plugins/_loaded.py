"""The `winnow` program, loaded once: each command that is asked for runs in a fork of this process.

Loading takes a second or two of a processor, which is most of what a short command costs. Everything else is as in a
process made anew: its own environment, streams and end. What the surroundings do to the loading itself (a terminal's
colours and width, the locale, the time zone) needs a process made anew; see `Program.run`.

Run as a program, with the path of a socket to listen at. An order is one JSON object on a connection of its own:

    {"command": ["status"], "environment": {…}, "folder": "/tmp", "out": "…/1.out", "err": "…/1.err"}

The answer is the id of its process, and then how it ended, a line each. It all ends with its standard input.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import selectors
import socket
import sys
from contextlib import suppress
from typing import Any

# With all that each command imports in turn, and what is imported only when it is used.
IMPORTED = (
    "anyio._backends._asyncio",
    "openai.resources.embeddings",
    "winnow.api.server",
    "winnow.cli.main",
    "winnow.providers.ollama",
    "winnow.providers.openai",
)


def load() -> None:
    """Imports what every process needs, for good."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()


def main() -> None:
    """Takes orders; only a command's own process leaves this other than by the end of the standard input."""
    load()
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as selector:
        listening.bind(sys.argv[1])
        listening.listen(64)
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        sys.stdout.write("loaded\n")
        sys.stdout.flush()
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            reap()
            if sys.stdin in ready:
                return
            connection, _ = listening.accept()
            if not os.fork():
                break
            connection.close()
    order = wait_for_command(connection)
    become(order)


def reap() -> None:
    """Lets go of the processes that waited for commands, so that what those took counts for whoever asked."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def wait_for_command(connection: socket.socket) -> dict[str, Any]:
    """In the process that waits for the command this never returns; in the command's own it gives the order."""
    with connection.makefile("rw") as stream:
        order: dict[str, Any] = json.loads(stream.readline())
        pid = os.fork()
        if pid:
            print(pid, file=stream, flush=True)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), file=stream, flush=True)
            os._exit(0)
    connection.close()
    return order


def become(order: dict[str, Any]) -> None:
    """Runs the command in this process, which ends as any Python does."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["out"], os.O_WRONLY | os.O_APPEND),
        (2, order["err"], os.O_WRONLY | os.O_APPEND),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    random.seed()
    sys.argv = ["winnow", *order["command"]]
    from winnow.cli.entry import main as winnow  # noqa: PLC0415 - loaded long ago

    winnow()


if __name__ == "__main__":
    main()
