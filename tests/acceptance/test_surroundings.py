"""The two commands and the command line behave wherever they are run: whoever by, from whatever folder and terminal."""

from __future__ import annotations

import io
import os
import pty
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from plugins.program import AS_NOBODY, CHECKOUT, NOBODY
from winnow.cli.render import show_overview
from winnow.domain.jobs import Kind
from winnow.pipeline.overview import Overview, QueueState
from winnow.storage.embedding_records import KindCounts
from winnow.storage.status import KnowledgeCounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plugins.program import Program, Up

# What the two commands read besides the sources.
SET_UP = ("Makefile", "pyproject.toml", "README.md", "requirements*.txt")
PARTS = ("backend", "tests")
# A small test with properties, whose examples hypothesis keeps.
SMALL = "tests/unit/test_fusion.py"


# -- the two commands


class Checkout:
    """A copy of this checkout under an awkward name, and `make` in it as an ordinary user, as root `nobody`."""

    def __init__(self, folder: Path, interpreter: str, variables: dict[str, str]) -> None:
        self.folder = folder / "Müllers Ordner, 'n & more" / "winnow"
        self.cache = folder / "cache"
        self.home = folder / "the home"
        self._interpreter, self._variables = interpreter, variables
        self.folder.mkdir(parents=True)
        for pattern in SET_UP:
            for file in CHECKOUT.glob(pattern):
                shutil.copy(file, self.folder)
        for made in (self.cache, self.home):
            made.mkdir()
            give_away(made)

    def fill(self) -> None:
        """Adds the sources."""
        for part in PARTS:
            shutil.copytree(CHECKOUT / part, self.folder / part, ignore=shutil.ignore_patterns("__pycache__", ".*"))

    def close(self) -> None:
        """Nobody can write it any more."""
        subprocess.run(["chmod", "-R", "a+rX,a-w", self.folder], check=True)

    def open(self) -> None:
        """It is the ordinary user's own again."""
        subprocess.run(["chmod", "-R", "u+w", self.folder], check=True)
        give_away(self.folder)

    def make(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs make without HOME, in the plainest of surroundings, its output into a pipe."""
        prefix = AS_NOBODY if os.geteuid() == 0 else ("env",)
        plain = {"PATH": os.environ["PATH"], "LANG": "C", "LC_ALL": "C", "TERM": "dumb"}
        done = subprocess.run(
            [*prefix, "make", f"PYTHON={self._interpreter}", *arguments],
            cwd=self.folder,
            env={**plain, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=110,
            check=False,
        )
        assert "\x1b" not in done.stdout
        return done

    def pretend_set_up(self, venv: Path) -> None:
        """A virtual environment that says it is complete and has the packages of ours: pip would take a minute."""
        (venv / "bin").mkdir(parents=True)
        packages = self._variables.get("PYTHONPATH", "").rpartition(os.pathsep)[2]
        path = os.pathsep.join(filter(None, [str(self.folder / "backend"), packages]))
        for name, words in (("python", ""), ("winnow", "-m winnow.cli.entry")):
            program = venv / "bin" / name
            program.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{self._interpreter}" {words} "$@"\n')
            program.chmod(0o755)
        for done in (".runtime", ".dev"):
            (venv / done).touch()
        for path_below in (venv, *venv.rglob("*")):
            give_away(path_below)


def give_away(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


@pytest.fixture
def checkout(open_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Checkout]:
    """A checkout to run make in."""
    python = request.getfixturevalue("ordinary_python") if os.geteuid() == 0 else (sys.executable, {})
    folder = open_folder / tmp_path.name
    folder.mkdir()
    made = Checkout(folder, *python)
    yield made
    subprocess.run(["chmod", "-R", "u+w", made.folder], check=True)


def test_what_is_made_goes_into_the_checkout_or_else_into_the_user_s_cache(checkout: Checkout) -> None:
    checkout.open()
    assert "setting up .venv (" in checkout.make("-n", "run").stdout
    assert not list(checkout.cache.iterdir())
    checkout.close()
    cache, spaced = str(checkout.cache), str(checkout.home)
    for variables in (
        {"XDG_CACHE_HOME": cache, "HOME": spaced, "TMPDIR": "/nowhere"},
        {"TMPDIR": cache},
        {"HOME": spaced, "TMPDIR": cache},  # make cannot have the space in its path
        {"XDG_CACHE_HOME": "/nowhere/to/write", "HOME": "/nowhere", "TMPDIR": cache},
    ):
        done = checkout.make("-n", "run", **variables)
        assert f"setting up {cache}/winnow-make-" in done.stdout, done
        assert done.returncode == 0
        (made,) = checkout.cache.iterdir()
        assert made.stat().st_mode & 0o077 == 0
    chosen = checkout.make("-n", "run", f"VENV={cache}/chosen", TMPDIR=cache)
    assert f"setting up {cache}/chosen (" in chosen.stdout
    assert not list(checkout.home.iterdir())


def test_both_commands_run_in_a_checkout_that_cannot_be_written(checkout: Checkout) -> None:
    checkout.fill()
    checkout.close()
    before = sorted(checkout.folder.rglob("*"))
    assert checkout.make("help", XDG_CACHE_HOME=str(checkout.cache)).returncode == 0
    (aside,) = checkout.cache.iterdir()
    checkout.pretend_set_up(aside / "venv")
    tested = checkout.make("test", f"ARGS={SMALL} -q", XDG_CACHE_HOME=str(checkout.cache))
    assert tested.returncode == 0, tested
    assert " passed" in tested.stdout
    assert "warning" not in tested.stdout.lower()
    ran = checkout.make("run", "ARGS=--help", XDG_CACHE_HOME=str(checkout.cache))
    assert ran.returncode == 0, ran
    assert "--sample" in ran.stdout
    assert sorted(checkout.folder.rglob("*")) == before
    assert {found.name for found in (aside / "venv" / "cache").iterdir()} >= {"pytest", "hypothesis"}


# -- the command line


def overview_of(most: int) -> Overview:
    counts = KindCounts(total=most, embedded=most, pending=0, in_hand=most, waiting=0, failed=most, skipped=0)
    knowledge = KnowledgeCounts(
        messages_waiting=most,
        messages_in_hand=0,
        messages_failed=0,
        runs={"done": most, "failed": 1},
        atoms={"decision": most, "question": most, "requirement": most},
        events={},
    )
    queue = QueueState(lanes={"live": most, "bulk": most}, sent=most, dead_letters=0, workers=("host:1 (bulk, live)",))
    return Overview(
        embeddings=dict.fromkeys(Kind, counts),
        knowledge=knowledge,
        embedder="local",
        space="local",
        dimensions=256,
        queue=queue,
        queue_error=None,
        last_error="the model server does not answer",
    )


@pytest.mark.parametrize("most", [0, 3_135, 123_456_789])
def test_the_state_of_everything_can_be_read_at_any_width(most: int) -> None:
    for width in range(40, 201, 5):
        written = io.StringIO()
        show_overview(Console(file=written, width=width, highlight=False), overview_of(most))
        lines = written.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        for kind in Kind:
            (line,) = [line for line in lines if line.startswith(f"{kind.value} ") and f"{most:,}" in line][:1]
            words = "".join(lines[lines.index(line) :])
            assert f"{most:,}" in line.split()[1], (width, line)
            assert "failed" in words
        if width >= 120:
            assert lines[0].split() == ["total", "embedded", "pending", "processing", "waiting", "failed", "skipped"]
        assert "…" not in written.getvalue(), "nothing is cut off"


def test_a_terminal_without_abilities_gets_plain_words(winnow: Program, running: Up) -> None:
    told, told_by = pty.openpty()
    with os.fdopen(told, "rb", buffering=0) as screen:
        done = subprocess.run(
            winnow.command("status"),
            env=winnow.environment(TERM="dumb", LANG="C", LC_ALL="C", HOME=None),
            stdin=told_by,
            stdout=told_by,
            stderr=told_by,
            cwd="/",
            timeout=60,
            check=False,
        )
        os.close(told_by)
        words = everything(screen).decode()
    assert done.returncode == 0, words
    assert "\x1b" not in words
    assert "messages" in words
    assert max(map(len, words.splitlines())) <= 80


def everything(screen: io.RawIOBase) -> bytes:
    """All that was written to a terminal whose other end is closed by now."""
    parts = []
    try:
        while part := screen.read(65536):
            parts.append(part)
    except OSError:  # how Linux says that nothing more will come
        pass
    return b"".join(parts)


def test_a_command_without_input_or_output_does_its_work(winnow: Program, running: Up) -> None:
    for ends in ("<&- >&-", ">/dev/null 2>&1 </dev/null"):
        shell = ["sh", "-c", f'exec "$@" {ends}', "sh", *winnow.command("status")]
        done = winnow.run_command(shell, LANG="C", LC_ALL="POSIX", TERM=None)
        assert (done.code, done.err) == (0, "")
