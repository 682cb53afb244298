"""A real nats-server for each test that asks for one: it starts in 30 ms, so nothing is shared."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from winnow.embedded.nats import EmbeddedNats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def pytest_configure(config: pytest.Config) -> None:
    """nats.micro calls datetime.utcnow, which newer Pythons warn of; nothing to act on here."""
    config.addinivalue_line("filterwarnings", "ignore:datetime.datetime.utcnow:DeprecationWarning")


class NatsServer:
    """A server with the controls that fault tests need. The URL and the data stay the same over restarts."""

    def __init__(self, folder: Path) -> None:
        self.embedded = EmbeddedNats(folder)
        self.url = ""

    async def start(self) -> str:
        """Starts it (again); the port is the same."""
        self.url = await self.embedded.start()
        return self.url

    async def stop(self) -> None:
        """Ends it properly."""
        await self.embedded.stop()

    def kill(self) -> None:
        """kill -9, and nothing is there any more when this returns."""
        pid = self.embedded.pid
        assert pid is not None, "the server does not run"
        process = psutil.Process(pid)
        os.kill(pid, signal.SIGKILL)
        process.wait(10)

    async def restart_killed(self) -> None:
        """kill -9, then start."""
        self.kill()
        await self.start()


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A running nats-server with JetStream of its own."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """The URL of a running nats-server, its token in it."""
    return nats_server.url
