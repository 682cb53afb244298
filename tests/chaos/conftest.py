"""The chaos suite's servers and worlds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.model import ChaosOllama, ChaosOpenAI, ChaosServer
from chaos.processes import Nursery
from chaos.record import keep_record
from chaos.servers import KillablePostgres, WipeableNats
from chaos.world import World
from plugins.postgres import LoopThread, _open_folder, _quick_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def killable_postgres() -> Iterator[KillablePostgres]:
    """The chaos suite's own PostgreSQL."""
    with _open_folder(_quick_folder()) as folder:
        loop = LoopThread()
        server = KillablePostgres(folder, loop)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            loop.close()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where the processes come from."""
    nursery = Nursery(tmp_path_factory.mktemp("outputs"))
    yield nursery
    nursery.close()


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Iterator[ChaosServer]:
    """A model server that keeps the record of payments: OpenAI's protocol, or Ollama's by the parameter `ollama`."""
    server = ChaosOllama() if getattr(request, "param", "openai") == "ollama" else ChaosOpenAI()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def world(
    killable_postgres: KillablePostgres, nursery: Nursery, model: ChaosServer, tmp_path: Path
) -> AsyncIterator[World]:
    """A database, a nats-server and a model server of the test's own, and nobody at work yet."""
    server = WipeableNats(tmp_path / "nats")
    await server.start()
    async with killable_postgres.database() as url:
        await keep_record(url)
        world = World(killable_postgres, url, server, model, nursery, tmp_path / "nobody's")
        yield world
        world.close()
    await server.stop()
