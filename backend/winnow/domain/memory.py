"""By which rules what was found becomes what is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from winnow.domain.knowledge import AtomType
from winnow.domain.sameness import adds_only

CUT = 0.5
# Of wordings that wait for a person; more are not kept for one atom.
MOST_PROPOSED = 5
# What a later statement can put in place of an earlier one.
REPLACEABLE = frozenset({AtomType.DECISION, AtomType.REQUIREMENT})
# What comes to an end outside of the chat, too.
CLOSABLE = frozenset({AtomType.QUESTION, AtomType.PROBLEM, AtomType.BLOCKER, AtomType.ACTION, AtomType.RISK})


class AutoApprove(StrEnum):
    """Which proposed wordings replace the current one without a person.

    SAFE: those that say all that the current one says, and more, with the same numbers, negations and names, are at
    least as sure, and do not touch what a person judged.
    """

    OFF = "off"
    SAFE = "safe"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRules:
    """`cut`: the confidence (0 to 1) below which an atom waits, hidden, for a person."""

    cut: float = CUT
    auto_approve: AutoApprove = AutoApprove.SAFE


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A wording beside the one that it may replace; `reviewed`: a person has judged the atom."""

    current: str
    current_confidence: float
    proposed: str
    confidence: float
    reviewed: bool


def approves(rules: MemoryRules, proposal: Proposal) -> bool:
    """Whether the rules let this wording replace the current one without a person."""
    if rules.auto_approve is not AutoApprove.SAFE:
        return rules.auto_approve is AutoApprove.ALL
    if proposal.reviewed or proposal.confidence < proposal.current_confidence:
        return False
    return adds_only(proposal.current, proposal.proposed)
