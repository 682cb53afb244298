"""What every benchmark is given and gives back: options in, tables out."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Cell = str | int | float


@dataclass(frozen=True, kw_only=True)
class Options:
    """`data` is the folder named on the command line; `quick` asks for a tenth of the work and rougher figures.

    `final` asks for figures on what was kept apart, too: for once, when all is done.
    """

    data: Path | None = None
    quick: bool = False
    final: bool = False

    def count(self, full: int, quick: int) -> int:
        """How much to do."""
        return quick if self.quick else full


@dataclass(kw_only=True)
class Table:
    """Rows of figures under a title. `notes` say what must be known to read them."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_markdown(self) -> str:
        """The table as it stands in README.md."""
        lines = [[shown(cell) for cell in row] for row in [self.columns, *self.rows]]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        rules = ["-" * width if not place else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
        drawn = [_line(line, widths) for line in [lines[0], rules, *lines[1:]]]
        return "\n".join([f"**{self.title}**", "", *drawn, *([""] if self.notes else []), *self.notes])

    def as_data(self) -> dict[str, object]:
        """The table for programs: a row is an object with the columns' names."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": self.notes}


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(aligned)} |"


def shown(cell: Cell) -> str:
    """A figure as people read it: three figures that mean something."""
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else cell
    if cell == 0 or not math.isfinite(cell):
        return f"{cell:.0f}"
    places = max(0, 2 - math.floor(math.log10(abs(cell))))
    return f"{cell:,.{min(places, 4)}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)
