"""How far an import is, on a terminal: a bar by bytes, messages, messages a second and the time left."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from winnow.pipeline.import_report import ImportReport


@contextmanager
def import_bar(console: Console, files: int) -> Iterator[Callable[[ImportReport], None]]:
    """Shows the bar while the block lasts, and gives what it is to be told with; draws nothing where nobody looks."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[messages]} messages {task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        expand=True,
    )
    with bar:
        task = bar.add_task("reading", total=None, messages="0", rate="")
        started = time.monotonic()

        def tick(report: ImportReport) -> None:
            seconds = time.monotonic() - started
            fresh = report.messages - report.resumed
            bar.update(
                task,
                description="reading" if files == 1 else f"reading {min(report.files + 1, files)}/{files}",
                completed=report.bytes,
                total=report.size or None,
                messages=f"{report.messages:,}",
                rate=f"{fresh / seconds:,.0f}/s" if seconds > 1 else "",
            )

        yield tick
