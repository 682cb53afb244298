"""From how telling a sign is to how often it is right: a map for each type that people have labelled.

Made by `python -m bench.calibration --data FOLDER`: logistic, so that the surer stays the surer, on meetings of odd
years and issue threads with odd numbers. Types that are not here have no labels to be measured by: their confidence is
as graded. So is an explicit mark's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.grades import EXPLICIT

if TYPE_CHECKING:
    from collections.abc import Mapping

Maps = dict[AtomType, tuple[float, float]]
"""Slope and shift of the log odds, by type."""

MAPS: Maps = {
    AtomType.PROBLEM: (0.200, 0.749),  # 113 atoms
    AtomType.SOLUTION: (0.428, 0.201),  # 30 atoms
    AtomType.DECISION: (1.245, -0.672),  # 247 atoms
    AtomType.INSIGHT: (0.871, 0.399),  # 46 atoms
    AtomType.REQUIREMENT: (0.771, 0.485),  # 22 atoms
}
AS_GRADED: Maps = {}
_LEAST, _MOST = 0.02, 0.94


def calibrated(kind: AtomType, graded: float, maps: Mapping[AtomType, tuple[float, float]] = MAPS) -> float:
    """The share of such atoms that people find right, as far as is known; 0 to 0.95."""
    if graded >= EXPLICIT:
        return EXPLICIT
    if kind not in maps:
        return graded
    slope, shift = maps[kind]
    bounded = min(_MOST, max(_LEAST, graded))
    return min(_MOST, 1 / (1 + math.exp(-(slope * math.log(bounded / (1 - bounded)) + shift))))
