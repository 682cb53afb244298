"""A message's words change: what was read out of the old ones goes, and the new ones are scored, read and embedded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from winnow.domain.jobs import EmbedJob, Kind, Lane, ScoreJob
from winnow.domain.messages import IncomingMessage, still_to_come
from winnow.errors import InvalidInput, MessageNotFound
from winnow.pipeline.score import count_votes
from winnow.storage.edits import Edit, apply_edits, note_edits, write_moments
from winnow.storage.messages import Fate, StoredMessage, message_identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from winnow.domain.scoring import ScoreRules
    from winnow.pipeline.intake import Intake
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitOfWork, UnitsOfWork


def edits_among(messages: Sequence[IncomingMessage], stored: Sequence[StoredMessage]) -> list[Edit]:
    """Of messages that were handed in, the latest edit of each; also to the text that is stored."""
    latest: dict[int, Edit] = {}
    for message, told in zip(messages, stored, strict=True):
        if told.fate not in {Fate.EDITED, Fate.KNOWN} or told.id is None or message.edited_at is None:
            continue
        edit = Edit(id=told.id, text=message.text, edited_at=message.edited_at, details=message.details)
        known = latest.get(edit.id)
        if known is None or known.edited_at < edit.edited_at:
            latest[edit.id] = edit
    return list(latest.values())


async def make_edits(
    work: UnitOfWork, edits: Sequence[Edit], stored: Sequence[StoredMessage], *, lane: Lane, rules: ScoreRules
) -> list[StoredMessage]:
    """Makes the edits, and has what is new scored and embedded; tells of each message what became of it in the end.

    What was voted on in the old words loses these votes, and is in its class again by `rules`.
    One that somebody else edited later in the same moment is `OLDER`.
    """
    if any(one.fate is Fate.EDITED for one in stored):
        applied = await apply_edits(work, edits)
        changed = applied.changed
        await count_votes(work, applied.voted_on, rules)
    else:  # nothing rests on a moment
        changed = set()
        await note_edits(work, edits)
    ids = tuple(sorted(changed))
    work.promise(ScoreJob(ids), lane)
    work.promise(EmbedJob(Kind.MESSAGES, ids), lane)
    return [
        replace(one, fate=Fate.OLDER) if one.fate is Fate.EDITED and one.id not in changed else one for one in stored
    ]


async def put_times_right(
    units: UnitsOfWork, messages: Sequence[IncomingMessage], done: Sequence[StoredMessage], *, zone: tzinfo
) -> int:
    """Of messages that were known already, with local times that are of `zone`: how many were stored with another's.

    Which times are local their `tzinfo` tells: it is the very `zone` that their source was given to read them in.
    """
    moments = {
        told.id: message.sent_at
        for message, told in zip(messages, done, strict=True)
        if told.fate in {Fate.KNOWN, Fate.OLDER} and told.id is not None and message.sent_at.tzinfo is zone
    }
    if not moments:
        return 0
    async with units.begin() as work:
        return await write_moments(work, moments)


async def edit_message(database: Database, intake: Intake, message_id: int, text: str, at: datetime | None) -> Fate:
    """Gives one message another text, `at` a moment (None: now).

    Raises:
        MessageNotFound: it is not stored.
        InvalidInput: the text is too long, or the moment no good or still to come.
    """
    now = datetime.now(UTC)
    if ahead := still_to_come(now, edited_at=at):
        raise InvalidInput(ahead)
    known = await message_identity(database, message_id)
    if known is None:
        raise MessageNotFound(f"there is no message {message_id}")
    if at is None:  # a clock that went wrong once makes no message that can never be changed again
        at = max(now, (known.edited_at or known.sent_at) + timedelta(microseconds=1))
    message = IncomingMessage(
        source=known.source,
        channel=known.channel,
        external_id=known.external_id,
        author=known.author,
        text=text,
        sent_at=known.sent_at,
        edited_at=at,
    )
    return (await intake.store([message])).messages[0].fate
