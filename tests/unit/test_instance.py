"""Whoever holds a data folder keeps its servers for the commands that attached to them, unless told to hurry."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from winnow.embedded import instance as module
from winnow.embedded.instance import Instance
from winnow.errors import DataFolderInUse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class FakeServer:
    """A server that only knows whether it runs, and whether others were still told of it when it stopped."""

    def __init__(self, state_file: Path) -> None:
        self.pid: int | None = None
        self.told_at_stop: bool | None = None
        self._state_file = state_file

    async def start(self) -> str:
        self.pid = 1
        return "fake://"

    async def stop(self) -> None:
        self.pid = None
        self.told_at_stop = self._state_file.exists()


def instance(folder: Path, *, attach: bool) -> tuple[Instance, FakeServer]:
    made, server = Instance(folder, attach=attach), FakeServer(folder / "winnow.json")
    stand_in: Any = server
    made._postgres = made._nats = stand_in
    return made, server


@contextlib.asynccontextmanager
async def guest_of(folder: Path) -> AsyncIterator[Instance]:
    guest, server = instance(folder, attach=True)
    async with guest:
        assert not guest.owned
        yield guest
    assert server.told_at_stop is None


async def test_nobody_is_told_of_servers_that_are_being_stopped(tmp_path: Path) -> None:
    holder, server = instance(tmp_path, attach=True)
    async with holder:
        assert (tmp_path / "winnow.json").exists()
    assert server.told_at_stop is False
    assert holder.folder.try_lock()


async def test_a_command_that_ends_waits_for_those_that_attached_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "QUIET_WAIT_SECONDS", 0.0)
    holder, server = instance(tmp_path, attach=True)
    await holder.__aenter__()
    async with guest_of(tmp_path):
        ending = asyncio.create_task(holder.__aexit__(None, None, None))
        await asyncio.sleep(0.3)
        async with guest_of(tmp_path):  # newcomers need not wait for it
            assert server.pid == 1
        assert not ending.done()
    await asyncio.wait_for(ending, 5)
    assert server.told_at_stop is False
    assert capsys.readouterr().err.count("waiting for them to end") == 1


async def test_its_wait_can_be_broken_off(tmp_path: Path) -> None:
    holder, server = instance(tmp_path, attach=True)
    await holder.__aenter__()
    async with guest_of(tmp_path):
        ending = asyncio.create_task(holder.__aexit__(None, None, None))
        await asyncio.sleep(0.2)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert server.pid is None


async def test_winnow_up_does_not_wait_for_guests(tmp_path: Path) -> None:
    holder, server = instance(tmp_path, attach=False)
    await holder.__aenter__()
    async with guest_of(tmp_path):
        await asyncio.wait_for(holder.__aexit__(None, None, None), 5)
        assert server.pid is None


async def test_a_second_one_that_would_hold_the_folder_is_told_who_does(tmp_path: Path) -> None:
    async with instance(tmp_path, attach=True)[0]:
        with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}"):
            await instance(tmp_path, attach=False)[0].__aenter__()


async def test_nobody_attaches_while_the_servers_stop(tmp_path: Path) -> None:
    holder, _ = instance(tmp_path, attach=True)
    await holder.__aenter__()
    newcomer, _ = instance(tmp_path, attach=True)
    assert holder.folder.try_end_visits()
    assert newcomer.folder.try_attach() is None
    holder.folder.leave()
    await holder.__aexit__(None, None, None)
    async with newcomer:
        assert newcomer.owned


async def test_variables_of_somebody_elses_server_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    async with instance(tmp_path, attach=True)[0]:
        assert not [name for name in os.environ if name.startswith("PG")]
