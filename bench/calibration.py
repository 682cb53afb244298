"""How far confidence is precision, on what the calibration was made with and on what it was not.

`python -m bench calibration --data FOLDER [--final]`. `python -m bench.calibration --data FOLDER` makes it anew and
prints the table as domain/rules/calibration.py has it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from bench.extraction import chats, meetings_folder
from bench.issue_types import read_threads, threads_file
from bench.meetings import measure
from bench.tables import Options, Table

from winnow.domain.judge_features import log_odds
from winnow.domain.knowledge import AtomType
from winnow.domain.rules.grades import EXPLICIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Seen = list[tuple[float, bool]]
"""Confidence, and whether it was right."""

LEFT_AS_GRADED = frozenset({AtomType.ACTION, AtomType.IDEA})
"""The labels name no action items, and four sentences in ten are labelled as discussion of solutions, ideas or not."""
BINS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.01)
_PRIOR = 6.0
_LEAST_SLOPE = 0.2
_STEPS = 50


def seen(options: Options, *, odd: bool, graded: bool) -> dict[AtomType, Seen]:
    """What was found, by type: decisions in meetings and threads, the others in threads."""
    found: defaultdict[AtomType, Seen] = defaultdict(list)
    path = threads_file(options)
    if path is not None:
        for one in read_threads(path, odd=odd, graded=graded).judged:
            found[one.atom.type].append((one.atom.confidence, one.right))
    if odd or options.final:
        meetings = measure(chats(meetings_folder(options), "odd" if odd else "even"), graded=graded)
        found[AtomType.DECISION] += [(one.confidence, one.right) for one in meetings.judged[AtomType.DECISION]]
    return found


def fit(pairs: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Slope and shift by Newton's method, drawn to 1 and 0. A slope below 0.2 becomes that, and the shift fits it."""
    odds = np.array([log_odds(graded) for graded, _ in pairs])
    right = np.array([float(is_right) for _, is_right in pairs])
    both = np.stack([odds, np.ones_like(odds)], axis=1)
    slope, shift = _newton(both, np.zeros_like(odds), right, np.array([1.0, 0.0]))
    if slope < _LEAST_SLOPE:
        slope = _LEAST_SLOPE
        (shift,) = _newton(both[:, 1:], slope * odds, right, np.array([0.0]))
    return float(slope), float(shift)


def _newton(columns: Floats, offsets: Floats, right: Floats, start: Floats) -> Floats:
    numbers = start.copy()
    for _ in range(_STEPS):
        likely = 1 / (1 + np.exp(-(offsets + columns @ numbers)))
        gradient = columns.T @ (likely - right) + _PRIOR * (numbers - start)
        curvature = (columns.T * (likely * (1 - likely))) @ columns + _PRIOR * np.eye(len(numbers))
        numbers = numbers - np.linalg.solve(curvature, gradient)
    return numbers


def table(title: str, found: Mapping[AtomType, Seen], note: str) -> Table:
    """A row for each stretch of confidence."""
    pairs = [pair for kind, each in found.items() if kind not in LEFT_AS_GRADED for pair in each]
    made = Table(title=title, columns=("confidence", "atoms", "mean confidence", "right"), notes=[note])
    for low, high in pairwise(BINS):
        kept = [(confidence, right) for confidence, right in pairs if low <= confidence < high]
        if kept:
            mean, share = np.mean([one for one, _ in kept]), np.mean([right for _, right in kept])
            made.rows.append((f"{low:.1f} to {min(1.0, high):.1f}", len(kept), float(mean), float(share)))
    brier = np.mean([(confidence - right) ** 2 for confidence, right in pairs]) if pairs else 0.0
    made.rows.append(("Brier score", len(pairs), float(brier), ""))
    return made


async def run(options: Options) -> list[Table]:
    """Reliability on what it was made with, and on threads (and, finally, meetings) that it was not."""
    note = "Types with labels: " + ", ".join(sorted(kind.value for kind in AtomType if kind in seen_types())) + "."
    return [
        table(
            "confidence and precision, odd threads and years: made with these",
            seen(options, odd=True, graded=False),
            note,
        ),
        table(
            "confidence and precision, even threads" + (" and years" if options.final else "") + ": held out",
            seen(options, odd=False, graded=False),
            note,
        ),
    ]


def seen_types() -> frozenset[AtomType]:
    """Those that there are labels for."""
    return frozenset({AtomType.PROBLEM, AtomType.SOLUTION, AtomType.REQUIREMENT, AtomType.INSIGHT, AtomType.DECISION})


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibration", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with minutes/ and issue-types/")
    found = seen(Options(data=parser.parse_args().data), odd=True, graded=True)
    for kind in AtomType:
        pairs = [(graded, right) for graded, right in found.get(kind, []) if graded < EXPLICIT]
        if pairs and kind not in LEFT_AS_GRADED:
            slope, shift = fit(pairs)
            print(f"    AtomType.{kind.name}: ({slope:.3f}, {shift:.3f}),  # {len(pairs)} atoms")


if __name__ == "__main__":
    main()
