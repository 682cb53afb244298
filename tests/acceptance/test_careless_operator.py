"""Whatever a careless operator sets up wrongly ends in one sentence that says what to do, and spoils nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from plugins.mounts import fill_up, read_only, small_disk
from plugins.program import NOBODY, Call, Finished, Program, Up, eventually
from winnow.embedded import postgres
from winnow.embedded.nats import find_binary
from winnow.embedded.postgres import EmbeddedPostgres
from winnow.errors import SetupFault
from winnow.storage import migrate as module
from winnow.storage.migrate import migrate, require_newest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from plugins.nats import NatsServer

ATTACHING = (("status",), ("search", "anything"), ("psql", "-c", "SELECT 1"), ("extract",), ("backfill",), ("worker",))
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away or has disks of its own")


@pytest.fixture(scope="module")
def used(open_folder: Path) -> Path:
    """A data folder that was used and is at rest."""
    program = Program(open_folder / "used before")
    assert program.run("migrate").code == 0
    program.close()
    return program.data


def copy_of(used: Path, name: str) -> Path:
    """The same folder again, owners included."""
    copy = used.parent / name
    subprocess.run(["cp", "-a", used, copy], check=True)
    return copy


def replaced(path: Path, *, by_folder: bool = False) -> None:
    """Puts a file, or an empty folder, where something else was."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.mkdir() if by_folder else path.touch()


# -- the data folder


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "of another PostgreSQL": (
        lambda folder: (folder / "postgresql" / "data" / "PG_VERSION").write_text("17\n"),
        "is of PostgreSQL 17",
    ),
    "broken": (
        lambda folder: (folder / "postgresql" / "data" / "global" / "pg_control").unlink(),
        "could not find the database system",
    ),
    "a file for PostgreSQL": (lambda folder: replaced(folder / "postgresql"), "File exists"),
    "a file for NATS": (lambda folder: replaced(folder / "nats"), "File exists"),
    "a folder for the lock": (lambda folder: replaced(folder / "winnow.lock", by_folder=True), "Is a directory"),
    "a folder for the state": (lambda folder: replaced(folder / "winnow.json", by_folder=True), "Is a directory"),
}


def test_a_folder_that_cannot_serve_is_named_with_the_reason(another: Program, used: Path) -> None:
    folders = {name: copy_of(used, name) for name in SPOILT}
    for name, (spoil, _) in SPOILT.items():
        spoil(folders[name])
    done = another.run_in_turn(*(Call("status", "--data-dir", str(folder)) for folder in folders.values()))
    for name, finished in zip(SPOILT, done, strict=True):
        assert finished.code == 3, name
        assert SPOILT[name][1] in finished.sentence, name
        assert str(folders[name]) in finished.sentence
        assert "choose another" in finished.sentence, name
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:", finished.sentence) is None, "a log line's head is no sentence"


def test_what_can_be_overlooked_is(another: Program, used: Path) -> None:
    another.data = copy_of(used, "untidy")
    (another.data / "winnow.json").write_text("garbage")
    (another.data / "winnow.json.new").write_text("half of")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        (another.data / "nats" / "nats.port").write_text(str(taken.getsockname()[1]))  # its port of the last time
        assert another.run("status", "--json", TMPDIR="/nowhere").json["queue"] is not None
    (another.data / "nats" / "nats.port").write_text("no number")
    (another.data / "nats" / "nats.token").write_text("\n")  # what a full disk left of it
    assert another.run("status", "--json", TZ="No/Where").json["queue"] is not None
    assert len((another.data / "nats" / "nats.token").read_text()) >= 40, "NATS never listens without a secret"


