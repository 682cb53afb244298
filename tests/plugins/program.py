"""The real `winnow` program in processes of its own, over a data folder of its own, deaf to the caller's environment.

    def test_something(winnow, running):
        done = winnow.run("search", "framing")        # to its end: code, out, err; a fork of the loaded program
        done = winnow.run("status", NO_COLOR="1")    # made anew, for its surroundings matter to the loading
        many = winnow.run_all(("status",), …)         # side by side
        told = winnow.run_in_turn(Call("api", "--help"), …)  # in one process, for loading takes a second each time
        running.http.get("/api/v1/status")            # the `winnow up` that the suite shares

Only what was started here is ever ended here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx
import psutil
import pytest

from plugins.loaded import READ_LATE, loaded_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CHECKOUT = Path(__file__).parents[2]
NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env")
# What a developer or a CI may have set, and the tests must not see.
FOREIGN = (
    "WINNOW_",
    "PG",
    "DATABASE_URL",
    "NATS_URL",
    "OPENAI_",
    "OLLAMA_",
    "PYTHON",
    "FORCE_COLOR",
    "NO_COLOR",
    "COLUMNS",
    "LINES",
)
COMMAND_SECONDS = 180.0
NO_SETTINGS = tempfile.gettempdir()  # no .env lies there
# A process needs a second or two; a loaded machine several times that.
PATIENCE_SECONDS = 60.0

Result = TypeVar("Result")


def clean_environment() -> dict[str, str]:
    """The caller's, without what Winnow would heed."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def eventually(look: Callable[[], Result], what: str, seconds: float = PATIENCE_SECONDS) -> Result:
    """Waits until `look` gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return found


@dataclass(frozen=True)
class Finished:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout, which must be one JSON value."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """What it told a person who made a mistake: one line on stderr, nothing else; no traceback."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self
        assert lines[0].startswith("error: "), self
        return lines[0]


class Call:
    """A command for `run_in_turn`, and what to set for it."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.arguments = arguments
        self.variables = variables


IN_TURN = """
import json, sys, traceback
from typer.testing import CliRunner
from winnow.cli.main import app
answers = []
for arguments, variables in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, arguments, env=variables, prog_name="winnow")
    if done.exception and not isinstance(done.exception, SystemExit):
        traceback.print_exception(done.exception)
    answers.append((done.exit_code, done.stdout, done.stderr))
