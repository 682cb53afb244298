"""The embedded nats-server keeps its address and its streams, tolerates what a crash left behind, and ends cleanly."""

from __future__ import annotations

import os
import signal
import socket
import stat
from typing import TYPE_CHECKING

import nats
import psutil
import pytest
from nats.js.api import StreamConfig

from winnow.embedded.nats import EmbeddedNats
from winnow.errors import EmbeddedServerFailed, SetupFault
from winnow.queue.broker import JetStreamBroker
from winnow.queue.lanes import LIVE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path / "with space and ü" / "nats")
    yield server
    await server.stop()


async def test_url_and_streams_outlive_a_restart(server: EmbeddedNats) -> None:
    url = await server.start()
    client = await nats.connect(url)
    await client.jetstream().add_stream(StreamConfig(name="KEPT", subjects=["kept"]))
    await client.jetstream().publish("kept", b"x")
    await client.close()
    await server.stop()
    assert server.pid is None
    assert await server.start() == url
    client = await nats.connect(url)
    assert (await client.jetstream().stream_info("KEPT")).state.messages == 1
    await client.close()


async def test_it_listens_on_loopback_only_and_wants_its_token(server: EmbeddedNats) -> None:
    url = await server.start()
    assert server.pid is not None
    listening = {c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    with pytest.raises(SetupFault, match="refuses"):
        await JetStreamBroker(f"nats://{url.rpartition('@')[2]}", LIVE, connect_timeout_seconds=0.5).startup()


async def test_nobody_else_may_read_its_files(server: EmbeddedNats) -> None:
    url = await server.start()
    token = url.removeprefix("nats://").partition("@")[0]
    for file in server.log_file.parent.iterdir():
        if file.is_file() and token in file.read_text():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert stat.S_IMODE(server.log_file.parent.stat().st_mode) == 0o700


async def test_it_is_out_of_reach_of_the_terminals_ctrl_c(server: EmbeddedNats) -> None:
    await server.start()
    assert server.pid is not None
    assert os.getsid(server.pid) != os.getsid(0)


async def test_the_server_of_a_killed_predecessor_is_stopped_first(server: EmbeddedNats) -> None:
    await server.start()
    left_over = server.pid
    assert left_over is not None
    successor = EmbeddedNats(server.log_file.parent)
    await successor.start()
    assert server.pid is None
    assert successor.pid != left_over
    await successor.stop()


async def test_a_pid_file_that_names_a_stranger_harms_nobody(server: EmbeddedNats) -> None:
    await server.start()
    await server.stop()
    (server.log_file.parent / "nats.pid").write_text(str(os.getpid()))
    await server.start()
    assert server.pid is not None


async def test_it_starts_again_after_kill_9(server: EmbeddedNats) -> None:
    url = await server.start()
    assert server.pid is not None
    process = psutil.Process(server.pid)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert await server.start() == url


async def test_a_remembered_port_that_is_taken_gives_way_to_a_free_one(server: EmbeddedNats) -> None:
    url = await server.start()
    await server.stop()
    port = int(url.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", port)):
        other = await server.start()
    assert other != url
    assert other.rsplit(":", 1)[0] == url.rsplit(":", 1)[0]


async def test_a_wanted_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedServerFailed, match=f"Port {port} is taken"):
            await EmbeddedNats(tmp_path, port).start()


async def test_a_server_that_ends_while_starting_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("a file where the streams should be")
    server = EmbeddedNats(tmp_path)
    with pytest.raises(EmbeddedServerFailed, match=r"read .*nats\.log"):
        await server.start()
    assert server.pid is None


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerFailed, match="choose another data folder"):
        await EmbeddedNats(tmp_path / "file" / "nats").start()
