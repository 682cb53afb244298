"""A topic gets another name: it stays the same topic, and is embedded again by its new words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.domain.messages import storable
from winnow.errors import InvalidInput, NameTaken, TopicNotFound
from winnow.storage.reading_topics import rename_topic as rename

if TYPE_CHECKING:
    from winnow.storage.unit_of_work import UnitsOfWork

MOST_NAME_CHARACTERS = 200


async def rename_topic(units: UnitsOfWork, topic_id: int, name: str) -> None:
    """Gives it this name; what is filed under it stays there.

    Raises:
        InvalidInput: the name is blank, or too long.
        TopicNotFound: there is none of this id.
        NameTaken: another topic has this name.
    """
    name = " ".join(storable(name).split())
    if not name or len(name) > MOST_NAME_CHARACTERS:
        raise InvalidInput(f"a topic's name has 1 to {MOST_NAME_CHARACTERS} characters")
    async with units.begin() as work:
        done = await rename(work, topic_id, name)
        if done is None:
            raise TopicNotFound(f"there is no topic {topic_id}")
        if not done:
            raise NameTaken(f"another topic is called {name}")
        work.promise(EmbedJob(Kind.TOPICS, (topic_id,)), Lane.LIVE)
