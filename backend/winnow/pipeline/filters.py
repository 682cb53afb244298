"""What a caller asks for by names, turned into what the database knows: channels by title, topics by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from winnow.domain.messages import storable
from winnow.storage.conditions import Said
from winnow.storage.reading import places_of
from winnow.storage.reading_topics import topic_called

if TYPE_CHECKING:
    from datetime import datetime

    from winnow.storage.atom_filter import AtomFilter
    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedMessages:
    """Messages as a caller names them: by channel (identity or title), source, and author (name or the source's id)."""

    channel: str | None = None
    source: str | None = None
    author: str | None = None


async def said_by(
    database: Database, asked: AskedMessages, *, since: datetime | None = None, until: datetime | None = None
) -> Said:
    """The messages that are meant, from `since` until before `until`."""
    channel, source, author = map(_plain, (asked.channel, asked.source, asked.author))
    places = await places_of(database, channel, source=source) if channel is not None else None
    return Said(source=source, places=places, author=author, since=since, until=until)


async def whole_filter(
    database: Database, wanted: AtomFilter, *, topic: str | None = None, messages: AskedMessages | None = None
) -> AtomFilter:
    """The filter with a topic, by id or name, and the messages that atoms are to rest on.

    Raises:
        TopicNotFound: there is no such topic; it says which are called alike.
    """
    return replace(
        wanted,
        topic_id=await topic_called(database, storable(topic)) if topic is not None else wanted.topic_id,
        said=await said_by(database, messages) if messages is not None else wanted.said,
        extractor=_plain(wanted.extractor),
        text=_plain(wanted.text),
    )


def _plain(given: str | None) -> str | None:
    return None if given is None else storable(given)
