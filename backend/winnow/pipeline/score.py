"""Every message gets an importance and a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.scoring import score
from winnow.storage.messages import StoredScore, unscored_messages, write_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.storage.engine import Database
    from winnow.storage.extraction import StoredMessage
    from winnow.storage.messages import UnscoredMessage


async def score_messages(database: Database, ids: Sequence[int]) -> int:
    """Scores those of the messages that have no importance yet, and says how many; safe to repeat, and to lose.

    Every ingested message is queued for extraction, and the commit of the run that reads it stores the score where none
    is (`pipeline.extract`): a lost job costs a message its score only until then. So nobody needs to look for unscored
    messages, and no index on `importance` ends their cheap (HOT) updates.
    """
    scores = [scored(message) for message in await unscored_messages(database, ids)]
    if scores:
        await write_scores(database, scores)
    return len(scores)


def scored(message: UnscoredMessage | StoredMessage) -> StoredScore:
    """The message's score, by its text and author alone."""
    found = score(message.text, message.author)
    return StoredScore(id=message.id, importance=found.importance, signal=found.kind.value)
