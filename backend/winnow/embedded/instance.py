"""One Winnow a data folder: the lock, the state file others attach by, and the servers' life.

Whoever holds `winnow.lock` runs the servers. `winnow.json` beside it tells everybody else where they are; it is
readable by its owner only, for it holds the password of NATS. Those who attach share a lock on `winnow.guests` for as
long as they do: a command that runs the servers only for its own duration lets its guests finish first.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pwd
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import structlog

from winnow.embedded.nats import EmbeddedNats
from winnow.embedded.postgres import EmbeddedPostgres, forget_client_variables, little_room
from winnow.errors import DataFolderInUse, EmbeddedServerFailed, InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

ATTACH_SECONDS = 60
# A full disk's server is started again when there is so much room; it stores little.
RESTART_MEGABYTES = 8
# Between looks at a server that runs, then between ever further tries to start it again.
WATCH_PAUSES_SECONDS = (1.0, 1.0, 2.0, 5.0, 10.0)
LOOK_SECONDS = 0.1
# Most guests are gone before a person could read why the prompt does not come back.
QUIET_WAIT_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServers:
    """Where the servers of a data folder are, and who holds them."""

    pid: int
    command: str
    database_url: str
    nats_url: str
    api_url: str | None = None


class DataFolder:
    """The files of one data folder that processes meet over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock_file = path / "winnow.lock"
        self.state_file = path / "winnow.json"
        self.guests_file = path / "winnow.guests"
        self._lock: int | None = None
        self._guests_lock: int | None = None

    def create(self) -> None:
        """Makes the folder, closed to others; as root it may be entered (not listed), for PostgreSQL's account."""
        for folder in reversed([folder for folder in (self.path, *self.path.parents) if not folder.exists()]):
            folder.mkdir(mode=0o700 if folder == self.path else 0o777, exist_ok=True)
            if os.geteuid() == 0:  # whatever the umask; folders that were there are never changed
                folder.chmod(folder.stat().st_mode | 0o011)
        self.lock_file.touch(mode=0o600)
        self.guests_file.touch(mode=0o600)

    def require_used(self) -> None:
        """Raises `InvalidSettings` when no Winnow has ever run here: most likely its name was mistyped."""
        if not self.lock_file.exists():
            raise InvalidSettings(
                f"there is no Winnow in {self.path}; make one with `winnow up`, or name another with --data-dir"
            )

    def require_own(self) -> None:
        """Raises `EmbeddedServerFailed` for somebody else's folder: root's servers would spoil it."""
        owner = self.lock_file.stat().st_uid
        if owner != os.geteuid():
            raise EmbeddedServerFailed(
                f"the data folder {self.path} is {_account_name(owner)}'s; run Winnow as that user, or choose "
                "another folder with --data-dir"
            )

    def try_lock(self) -> bool:
        """Takes the folder for this process; False when another one has it."""
        self._lock = _locked(self.lock_file, fcntl.LOCK_EX)
        if self._lock is None:
            return False
        self.retract()  # of a holder that was killed
        return True

    def unlock(self) -> None:
        """Lets the folder go."""
        _close(self._lock)
        self._lock = None
        self.leave()

    def try_attach(self) -> RunningServers | None:
        """Where the servers are, as a guest of their holder until `leave`; None while it is starting or stopping."""
        self._guests_lock = _locked(self.guests_file, fcntl.LOCK_SH)
        if self._guests_lock is None:
            return None
        if servers := self.read():  # only now: from here on the holder waits for us
            return servers
        self.leave()
        return None

    def try_end_visits(self) -> bool:
        """Lets no guest in any more, until `leave` or `unlock`; False while there are some."""
        self._guests_lock = _locked(self.guests_file, fcntl.LOCK_EX)
        return self._guests_lock is not None

    def leave(self) -> None:
        """Is a guest no longer, or lets others be."""
        _close(self._guests_lock)
        self._guests_lock = None

    def publish(self, servers: RunningServers) -> None:
        """Tells other processes where the servers are (written whole or not at all)."""
        draft = self.state_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(servers), file)
        draft.replace(self.state_file)

    def retract(self) -> None:
        """Tells nobody any more."""
        self.state_file.unlink(missing_ok=True)

    def read(self) -> RunningServers | None:
        """Where the servers are, once they are up."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return RunningServers(**json.loads(self.state_file.read_text()))
        return None


def _account_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


@contextlib.contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Turns what the system refuses in a data folder (no room, no rights, read-only …) into a sentence."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename and str(error.filename) != str(folder) else ""
        raise EmbeddedServerFailed(
            f"the data folder {folder} cannot be used ({error.strerror or error}{where}); make room there or mend its "
            "rights, or choose another with --data-dir"
        ) from error


def _locked(path: Path, kind: int) -> int | None:
    """A descriptor that holds the lock until it is closed, or this process ends; None when another has it."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


