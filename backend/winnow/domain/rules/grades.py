"""How sure each kind of sign is, and the form of a row in the cue tables.

Graded by reading what each cue finds in real chats, not measured: STRONG is right about three times in four, WEAK about
every second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from winnow.domain.knowledge import AtomType

EXPLICIT = 0.95
"""Somebody marked it: `ACTION: …`, `RESOLVED: …`."""
STRONG = 0.7
CHOSEN = 0.6
"""Somebody names what to take: a candidate until somebody agrees."""
FAIR = 0.55
MODEST = 0.5
WEAK = 0.45
NOTED = 0.4
"""From here on something is worth a reader's look; what is less sure is kept as a candidate, and hidden."""
CANDIDATE = 0.36
"""No more than a candidate alone; agreement or an answer lifts it."""
FLOOR = 0.2
"""Below: not kept at all."""


@dataclass(frozen=True, slots=True)
class CueRow:
    """A sentence that matches one of `says` and none of `unless` speaks of `type`.

    Patterns use bounded quantifiers only and never nest them, so that no text makes them slow.
    """

    type: AtomType
    confidence: float
    says: tuple[str, ...]
    unless: tuple[str, ...] = ()
