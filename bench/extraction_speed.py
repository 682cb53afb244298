"""How fast messages become knowledge without a model: score, link, cut windows, extract; one core, no database.

`python -m bench extraction_speed [--data FOLDER]`: chats of odd years (or the examples'), in processor seconds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.extraction import as_stored, chats, meetings_folder, said_in
from bench.tables import Table

from winnow.domain.rules import extract_by_rules
from winnow.domain.windows import cut_windows

if TYPE_CHECKING:
    from bench.tables import Options

    from winnow.domain.knowledge import Window

TARGET = 2_000
ROUNDS = 3


async def run(options: Options) -> list[Table]:
    """The best of some rounds: what else the machine does can only slow it down."""
    paths = chats(meetings_folder(options), "odd")
    talks = [(path.stem, said_in(path)) for path in paths]
    messages = sum(len(said) for _, said in talks)
    best = [float("inf")] * 3
    windows: list[Window] = []
    atoms = 0
    for _ in range(options.count(ROUNDS, 1)):
        times = [time.process_time()]
        stored = [(name, as_stored(said, range(len(said)))) for name, said in talks]
        times.append(time.process_time())
        windows = [window for name, said in stored for window in cut_windows(said, channel=name)]
        times.append(time.process_time())
        atoms = sum(len(extract_by_rules(window).atoms) for window in windows)
        times.append(time.process_time())
        best = [min(one, later - earlier) for one, earlier, later in zip(best, times[:-1], times[1:], strict=True)]
    rate = messages / sum(best)
    table = Table(
        title=f"extraction without a model: {messages:,} messages on one core, no database",
        columns=("what", "messages a second"),
        notes=[f"{len(windows):,} windows, {atoms:,} atoms with hidden ones. The best of {ROUNDS} rounds."],
    )
    for name, seconds in zip(("scores and links", "windows", "extraction"), best, strict=True):
        table.rows.append((name, round(messages / seconds)))
    met = "met" if rate >= TARGET else "MISSED"
    table.rows.append((f"all (target {TARGET:,}: {met})", round(rate)))
    return [table]
