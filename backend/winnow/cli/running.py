"""How a command runs: settings, logs, one event loop, and an exit code that tells."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, TypeVar

import structlog
import typer
from rich.console import Console

from winnow.errors import WinnowError
from winnow.logs import configure_logging
from winnow.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

INTERRUPTED = 130
# Set by `winnow up` for the processes it starts: they end when it does, even when it was killed.
SUPERVISOR_VARIABLE = "WINNOW_SUPERVISOR_PID"
ORPHAN_CHECK_SECONDS = 1.0

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def settings_for(*, talks: bool = True, **overrides: object) -> Settings:
    """Settings with the command line's on top, and logs set up. Commands that talk to a person log warnings only."""
    with friendly():
        settings = load_settings(**overrides)
        quiet = talks and "log_level" not in settings.model_fields_set
        configure_logging(settings.model_copy(update={"log_level": "warning"}) if quiet else settings)
        return settings


def run(main: Callable[[], Coroutine[None, None, Result]]) -> Result:
    """Runs a command's coroutine; every Winnow error becomes one sentence and an exit code."""
    with friendly():
        return asyncio.run(main())


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
        if isinstance(error, BrokenPipeError):
            # Whoever read our output has gone, for example `head`; nothing is wrong.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


async def until_stopped(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs a server until SIGTERM, SIGINT, or the end of the supervisor; a second signal leaves at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            log.warning("process.leaving_now", signal=signal.Signals(number).name)
            os._exit(INTERRUPTED)
        log.info("process.stopping", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
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
