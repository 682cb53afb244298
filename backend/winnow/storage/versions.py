"""Wordings of atoms as stored: what they said, say, and may come to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from winnow.domain.memory import MOST_PROPOSED, Proposal, approves
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from datetime import datetime

    from winnow.domain.knowledge import ExtractedAtom
    from winnow.domain.memory import MemoryRules
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork

BY_RULE = "rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One wording; `state` is current, past, proposed or rejected, `made_by` an extractor or a person."""

    version: int
    state: str
    type: str
    title: str
    content: str
    confidence: float
    made_by: str
    reason: str
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None


async def propose(
    work: UnitOfWork, known: Any, atom: ExtractedAtom, *, confidence: float, run_id: int, rules: MemoryRules
) -> int | None:
    """Notes another wording of a known atom, and lets it replace the current one where the rules allow it.

    The number of the wording; None: too many wait already.
    """
    rows = await work.fetch(
        "propose_version", known.id, atom.title, atom.content, confidence, None, run_id, "", MOST_PROPOSED, None
    )
    if not rows:
        return None
    proposal = Proposal(
        current=known.content,
        current_confidence=known.confidence,
        proposed=atom.content,
        confidence=confidence,
        reviewed=known.reviewed,
    )
    if approves(rules, proposal) and not await work.fetch("same_words", known.id, known.type, atom.content):
        await work.fetch("approve_version", known.id, rows[0].version, BY_RULE)
    return int(rows[0].version)


async def versions_of(database: Database, atom_id: int) -> list[VersionRecord]:
    """Every wording of an atom that has more than one, oldest first."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "versions_of_atom", atom_id)
    return [VersionRecord(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name