print(json.dumps(answers))
"""


class Running:
    """A command that goes on: its process, what it has said so far, and the processes below it."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, data: Path) -> None:
        self._process = process
        self._output = output
        self.data = data
        self.pid = process.pid
        self._seen: set[psutil.Process] = set()

    @property
    def output(self) -> str:
        """Stdout and stderr so far."""
        return self._output.read_text()

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def wait_for(self, words: str) -> Self:
        """Returns once it has said this; fails when it ends without."""

        def look() -> bool:
            assert self.code is None or words in self.output, f"ended with {self.code}:\n{self.output}"
            return words in self.output

        eventually(look, f"{words!r} in the output")
        return self

    def processes(self) -> dict[int, psutil.Process]:
        """The living processes below it, by id."""
        below = psutil.Process(self.pid).children(recursive=True)
        self._seen.update(below)
        return {process.pid: process for process in below}

    def child(self, command: str) -> psutil.Process:
        """Its child that runs `winnow COMMAND`."""
        for process in self.processes().values():
            with suppress(psutil.Error):
                arguments = process.cmdline()
                if "winnow.cli.entry" in arguments and command in arguments:
                    return process
        raise LookupError(command)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait(seconds)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to end, and returns its exit code."""
        self.send(number)
        return self.wait()

    def clean(self) -> None:
        """Kills whatever of it is left."""
        if self.code is None:
            with suppress(psutil.Error):
                self.processes()
            self.send(signal.SIGTERM)
            try:
                self.wait(40)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for process in self._seen:
            with suppress(psutil.Error):
                if process.is_running():  # the same process, not another one with its id
                    process.kill()


class Up(Running):
    """A `winnow up`."""

    @property
    def state(self) -> dict[str, Any]:
        """What it tells other processes; empty until it is up."""
        with suppress(OSError, ValueError):
            state: dict[str, Any] = json.loads((self.data / "winnow.json").read_text())
            return state if state["api_url"] else {}
        return {}

    @property
    def http(self) -> httpx.Client:
        """A client of its API; close it, or use it as a context."""
        return httpx.Client(base_url=self.state["api_url"], timeout=30, trust_env=False)

    def get(self, path: str, **parameters: Any) -> Any:
        """One answer of the API."""
        with self.http as http:
            answer = http.get(path, params=parameters)
        assert answer.is_success, answer.text
        return answer.json()

    def log_lines(self, name: str) -> list[dict[str, Any]]:
        """The log of one of its processes."""
        return [json.loads(line) for line in (self.data / "logs" / f"{name}.log").read_text().splitlines()]


@dataclass
class Program:
    """Runs `winnow …` over the folder `data`, with `variables` set.

    Attributes:
        interpreter: the Python that runs it.
        prefix: what stands before it on the command line, for example to become another user.
    """

    data: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    interpreter: str = sys.executable
    prefix: Sequence[str] = ()
    _started: list[Running] = field(default_factory=list)
    _outputs: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="winnow-test-")))

    def environment(self, **variables: str | None) -> dict[str, str]:
        """What the program sees; None takes a variable away."""
        wanted = {**clean_environment(), "WINNOW_DATA_DIR": str(self.data), **self.variables, **variables}
        return {name: value for name, value in wanted.items() if value is not None}

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [*self.prefix, self.interpreter, "-m", "winnow.cli.entry", *arguments]

    def run(self, *arguments: str, **variables: str | None) -> Finished:
        """Runs a command to its end: as a fork of the loaded program, where nobody could tell the difference."""
        ours = self.interpreter == sys.executable and not self.prefix
        if not ours or not all(name.startswith(READ_LATE) for name in {**self.variables, **variables}):
            return self.run_command(self.command(*arguments), **variables)
        done = loaded_program(clean_environment()).run(
            arguments, self.environment(**variables), NO_SETTINGS, COMMAND_SECONDS
        )
        return _finished(done)

    def run_command(self, command: Sequence[str], **variables: str | None) -> Finished:
        """Runs any program to its end, in the same surroundings."""
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=self.environment(**variables),
            cwd=NO_SETTINGS,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return _finished(done)

    def run_in_turn(self, *calls: Call) -> list[Finished]:
        """Runs commands to their ends, one after the other inside one process."""
        script = [self.interpreter, "-c", IN_TURN, json.dumps([(call.arguments, call.variables) for call in calls])]
        done = self.run_command([*self.prefix, *script])
        assert (done.code, done.err) == (0, ""), done
        return [Finished(*answer) for answer in done.json]

    def run_all(self, *commands: Sequence[str], at_once: int = 2, **variables: str | None) -> list[Finished]:
        """Runs commands side by side."""
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda arguments: self.run(*arguments, **variables), commands))

    def start(self, *arguments: str, **variables: str | None) -> Running:
        """Starts a command that goes on until it is ended."""
        return self.start_command(self.command(*arguments), Running, **variables)

    def start_command(self, command: Sequence[str], kind: type[RunningKind], **variables: str | None) -> RunningKind:
        """Starts any program."""
        output = self._outputs / f"{len(self._started)}.out"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=self.environment(**variables),
                cwd=NO_SETTINGS,
            )
        running = kind(process, output, self.data)
        self._started.append(running)
        return running

    def up(self, *arguments: str, **variables: str | None) -> Up:
        """`winnow up`, once it is up."""
        return self.up_soon(*arguments, **variables).wait_for("Winnow is up")

    def up_soon(self, *arguments: str, **variables: str | None) -> Up:
        """`winnow up`, starting."""
        return self.start_command(self.command("up", "--port", "0", *arguments), Up, **variables)

    def sql(self, statement: str) -> list[list[str]]:
        """The rows that `winnow psql` prints."""
        done = self.run("psql", "-At", "-F", "\t", "-c", statement)
        assert done.code == 0, done
        return [line.split("\t") for line in done.out.splitlines()]

    def close(self) -> None:
        """Ends what still runs."""
        for running in self._started:
            running.clean()
        shutil.rmtree(self._outputs, ignore_errors=True)


RunningKind = TypeVar("RunningKind", bound=Running)


def _finished(done: subprocess.CompletedProcess[bytes]) -> Finished:
    finished = Finished(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in finished.out + finished.err, f"{done.args} ends in a traceback:\n{finished.err}"
    return finished


def gone(processes: Iterable[psutil.Process]) -> bool:
    """Whether none of them runs any more."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.fixture(scope="session")
def winnow(open_folder: Path) -> Iterator[Program]:
    """The program over the folder that the suite shares; what needs a state of its own takes `another`."""
    program = Program(open_folder / "shared")
    yield program
    program.close()


@pytest.fixture(scope="session")
def running(winnow: Program) -> Up:
    """The `winnow up` that the suite shares."""
    return winnow.up()


@pytest.fixture
def another(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """The program over a folder of the test's own, which does not exist yet."""
    program = Program(open_folder / request.node.name[:40])
    yield program
    program.close()


@pytest.fixture(scope="session")
def ordinary_python(open_folder: Path) -> tuple[str, dict[str, str]]:
    """A Python that `nobody` can run with our packages, and the variables it needs for that."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = os.pathsep.join([str(CHECKOUT / "backend"), sysconfig.get_path("purelib")])
    program = Program(open_folder)
    for interpreter, variables in ((sys.executable, {}), (f"/usr/bin/{version}", {"PYTHONPATH": packages})):
        # Through a shell: setpriv's own exec still has root's rights to the path.
        check = [*AS_NOBODY, "sh", "-c", '"$0" -c "import winnow.cli.main"', interpreter]
        done = subprocess.run(check, env=program.environment(**variables), cwd="/", capture_output=True, check=False)
        if done.returncode == 0:
            return interpreter, variables
    pytest.skip(f"the user nobody can run neither {sys.executable} nor /usr/bin/{version} with this checkout")


@pytest.fixture
def ordinary(another: Program, request: pytest.FixtureRequest) -> Program:
    """`another`, run by an ordinary user: as root by `nobody`."""
    if os.geteuid() == 0:
        another.interpreter, another.variables = request.getfixturevalue("ordinary_python")
        another.prefix = AS_NOBODY
    return another