def test_a_mistyped_folder_is_left_alone_by_all_that_need_a_used_one(another: Program, used: Path) -> None:
    there = another.data.parent / "there and empty"
    there.mkdir()
    folders = [another.data, there] * len(ATTACHING)
    calls = [
        Call(command, "--data-dir", str(folder), *more)
        for (command, *more), folder in zip(ATTACHING * 2, folders, strict=True)
    ]
    for folder, done in zip(folders, another.run_in_turn(*calls), strict=True):
        assert done.code == 2
        assert f"there is no Winnow in {folder}" in done.sentence
        assert "`winnow up`" in done.sentence
    assert not another.data.exists()
    assert not list(there.iterdir())
    assert another.run("status", WINNOW_DATA_DIR=str(used)).code == 0


def test_a_database_of_a_newer_winnow_is_left_alone(another: Program, used: Path) -> None:
    another.data = copy_of(used, "newer")
    another.sql("UPDATE alembic_version SET version_num = '9999'")
    commands = ("up", "--port", "0"), ("worker",), ("migrate",)
    for done in another.run_in_turn(*(Call(*command) for command in commands)):
        assert done.code == 3
        assert done.err.splitlines()[-1].endswith("a newer Winnow made it; use that one"), done
    assert another.sql("SELECT version_num FROM alembic_version") == [["9999"]]


