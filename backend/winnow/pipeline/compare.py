"""Atoms that have a vector now are compared with those nearest to them; what says the same becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.sameness import ALIKE, Verdict, verdict
from winnow.storage.merging import merge, nearest_atoms, still_apart
from winnow.storage.reviews import hold_atoms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from winnow.storage.engine import Database
    from winnow.storage.merging import Pair
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """What comparing needs."""

    database: Database
    units: UnitsOfWork


async def compare_atoms(tools: Comparing, ids: Sequence[int]) -> int:
    """Merges those of the atoms that say the same as another into the older one, and says how many.

    One look-up for all of them; a transaction only where something is merged. No words change by it, so nothing is
    embedded or compared anew because of it.
    """
    same = _same(await nearest_atoms(tools.database, ids, least_likeness=ALIKE))
    if not same:
        return 0
    async with tools.units.begin() as work:
        await hold_atoms(work)
        merged = dict[int, int]()
        for pair in await still_apart(work, same):
            lost, kept = max(pair.newer, pair.older), min(pair.newer, pair.older)
            while kept in merged:
                kept = merged[kept]
            if lost not in merged and lost != kept:
                await merge(work, lost, kept)
                merged[lost] = kept
    log.info("compare.merged", atoms=len(merged))
    return len(merged)


def _same(pairs: Iterable[Pair]) -> list[Pair]:
    """Pairs that the words, too, say are the same; each once, by their ids."""
    found: dict[tuple[int, int], Pair] = {}
    for pair in pairs:
        key = (min(pair.newer, pair.older), max(pair.newer, pair.older))
        if key not in found and verdict(pair.older_content, pair.newer_content, likeness=pair.likeness) is Verdict.SAME:
            found[key] = pair
    return [found[key] for key in sorted(found)]
