"""Real servers that can be killed: every process of them at once, as a power cut does."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import psutil

from plugins.nats import NatsServer
from plugins.postgres import TEMPLATE
from winnow.embedded.postgres import EmbeddedPostgres
from winnow.storage.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from plugins.postgres import LoopThread


class KillablePostgres:
    """The suite's own server, on an event loop of its own, which outlives the tests' loops. The URL stays the same."""

    def __init__(self, folder: Path, loop: LoopThread) -> None:
        self._server = EmbeddedPostgres(folder / "postgresql")
        self._loop = loop
        self.url = ""

    def start(self) -> None:
        """Starts it, and brings its database, the template of every test's own, to the current schema.

        It keeps the moments of commits: the suite's record tells by them what others could see when.
        """
        self.url = self._loop.run(self._server.start())
        self._loop.run(self._administer("ALTER SYSTEM SET track_commit_timestamp = on"))
        self.stop()
        self.restart()
        self._loop.run(migrate(self.url))

    def stop(self) -> None:
        """Ends it properly."""
        self._loop.run(self._server.stop())

    def kill(self) -> None:
        """kill -9 of the server and all its processes."""
        pid = self._server.pid
        assert pid is not None, "the server does not run"
        postmaster = psutil.Process(pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:  # the postmaster first: it would start its children again
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(processes[1:], timeout=10)
        self.stop()  # nothing runs any more; the exit is noted

    def restart(self) -> None:
        """Starts it again on the same folder; its log is replayed."""
        self._loop.run(self._server.start())

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a new database of the current schema, for as long as the block lasts, through any kill."""
        name = f"chaos_{uuid4().hex}"
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        try:
            yield self.url.replace(f"/{TEMPLATE}?", f"/{name}?")
        finally:
            if self._server.pid is None:
                self.restart()
            await self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url.replace(f"/{TEMPLATE}?", "/postgres?"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class WipeableNats(NatsServer):
    """A nats-server that can lose its JetStream folder while it is down."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._streams = folder / "jetstream"

    def wipe(self) -> None:
        """Everything that JetStream kept is gone."""
        shutil.rmtree(self._streams)