def test_a_port_in_use_is_named(another: Program, used: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        both = ("up", "--port", port), ("api", "--port", port)
        for done in another.run_in_turn(*(Call(*command, WINNOW_DATA_DIR=str(used)) for command in both)):
            assert done.code == 2
            assert f"port {port} on 127.0.0.1 cannot be had" in done.err.splitlines()[-1]
            assert "WINNOW_API_PORT" in done.err


def test_few_open_files_are_enough_and_too_few_are_told(another: Program, used: Path) -> None:
    another.data = used
    another.prefix = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    assert another.run("status").code == 0
    another.prefix = ("sh", "-c", 'ulimit -n 24; exec "$@"', "sh")
    refused = another.run("status")
    assert refused.code == 3
    assert "insufficient file descriptors" in refused.sentence


def test_a_folder_that_is_a_file_is_told(another: Program) -> None:
    another.data.touch()
    up, imported, status = another.run_in_turn(Call("up"), Call("import", __file__), Call("status"))
    assert (up.code, imported.code, status.code) == (3, 3, 2)
    for done in (up, imported, status):
        assert str(another.data) in done.sentence


def test_a_folder_that_may_not_be_entered_is_told(ordinary: Program, open_folder: Path) -> None:
    closed = open_folder / "closed to others"
    closed.mkdir(mode=0o700 if os.geteuid() == 0 else 0o000)
    for command in ("up", "--port", "0"), ("status",):
        refused = ordinary.run(*command, "--data-dir", str(closed / "winnow"))
        assert refused.code == 3
        assert "Permission denied" in refused.sentence


@as_root
def test_root_does_not_take_somebody_elses_folder_away(another: Program, used: Path) -> None:
    another.data = copy_of(used, "theirs")
    os.chown(another.data / "winnow.lock", NOBODY, NOBODY)
    refused = another.run("status")
    assert refused.code == 3
    assert "run Winnow as that user" in refused.sentence


# -- the disk


@as_root
def test_a_disk_that_is_too_small_for_a_first_start_is_told(another: Program) -> None:
    for number, options in enumerate(("size=64k", "size=40m", "size=400m,nr_inodes=300")):
        with small_disk(another.data.with_name(f"small disk {number}"), options) as disk:
            refused = another.run("up", "--port", "0", "--data-dir", str(disk / "winnow"))
            assert refused.code == 3, options
            assert re.search("No space left on device|Check free disk space", refused.sentence), options
            assert "make room there" in refused.sentence, options


@as_root
def test_a_read_only_disk_is_told(another: Program, used: Path) -> None:
    another.data = copy_of(used, "read-only")
    for part, command in (("postgresql", "status"), ("nats", "status"), (".", "up")):
        with read_only(another.data / part):
            (done,) = another.run_in_turn(Call(command))
        assert done.code == 3
        assert "Read-only file system" in done.sentence
        assert "choose another" in done.sentence


@as_root
def test_a_disk_that_fills_up_costs_no_row_and_all_goes_on_once_there_is_room(another: Program) -> None:
    with small_disk(another.data, "size=150m") as disk:
        another.data = disk / "winnow"
        up = another.up(WINNOW_SWEEP_AGE_SECONDS="1", WINNOW_EXTRACTION_QUIET_SECONDS="1000")
        try:
            assert post(up, "before", 20).status_code == 201
            eventually(lambda: counts(up)["embedded"] == 20, "all is embedded")
            fill_up(disk / "junk")
            refused = post(up, "much", 1000, " and so on" * 50)
            assert refused.status_code == 503
            assert "no room left on its disk" in refused.json()["detail"]
            eventually(lambda: asked(up).status_code == 503, "NATS cannot store a task either")
            new_log = ("-c", "SELECT pg_switch_wal()", "-c", "CREATE TABLE more ()", "-c", "DROP TABLE more")
            another.run("psql", "-q", *new_log * 3)  # the last room that the database kept for its log
            down = eventually(lambda: (done := another.run("status")).code and done, "the database fell")
            assert isinstance(down, Finished)
            assert re.search(rf"Most likely {another.data} is full: \d MB are free", down.sentence)
            up.wait_for("No space left on device")

            (disk / "junk").unlink()
            eventually(lambda: post(up, "after", 20).status_code == 201, "the database is back")
            eventually(lambda: counts(up)["embedded"] == 40, "its vectors, by way of NATS or the sweeper")
            eventually(lambda: asked(up).is_success, "NATS stores tasks again")
            assert counts(up)["total"] == 40
            assert "Traceback" not in up.output
        finally:
            up.clean()


def post(up: Up, name: str, number: int, more: str = "") -> httpx.Response:
    messages = [{"channel": "c", "external_id": f"{name} {n}", "text": f"{name} {n}{more}"} for n in range(number)]
    with up.http as http:
        return http.post("/api/v1/messages", json=messages)


def asked(up: Up) -> httpx.Response:
    with up.http as http:
        return http.post("/api/v1/knowledge/extract", json={"message_ids": [1], "again": True})


def counts(up: Up) -> dict[str, int]:
    with up.http as http:
        answer = http.get("/api/v1/status")
    found: dict[str, int] = answer.json()["embeddings"]["messages"] if answer.is_success else {"embedded": -1}
    return found


@as_root
def test_little_shared_memory_is_enough(another: Program, used: Path) -> None:
    """Docker gives 64 MB; an index built by several processes wants more, and finds it beside the data."""
    another.data = used
    hidden = 'mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm && exec "$@"'
    another.prefix = ("unshare", "--mount", "sh", "-c", hidden, "sh")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this account has no mount namespaces of its own")
    assert another.sql("SHOW dynamic_shared_memory_type") == [["mmap"]]


# -- servers of one's own


class Web(socketserver.BaseRequestHandler):
    """Whatever it is asked, it answers as a web server that has not understood."""

    @override
    def handle(self) -> None:
        self.request.recv(1)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def web_address() -> Iterator[str]:
    """The host and port of something that speaks HTTP."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield "{}:{}".format(*server.server_address)
        server.shutdown()


@pytest.fixture
def plain_nats(tmp_path: Path) -> Iterator[str]:
    """The host and port of a nats-server without JetStream; its token is `right`."""
    command = [str(find_binary()), "-a", "127.0.0.1", "-p", "-1", "--auth", "right", "--ports_file_dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        (ports_file,) = eventually(lambda: list(tmp_path.glob("*.ports")), "it listens")
        addresses = eventually(ports_file.read_text, "its address")
        yield json.loads(addresses)["nats"][0].removeprefix("nats://")
        server.terminate()


def test_a_database_url_that_leads_to_something_else_is_told(
    another: Program, web_address: str, nats_server: NatsServer
) -> None:
    nats_address = nats_server.url.rpartition("@")[2]
    commands = ("status",), ("worker",), ("api", "--port", "0"), ("up", "--port", "0"), ("migrate",), ("backfill",)
    addresses = f"{web_address}/x", f"{nats_address}/x", f"{web_address}/x?sslmode=disable", "no.invalid/x"
    another.variables = {"NATS_URL": nats_server.url}
    urls = [f"postgresql://user:secret@{address}" for address in addresses]
    calls = [Call(*command, DATABASE_URL=urls[number % len(urls)]) for number, command in enumerate(commands)]
    for done in another.run_in_turn(*calls):
        assert done.code == 3, done
        assert "the database does not answer" in done.sentence
        assert "is DATABASE_URL right?" in done.sentence
        assert "secret" not in done.out + done.err


def test_a_nats_url_that_leads_to_something_else_is_told(
    another: Program, web_address: str, plain_nats: str, database_url: str
) -> None:
    another.variables = {"DATABASE_URL": database_url}
    expected = {
        f"nats://{web_address}": "does not answer",
        f"nats://right@{plain_nats}": "start nats-server with JetStream",
        f"nats://wrong@{plain_nats}": "refuses the user, password or token in NATS_URL",
    }
    with ThreadPoolExecutor(3) as pool:  # each waits some seconds for it
        for words, done in zip(
            expected.values(), pool.map(lambda url: another.run("worker", NATS_URL=url), expected), strict=True
        ):
            assert done.code == 3
            last = done.err.splitlines()[-1]
            assert last.startswith("error: NATS at 127.0.0.1:")
            assert words in last


def test_a_database_that_does_not_let_us_in_is_told(another: Program, database_url: str) -> None:
    urls = {
        database_url.replace("winnow@", "nobody_here@"): 'role "nobody_here" does not exist',
        re.sub(r"/test_\w+", "/nothing_here", database_url): 'database "nothing_here" does not exist',
    }
    calls = [Call("status", DATABASE_URL=url, NATS_URL="nats://127.0.0.1:1") for url in urls]
    for words, done in zip(urls.values(), another.run_in_turn(*calls), strict=True):
        assert done.code == 3
        assert words in done.sentence
        assert "check DATABASE_URL" in done.sentence


async def test_servers_that_are_too_old_are_told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, oldest, sentence in (
        ("OLDEST_POSTGRES", 99, r"^PostgreSQL \d+ is too old; Winnow needs 99 or newer$"),
        ("OLDEST_PGVECTOR", (99, 1, 0), r"^pgvector [\d.]+ is too old; Winnow needs 99\.1\.0 or newer$"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, oldest)
            for ask in (migrate, require_newest):
                with pytest.raises(SetupFault, match=sentence):
                    await ask(database_url)


def wheel_in(folder: Path) -> Path:
    """PostgreSQL's programs in another place, with the libraries they bring."""
    package = postgres.programs_folder().parents[1]
    for part in package.parent.glob(f"{package.name}*"):
        if part.suffix in {"", ".libs"}:
            wanted = shutil.ignore_patterns("pginstall", "__pycache__")
            shutil.copytree(part, folder / part.name, symlinks=True, ignore=wanted)
    return folder / postgres.programs_folder().relative_to(package.parent)


async def test_a_server_without_pgvector_is_told(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = wheel_in(open_folder / "no pgvector")
    (control,) = programs.parent.rglob("vector.control")
    control.unlink()
    monkeypatch.setattr(postgres, "programs_folder", lambda: programs)
    (open_folder / "without").mkdir(mode=0o711)
    server = EmbeddedPostgres(open_folder / "without" / "postgresql")
    try:
        url = await server.start()
        with pytest.raises(SetupFault, match=r"^the database server has no pgvector; install the extension on it"):
            await migrate(url)
    finally:
        await server.stop()


@as_root
async def test_root_may_keep_the_programs_to_itself(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = wheel_in(open_folder / "of root only")
    (open_folder / "of root only").chmod(0o700)
    monkeypatch.setattr(postgres, "programs_folder", lambda: programs)
    (open_folder / "open").mkdir(mode=0o711)
    server = EmbeddedPostgres(open_folder / "open" / "postgresql")
    try:
        await migrate(await server.start())
    finally:
        await server.stop()
