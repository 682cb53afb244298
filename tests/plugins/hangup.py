"""The suite may run under nohup, or in a script's background; the programs it starts must not know of that.

They would heed no hangup, or no Ctrl-C, either.
"""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """An ignored signal is ignored by all that is started here; one with a handler is not, and does as little."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)
