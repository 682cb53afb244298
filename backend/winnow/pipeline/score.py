"""Every message gets an importance, a class and its conversation; noise leaves the queue for extraction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Lane
from winnow.domain.scoring import RULES, ScoreRules, score, with_votes
from winnow.domain.threads import HORIZON_SECONDS, LOOK_BACK, READ_CHARACTERS, Linker, Said
from winnow.storage.messages import StoredScore, unscored_messages, write_scores
from winnow.storage.threads import (
    dequeue_noise,
    lock_channel,
    named_messages,
    replace_scores,
    save_links,
    stretch_of_channel,
    unlinked_messages,
    voted_on,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.domain.threads import Link
    from winnow.pipeline.score_by_model import ModelScorer
    from winnow.storage.engine import Database
    from winnow.storage.extraction import StoredMessage
    from winnow.storage.messages import UnscoredMessage
    from winnow.storage.threads import NamedMessage, StretchMessage, UnlinkedMessage
    from winnow.storage.unit_of_work import UnitOfWork, UnitsOfWork

log = structlog.get_logger(__name__)

# Messages between those to be linked are read, too; where there are more, the rest is a stretch of its own.
_MORE_OF_A_STRETCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What scoring and linking need. With a `model`, messages are stored unscored, and it scores them here."""

    database: Database
    units: UnitsOfWork
    rules: ScoreRules = RULES
    model: ModelScorer | None = None


async def score_messages(tools: Scoring, ids: Sequence[int], *, lane: Lane = Lane.BULK) -> int:
    """Scores those of the messages that have no importance and links those that are in no conversation.

    Over the live lane no model is waited for long. Says how many it scored or linked. Safe to repeat, and to lose: the
    sweeper finds what waits for extraction without either, and extraction scores for itself what it must read.
    """
    unscored = await unscored_messages(tools.database, ids)
    scored_now = await _score(tools, unscored, hurry=lane is Lane.LIVE)
    async with tools.units.begin() as work:
        unlinked = await unlinked_messages(work, ids)
    for (source, channel), group in groupby(unlinked, key=lambda message: (message.source, message.channel)):
        async with tools.units.begin() as work:
            await lock_channel(work, source, channel)
            await _link(work, list(group), tools.rules)
    if scored_now:
        async with tools.units.begin() as work:
            await count_votes(work, scored_now, tools.rules)
    return len({*scored_now, *(message.id for message in unlinked)})


def scored(message: UnscoredMessage | StoredMessage, rules: ScoreRules) -> StoredScore:
    """The message's score by the rules."""
    judged = score(message.text, message.author, message.details, rules)
    return StoredScore(id=message.id, text=message.text, score=judged)


async def _score(tools: Scoring, unscored: Sequence[UnscoredMessage], *, hurry: bool) -> list[int]:
    if not unscored:
        return []
    told = await tools.model.score(unscored, tools.rules, hurry=hurry) if tools.model is not None else {}
    scores = [
        StoredScore(id=message.id, text=message.text, score=told[message.id])
        if message.id in told
        else scored(message, tools.rules)
        for message in unscored
    ]
    await write_scores(tools.database, scores)
    return [message.id for message in scores]


async def _link(work: UnitOfWork, unlinked: list[UnlinkedMessage], rules: ScoreRules) -> None:
    """Links messages of one channel, in the order they were said, whenever they arrived; the channel is locked."""
    done = {message.id for message in unlinked}
    still = await unlinked_messages(work, sorted(done))  # whoever held the lock may have linked them
    voted_on: set[int] = set()
    while still:
        links, seen = await _links_of_stretch(work, still)
        await save_links(work, links)
        voted_on |= {link.parent_id for link in links if link.vote and link.parent_id}
        done |= {link.message_id for link in links}
        still = [message for message in still if message.id not in seen]
    await count_votes(work, sorted(voted_on), rules)  # once, for rows are locked in id order
    await dequeue_noise(work, sorted(done))


async def _links_of_stretch(work: UnitOfWork, unlinked: Sequence[UnlinkedMessage]) -> tuple[list[Link], set[int]]:
    """Links for all that lack one in the stretch from the first of the messages on, and the ids that it saw.

    Others that lack one there are linked as well: their job is late or lost, and what they say decides what is meant by
    those that come after them.
    """
    first, last = unlinked[0], unlinked[-1]
    stretch = await stretch_of_channel(
        work,
        first,
        last,
        before=LOOK_BACK,
        most=len(unlinked) + _MORE_OF_A_STRETCH,
        before_seconds=HORIZON_SECONDS,
        characters=READ_CHARACTERS,
    )
    named = await _named(work, first.source, first.channel, stretch)
    said = [_said(message, named) for message in stretch]
    linker = Linker()
    linker.introduce(said)
    for target in named.values():
        linker.place(target.id, target.conversation_id or target.id, _who(target))
    links = []
    for one, message in zip(said, stretch, strict=True):
        if message.conversation_id is None:
            links.append(linker.link(one))
        else:
            linker.remember(one, message.conversation_id)
    return links, {first.id, *(message.id for message in stretch)}


async def _named(
    work: UnitOfWork, source: str, channel: str, stretch: Sequence[StretchMessage]
) -> dict[str, NamedMessage]:
    names = {name for message in stretch for name in (message.reply_to, message.thread) if name is not None}
    return await named_messages(work, source, channel, sorted(names))


def _said(message: StretchMessage, named: Mapping[str, NamedMessage]) -> Said:
    """As the linker takes it. A thread hangs on the message whose id it has, unless nobody said that (a topic)."""
    answered = named.get(message.reply_to or "")
    root = named.get(message.thread or "")
    hangs_on = root.id if root is not None and "service" not in root.details else None
    return Said(
        id=message.id,
        author=_who(message),
        name=message.author,
        text=message.text,
        at=message.sent_at.timestamp(),
        reply_to=None if answered is None else answered.id,
        thread=None if hangs_on == message.id else message.thread,
        root=hangs_on,
        album=message.details.get("media_group"),
        service="service" in message.details,
    )


def _who(message: NamedMessage) -> str:
    return message.author_id or message.author.casefold()


async def count_votes(work: UnitOfWork, ids: Sequence[int], rules: ScoreRules) -> None:
    """People's votes on the messages become part of their scores, and those that are withdrawn none any more."""
    if not ids:
        return
    scores = {one.id: with_votes(one.importance, one.factors, one.votes, rules) for one in await voted_on(work, ids)}
    if scores:
        await replace_scores(work, scores)
        await dequeue_noise(work, sorted(scores))
