"""How a command runs: settings, logs, one event loop, and an exit code that tells."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from io import TextIOWrapper
from itertools import count
from typing import TYPE_CHECKING, Literal, TypeVar

import structlog
import typer
from rich.console import Console
from typing_extensions import override

from winnow.cli.render import json_text
from winnow.errors import WinnowError
from winnow.logs import configure_logging
from winnow.providers.factory import check_embedder
from winnow.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

INTERRUPTED = 130
# Set by `winnow up` for the processes it starts: they end when it does, even when it was killed.
SUPERVISOR_VARIABLE = "_WINNOW_SUPERVISOR_PID"
ORPHAN_CHECK_SECONDS = 1.0


class _Console(Console):
    @override
    def on_broken_pipe(self) -> None:
        """Whoever read our output has gone, for example `head`: nothing is wrong, and the work goes on unseen."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


console = _Console(highlight=False)
errors = _Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """The one thing on stdout of a command with `--json`."""
    console.print(json_text(console, value, indent=2), markup=False, soft_wrap=True)


def settings_for(*, logs: Literal["all", "warnings", "errors"] = "errors", **overrides: object) -> Settings:
    """Settings with the command line's on top, and logs set up.

    Args:
        logs: `all` is a service's, whose logs are its voice. The others are for commands that tell a person themselves
            what befalls them: unless the settings say otherwise, only this much is logged, in lines for people.
        overrides: what the command line says.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a letter that the terminal does not have ends no command
    with friendly():
        settings = load_settings(**overrides)
        check_embedder(settings)  # what is wrong with it is told before any server is started
        configure_logging(settings if logs == "all" else _for_people(settings, logs.removesuffix("s")))
        return settings


def _for_people(settings: Settings, level: str) -> Settings:
    level = settings.log_level if "log_level" in settings.model_fields_set else level
    form = "console" if settings.log_format == "auto" else settings.log_format
    return settings.model_copy(update={"log_level": level, "log_format": form})


def run(main: Callable[[], Coroutine[None, None, Result]]) -> Result:
    """Runs a command's coroutine; every Winnow error becomes one sentence and an exit code."""
    with friendly():
        return asyncio.run(_ending_well(main()))


async def _ending_well(work: Coroutine[None, None, Result]) -> Result:
    """SIGTERM and the end of the terminal do as Ctrl-C does: servers that were started for the command are stopped."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we run in it
    for number in _ending_signals() - {signal.SIGINT}:  # that one is asyncio.run's own
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


def _ending_signals() -> set[signal.Signals]:
    """The signals that ask us to end; under nohup the end of the terminal does not."""
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return {signal.SIGINT, signal.SIGTERM} | (set() if nohup else {signal.SIGHUP})


class friendly:  # noqa: N801 - reads as a statement
    """Turns errors that a person can act upon into a sentence on stderr and an exit code; bugs keep their traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, WinnowError):
            errors.print(f"[bold red]error:[/] {_escape(str(error))}", soft_wrap=True)
            raise typer.Exit(error.exit_code) from None
        if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
            raise typer.Exit(INTERRUPTED) from None


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


async def until_stopped(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs a server until a signal asks it to end, or until its supervisor has gone.

    A second signal drops what is in hand and still stops the servers; a third leaves at once.
    """
    stop = asyncio.Event()
    loop, task, signals = asyncio.get_running_loop(), asyncio.current_task(), count(1)
    assert task is not None  # noqa: S101 - we run in it

    def on_signal(number: int) -> None:
        match next(signals):
            case 1:
                log.info("process.stopping", signal=signal.Signals(number).name)
                stop.set()
            case 2:
                log.warning("process.stopping_now", signal=signal.Signals(number).name)
                task.cancel()
            case _:
                os._exit(INTERRUPTED)

    for number in _ending_signals():
        loop.add_signal_handler(number, on_signal, number)
    watch = asyncio.create_task(_watch_supervisor(stop), name="supervisor watch")
    try:
        await serve(stop)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _watch_supervisor(stop: asyncio.Event) -> None:
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return
    while os.getppid() == int(supervisor):  # noqa: ASYNC110 - no event tells of a parent that was killed
        await asyncio.sleep(ORPHAN_CHECK_SECONDS)
    log.warning("process.orphaned", supervisor=int(supervisor))
    stop.set()
