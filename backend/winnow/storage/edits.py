"""Edits as stored: the new words, and none of what rested on the old ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.storage.messages import as_json
from winnow.storage.named import fetch
from winnow.storage.threads import voted_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.messages import Details
    from winnow.storage.unit_of_work import UnitOfWork

EDITED = "a message of it was edited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A stored message's new text, and since when it has it; `details` replace those stored, if any."""

    id: int
    text: str
    edited_at: datetime
    details: Details


async def hold_knowledge(connection: AsyncConnection) -> None:
    """Until the transaction ends, no message is edited or removed."""
    await fetch(connection, "hold_knowledge", False)


@dataclass(frozen=True, slots=True)
class Applied:
    """The messages that have another text now, and those that they voted on with the old one."""

    changed: set[int]
    voted_on: Sequence[int] = ()


async def apply_edits(work: UnitOfWork, edits: Sequence[Edit]) -> Applied:
    """Gives messages their new texts, where these are newer than what is stored.

    What was extracted from the old words goes, as do score and conversation; runs that read them just now are given up,
    and the messages are queued again. Vectors go by the tables' triggers. At most one edit of each message.
    """
    if not edits:
        return Applied(set())
    ids = [edit.id for edit in edits]
    await work.fetch("lock_channels_of", ids)
    await work.fetch("hold_knowledge", True)
    await work.fetch("lock_with_voted_on", ids)
    rows = await work.fetch("lock_outdated", ids, [edit.edited_at for edit in edits], [edit.text for edit in edits])
    changed = {row.id for row in rows if row.changes}
    await note_edits(work, [edit for edit in edits if edit.id not in changed])
    new = sorted((edit for edit in edits if edit.id in changed), key=lambda edit: edit.id)
    if not new:
        return Applied(set())
    voted_on = await voted_by(work, sorted(changed))
    await _write(work, new)
    return Applied(changed, voted_on)


async def note_edits(work: UnitOfWork, edits: Sequence[Edit]) -> None:
    """Notes that messages were edited to the text that is stored."""
    if edits:
        await work.fetch("write_edit_moments", [edit.id for edit in edits], [edit.edited_at for edit in edits])


async def _write(work: UnitOfWork, edits: Sequence[Edit]) -> None:
    ids = [edit.id for edit in edits]
    topics = {row.topic_id for row in await work.fetch("topics_of_messages", ids)}
    await work.fetch("abandon_runs", ids, EDITED)
    await work.fetch("forget_windows", ids)
    gone = (await work.fetch("delete_knowledge", ids))[0]
    await work.fetch(
        "write_edits",
        ids,
        [edit.text for edit in edits],
        [edit.edited_at for edit in edits],
        [as_json(edit.details) for edit in edits],
    )
    if topics := topics | set(gone.topic_ids):
        await work.fetch("delete_empty_topics", sorted(topics))
