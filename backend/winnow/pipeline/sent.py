"""What a backfill has sent together, and how it stands: whether more will happen to it, and when it is sent again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.storage.backfill import BatchStanding

if TYPE_CHECKING:
    from winnow.domain.jobs import Kind

# What nobody has in hand after its turn is sent again: a lost task, or a text that was in hand elsewhere.
RESEND_SECONDS = 2.0
# A model server is waited for as long as this in a row; then the rest is left to the sweeper.
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class SentBatch:
    """What was sent together, and how it stood then.

    Attributes:
        kind: of its rows.
        ids: its rows.
        tokens: of their texts, by estimate, where there is a budget.
        sent_at: when, at last.
        again_seconds: how soon after that it is sent again.
        standing: at the last look.
        locked: those of its free rows that somebody's open transaction keeps from being taken.
        resting_since: when it was first seen to wait for the model server.
    """

    kind: Kind
    ids: list[int]
    tokens: int = 0
    sent_at: float = field(default_factory=time.monotonic)
    again_seconds: float = field(default_factory=lambda: RESEND_SECONDS)
    standing: BatchStanding = field(default_factory=BatchStanding)
    locked: frozenset[int] = frozenset()
    resting_since: float | None = None

    def seen(self, standing: BatchStanding) -> None:
        """Notes where it stands; where something has moved, the next sending is due sooner."""
        if standing.free != self.standing.free:
            self.again_seconds, self.locked = RESEND_SECONDS, frozenset()
        self.standing = standing
        if standing.resting and self.resting_since is None:
            self.resting_since = time.monotonic()

    @property
    def over(self) -> bool:
        """Nothing more will happen to its rows for now, or only what is too long to wait for."""
        if self.standing.in_hand or self.standing.free - self.locked:
            return False
        since = self.resting_since if self.standing.resting else None
        return since is None or time.monotonic() - since > PATIENCE_SECONDS

    @property
    def waiting(self) -> int:
        """Rows that wait for a lock to go, for the model server, or for another try."""
        return self.standing.waiting + self.standing.resting + len(self.locked)
