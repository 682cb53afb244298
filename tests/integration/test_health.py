"""The health check tells a process that works from one that is gone, cut off, or somebody else's."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import nats
import pytest

from plugins._wire import Listener, json_reply
from plugins.jetstream import eventually, working
from winnow import health
from winnow.api.server import DEFAULT_PORT
from winnow.queue.lanes import BULK
from winnow.queue.services import SWEEPER, WORKER
from winnow.queue.workers import announce, list_workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.jetstream import MakeBroker
    from plugins.nats import NatsServer


class Checked:
    """How `python -m winnow.health ROLE` ended, and its one sentence."""

    def __init__(self, role: str, **variables: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "winnow.health", role],
            env={name: value for name, value in os.environ.items() if "NATS" not in name} | variables,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.code = done.returncode
        self.words = (done.stdout + done.stderr).strip()
        assert len(self.words.splitlines()) == 1, self.words


async def checked(role: str, **variables: str) -> Checked:
    """Runs the check while this event loop, which may be the one that is asked about, runs on."""
    return await asyncio.to_thread(Checked, role, **variables)


async def test_a_worker_is_well_while_it_listens_and_no_longer(make_broker: MakeBroker, nats_url: str) -> None:
    broker = make_broker()
    assert (await checked("worker", NATS_URL=nats_url)).code == 1
    async with working(broker):
        await eventually(lambda: list_workers(broker.client))
        well = await checked("worker", NATS_URL=nats_url)
        assert (well.code, str(os.getpid()) in well.words) == (0, True), well.words
    gone = await checked("worker", NATS_URL=nats_url)
    assert gone.code == 1
    assert f"no {WORKER} of {socket.gethostname()} answers" in gone.words


async def test_a_sweeper_is_well_and_is_no_worker(make_broker: MakeBroker, nats_url: str) -> None:
    broker = make_broker(BULK)
    await broker.startup()
    await broker.announce_as(SWEEPER)
    assert (await checked("sweeper", WINNOW_NATS_URL=nats_url)).code == 0
    assert (await checked("worker", NATS_URL=nats_url)).code == 1
    assert await list_workers(broker.client) == []


async def test_a_sweeper_is_found_again_after_nats_was_killed(make_broker: MakeBroker, nats_server: NatsServer) -> None:
    broker = make_broker(BULK)
    await broker.startup()
    await broker.announce_as(SWEEPER)
    nats_server.kill()
    assert (await checked("sweeper", NATS_URL=nats_server.url)).code == 1
    await nats_server.start()
    await eventually(lambda: broker.client.is_connected)
    assert (await checked("sweeper", NATS_URL=nats_server.url)).code == 0


async def test_a_sweeper_is_found_again_after_its_client_was_closed_for_good(
    make_broker: MakeBroker, nats_url: str
) -> None:
    broker = make_broker(BULK)
    await broker.startup()
    await broker.announce_as(SWEEPER)
    await broker.client.close()  # as some errors of a server do
    await eventually(lambda: broker.client.is_connected)
    assert (await checked("sweeper", NATS_URL=nats_url)).code == 0


async def test_the_worker_of_another_container_is_not_ours(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await nats.connect(nats_url)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(socket, "gethostname", lambda: "another-container")
        await announce(client, WORKER, lanes="live")
    assert [worker.host for worker in await list_workers(client)] == ["another-container"]
    assert (await checked("worker", NATS_URL=nats_url)).code == 1
    await client.close()


async def test_a_nats_that_is_away_or_refuses_is_named_without_its_secrets(nats_url: str) -> None:
    token = nats_url.partition("://")[2].partition("@")[0]
    refused = await checked("worker", NATS_URL=nats_url.replace(token, "wrong-token"))
    assert (refused.code, "Authorization" in refused.words) == (1, True), refused.words
    away = await checked("worker", NATS_URL="nats://user:secret@127.0.0.1:1")
    assert (away.code, "127.0.0.1:1 does not answer" in away.words) == (1, True), away.words
    assert "wrong-token" not in refused.words
    assert "secret" not in away.words
    assert (await checked("worker")).code == 1


@pytest.mark.parametrize(("status", "code"), [(HTTPStatus.OK, 0), (HTTPStatus.SERVICE_UNAVAILABLE, 1)])
async def test_the_api_is_well_when_it_says_that_it_is_ready(
    status: HTTPStatus, code: int, listening: Callable[[int], int]
) -> None:
    port = listening(status)
    assert (await checked("api", WINNOW_API_PORT=str(port))).code == code


async def test_an_api_that_is_not_there_is_unwell(unused_port: int) -> None:
    gone = await checked("api", WINNOW_API_PORT=str(unused_port))
    assert (gone.code, "does not answer" in gone.words) == (1, True), gone.words


async def test_an_unknown_role_is_refused_and_says_which_there_are() -> None:
    unknown = await checked("postgres")
    assert (unknown.code, "api, worker, sweeper" in unknown.words) == (2, True)


@pytest.mark.parametrize(
    ("command_line", "role"),
    [
        ("/sbin/docker-init -- winnow worker ", "worker"),
        ("/opt/winnow/bin/python /opt/winnow/bin/winnow api --host 0.0.0.0 ", "api"),
        ("winnow sweeper", "sweeper"),
        ("winnow status ", None),
        ("winnow search worker ", None),
        ("sleep infinity ", None),
    ],
)
def test_the_image_checks_whatever_process_1_is(command_line: str, role: str | None) -> None:
    assert health.role_in(command_line) == role


def test_it_knows_the_api_s_port_and_loads_no_more_than_the_standard_library() -> None:
    assert health.API_PORT == DEFAULT_PORT
    script = "import sys, winnow.health; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"nats", "pydantic", "sqlalchemy", "typer", "structlog"} & set(loaded)


@pytest.fixture
def unused_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def listening(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """Starts a server that answers /health/ready with a status; returns its port."""

    def start(status: int) -> int:
        def reply(_method: str, path: str, _headers: object, _body: object) -> Any:
            return json_reply({}, status=status if path == "/health/ready" else HTTPStatus.NOT_FOUND)

        listener = Listener(("127.0.0.1", 0), reply)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        request.addfinalizer(listener.server_close)
        request.addfinalizer(listener.shutdown)
        return int(listener.server_address[1])

    return start
