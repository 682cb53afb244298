"""Logs are events with bound ids: a console for a terminal, JSON lines otherwise, always on stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

    from winnow.settings import Settings

# Without the local variables: they hold people's messages.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
_CHATTY = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "nats", "taskiq", "alembic", "uvicorn", "asyncio")


def configure_logging(settings: Settings) -> None:
    """Sends structlog's and the standard library's records through one renderer to stderr."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=_coloured(), exception_formatter=structlog.dev.plain_traceback)]
        if as_console
        else [_TRACEBACKS, structlog.processors.JSONRenderer()]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    # On a full disk each line would else bring a traceback with it, to where nothing can be written.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    logging.getLogger("taskiq.receiver").setLevel(logging.CRITICAL)  # `task.failed` has the same traceback
    # Our own events do not take the way through `logging`: it costs as much again as all the rest of a line.
    structlog.configure(
        processors=[*shared, *render],
        logger_factory=_Stderr,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )


class _Stderr:
    """Writes lines to what is stderr at that moment; a disk that is full behind it costs the line and nothing else."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """Writes it, whatever its level."""
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")  # see no-color.org
