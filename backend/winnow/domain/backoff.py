"""How long to wait before the next try."""

from __future__ import annotations

import random

FIRST_SECONDS = 2.0
LONGEST_SECONDS = 600.0
LEAST_SPREAD_SECONDS = 0.05


def backoff_seconds(failures: int, *, at_least: float | None = None, random_share: float | None = None) -> float:
    """Full jitter: anything up to 2 s doubled with each failure, 10 min at most; the server's own wish comes first.

    Args:
        failures: how often it failed before, from 0.
        at_least: the server's `Retry-After`, in seconds.
        random_share: 0 to 1, drawn when not given.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    share = random.random() if random_share is None else random_share  # noqa: S311 - not a secret
    ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures, 20))
    if not at_least:
        return share * ceiling
    # The server knows when it can be asked again; what is added keeps its callers from coming all at once.
    return at_least + share * min(ceiling, max(LEAST_SPREAD_SECONDS, at_least / 4) * 2.0 ** min(failures, 20))
