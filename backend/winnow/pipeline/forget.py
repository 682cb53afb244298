"""Messages are forgotten: with what was read out of them, their vectors, and what the ledgers say of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from winnow.domain.messages import storable
from winnow.errors import InvalidInput
from winnow.pipeline.score import count_votes
from winnow.storage.forgetting import (
    Author,
    Removed,
    Selection,
    authors_of,
    choose,
    delete_empty_topics,
    delete_messages,
    remember,
    remember_identities,
    weigh,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)

# A transaction holds up extractions that would be committed just then: for about a tenth of a second.
BATCH_MESSAGES = 500
PAGE_IDS = 50_000
MOST_AUTHORS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was removed, or, of a dry run, would be. `complete`: nothing that was chosen is left.

    `authors`: of a dry run, who said it, the 20 busiest of them: one name may be that of several people.
    """

    removed: Removed = field(default_factory=Removed)
    dry_run: bool = False
    complete: bool = True
    authors: tuple[Author, ...] = ()


def by_ids(ids: Sequence[int]) -> Selection:
    """The messages of these ids."""
    return Selection(statement="chosen_by_ids", values=(list(ids),))


def by_author(author: str, *, channel: str | None = None, source: str | None = None) -> Selection:
    """All that somebody said, by the name as it is shown or by the source's own id of the author.

    Raises:
        InvalidInput: the name is blank; those whose author nobody told are not one person's.
    """
    if not author.strip():
        raise InvalidInput("say whose messages: the author's name, or the source's id of the author")
    given = (storable(author), channel and storable(channel), source and storable(source))
    return Selection(statement="chosen_by_author", values=given)


def by_channel(source: str, channel: str) -> Selection:
    """All of a channel."""
    return Selection(statement="chosen_by_channel", values=(storable(source), storable(channel)))


def older_than(source: str, channel: str, *, days: int) -> Selection:
    """What is older than its channel is to keep it."""
    return Selection(statement="chosen_by_age", values=(source, channel, days))


async def weigh_forgetting(database: Database, chosen: Selection) -> Receipt:
    """What would be removed; nothing is."""
    ids: list[int] = []
    while page := await choose(database, chosen, after=ids[-1] if ids else 0, limit=PAGE_IDS):
        ids += page
    authors = await authors_of(database, ids, most=MOST_AUTHORS)
    return Receipt(removed=await weigh(database, ids), dry_run=True, authors=authors)


async def forget(
    units: UnitsOfWork,
    database: Database,
    chosen: Selection,
    *,
    for_ever: bool = True,
    most: int | None = None,
    tell: Callable[[Removed], None] = lambda _removed: None,
) -> Receipt:
    """Removes the chosen messages with all that rests on them, some at a time.

    Safe to interrupt, and to repeat: what is left is found again.

    Args:
        units: for the transactions.
        database: where they are.
        chosen: which messages.
        for_ever: a later import does not bring them back; of each a hash of its identity is kept for that.
        most: messages in this call; None: all.
        tell: is told after each batch how much was removed so far.
    """
    removed, topics, kept, queued, last, left = Removed(), set[int](), set[int](), set[int](), 0, most
    while left is None or left > 0:
        limit = BATCH_MESSAGES if left is None else min(BATCH_MESSAGES, left)
        ids = await choose(database, chosen, after=last, limit=limit)
        if not ids:
            break
        last = ids[-1]
        if for_ever:  # before the messages go: who brings one in this moment finds either it or this
            await remember(database, ids)
        async with units.begin() as work:
            gone = await delete_messages(work, ids, queued=queued)
            await count_votes(work, gone.voted_on, units.thresholds)
        removed, topics, kept = removed + gone.removed, topics | gone.topic_ids, (kept | gone.kept_ids) - gone.gone_ids
        queued |= gone.queued
        left = None if left is None else left - len(ids)
        tell(removed)
    if topics:
        async with units.begin() as work:
            removed += await delete_empty_topics(work, sorted(topics))
    removed += Removed(atoms_kept=len(kept))
    complete = left is None or left > 0 or not await choose(database, chosen, after=last, limit=1)
    if removed.messages:
        log.info("forget.finished", messages=removed.messages, atoms=removed.atoms, for_ever=for_ever)
    return Receipt(removed=removed, complete=complete)


async def forget_identities(
    units: UnitsOfWork, database: Database, source: str, channel: str, external_ids: Sequence[str]
) -> Receipt:
    """Removes messages that their source says were deleted; one that is on its way is not stored any more."""
    source, channel, names = storable(source), storable(channel), [storable(name) for name in external_ids]
    await remember_identities(database, source, channel, names)
    chosen = Selection(statement="chosen_by_identities", values=(source, channel, names))
    return await forget(units, database, chosen)
