"""Wordings of atoms as stored: what they said, say, and may come to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from winnow.domain.memory import MOST_PROPOSED, Proposal, approves

if TYPE_CHECKING:
    from winnow.domain.knowledge import ExtractedAtom
    from winnow.domain.memory import MemoryRules
    from winnow.storage.unit_of_work import UnitOfWork

BY_RULE = "rule"


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
