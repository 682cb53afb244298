"""The `winnow` program: Ctrl-C ends it quietly also while it is still loading."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Loads the command line and runs it."""
    try:
        from winnow.cli.main import app  # noqa: PLC0415 - the loading is what may be interrupted

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