class Instance:
    """The servers of a data folder: ours, or those of the process that holds it. An async context manager.

    Args:
        folder: the data folder.
        attach: use the servers of another process when one holds the folder, and let others finish who use ours;
            else `DataFolderInUse` is raised, and ours stop when we do.
        fresh: a folder that no Winnow has run in yet becomes one; else it is refused and left as it is.
    """

    def __init__(self, folder: Path, *, attach: bool, fresh: bool = True) -> None:
        self.folder = DataFolder(folder)
        self._attach = attach
        self._fresh = fresh
        self._postgres = EmbeddedPostgres(folder / "postgresql")
        self._nats = EmbeddedNats(folder / "nats")
        self.owned = False
        self.servers: RunningServers

    async def __aenter__(self) -> Self:
        forget_client_variables()
        with _usable(self.folder.path):
            if not self._fresh:
                self.folder.require_used()
            self.folder.create()
            return await self._enter()

    async def _enter(self) -> Self:
        deadline = asyncio.get_running_loop().time() + ATTACH_SECONDS
        while True:
            if self.folder.try_lock():
                await self._start()
                return self
            if self._attach and (servers := self.folder.try_attach()):
                self.servers = servers
                return self
            if not self._attach and (servers := self.folder.read()):
                raise DataFolderInUse(
                    f"{self.folder.path} is in use by `{servers.command}` (process {servers.pid}); stop that one, "
                    "or choose another folder with --data-dir"
                )
            if asyncio.get_running_loop().time() > deadline:
                raise DataFolderInUse(
                    f"{self.folder.path} is held by another Winnow that has not come up in {ATTACH_SECONDS} s; "
                    "look for it with: ps aux | grep winnow"
                )
            await asyncio.sleep(LOOK_SECONDS)  # its holder is starting or stopping

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.owned:
            self.folder.leave()
            return
        try:
            if self._attach:
                await self._guests_gone()
        finally:
            await self._stop()

    def announce_api(self, url: str) -> None:
        """Adds the API's address to what others read."""
        self.servers = replace(self.servers, api_url=url)
        with _usable(self.folder.path):
            self.folder.publish(self.servers)

    async def watch(self) -> None:
        """Starts a server of ours again when it has ended by itself, for as long as this is awaited."""
        await asyncio.gather(self._watch("postgres", self._postgres), self._watch("nats-server", self._nats))

    async def _watch(self, name: str, server: EmbeddedPostgres | EmbeddedNats) -> None:
        tries = 0
        while True:
            await asyncio.sleep(WATCH_PAUSES_SECONDS[min(tries, len(WATCH_PAUSES_SECONDS) - 1)])
            tries = tries + 1 if await self._start_again(name, server) else 0

    async def _start_again(self, name: str, server: EmbeddedPostgres | EmbeddedNats) -> bool:
        """False when there was no need to."""
        stuck = isinstance(server, EmbeddedNats) and server.pid is not None and server.ran_out_of_room()
        if stuck and little_room(self.folder.path, RESTART_MEGABYTES):
            return True  # a matter of waiting
        if stuck:
            log.warning("embedded.room_again", server=name)
        elif server.pid is not None:
            return False
        else:
            log.error("embedded.fell", server=name)
        try:
            with _usable(self.folder.path):
                await server.stop()
                await server.start()
        except EmbeddedServerFailed as error:
            log.warning("embedded.not_up_again", server=name, reason=str(error))
        return True

    def server_pids(self) -> dict[str, int]:
        """Process ids of the servers that this process started."""
        pids = {"postgres": self._postgres.pid, "nats-server": self._nats.pid}
        return {name: pid for name, pid in pids.items() if pid is not None}

    async def _start(self) -> None:
        self.owned = True
        try:
            self.folder.require_own()
            async with asyncio.TaskGroup() as group:
                database_url = group.create_task(self._postgres.start(), name="start postgres")
                nats_url = group.create_task(self._nats.start(), name="start nats")
            self.servers = RunningServers(
                pid=os.getpid(),
                command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
                database_url=database_url.result(),
                nats_url=nats_url.result(),
            )
            self.folder.publish(self.servers)
        except BaseExceptionGroup as failed:
            await self._stop()
            raise failed.exceptions[0] from None
        except BaseException:
            await self._stop()
            raise

    async def _guests_gone(self) -> None:
        """Waits for the commands that attached to us, which may be interrupted; newcomers may attach meanwhile."""
        loop = asyncio.get_running_loop()
        told_at = loop.time() + QUIET_WAIT_SECONDS
        while not self.folder.try_end_visits():
            if loop.time() > told_at:
                told_at = float("inf")
                sys.stderr.write(
                    "other commands are using the servers that this one started; waiting for them to end "
                    "(Ctrl-C stops the servers now)\n"
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _stop(self) -> None:
        self.folder.retract()  # first, so that nobody attaches to what is about to be gone
        await asyncio.gather(self._nats.stop(), self._postgres.stop(), return_exceptions=True)
        self.folder.unlock()
        self.owned = False
