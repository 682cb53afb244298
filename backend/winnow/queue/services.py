"""The names by which our processes answer over NATS; alone in a file, for the health check must not load a client."""

from __future__ import annotations

from typing import Final

WORKER: Final = "winnow-worker"
SWEEPER: Final = "winnow-sweeper"
