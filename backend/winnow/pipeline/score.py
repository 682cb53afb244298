"""Every message gets an importance and a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.scoring import score
from winnow.storage.messages import StoredScore, unscored_messages, write_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.storage.engine import Database


async def score_messages(database: Database, ids: Sequence[int]) -> int:
    """Scores those of the messages that have no importance yet, and says how many; safe to repeat."""
    messages = await unscored_messages(database, ids)
    scores = []
    for message in messages:
        found = score(message.text, message.author)
        scores.append(StoredScore(id=message.id, importance=found.importance, signal=found.kind.value))
    if scores:
        await write_scores(database, scores)
    return len(scores)
