"""The chaos suite's figures, shown at the end of the run whichever process ran the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

FIGURES = "figures"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Shows what tests have told under the property `figures`."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    lines = [str(told) for report in reports for name, told in report.user_properties if name == FIGURES]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)
