"""Filters of knowledge on the command line, as several commands have them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from winnow.domain.knowledge import AtomStatus, AtomType
from winnow.domain.moments import end_moment, first_moment, last_moment
from winnow.errors import InvalidInput
from winnow.pipeline.filters import AskedMessages, whole_filter
from winnow.storage.atom_filter import AtomFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from winnow.storage.engine import Database

MOST_LISTED = 1000


class Status(StrEnum):
    """A status of atoms, or all of them."""

    ACTIVE = "active"
    CANDIDATE = "candidate"
    UNPROVEN = "unproven"
    REJECTED = "rejected"
    MERGED = "merged"
    ALL = "all"


Types = Annotated[list[AtomType] | None, typer.Option("--type", help="Only this type; may be given several times.")]
Statuses = Annotated[list[Status] | None, typer.Option("--status", help="Only this; active, if nothing is said.")]
Topic = Annotated[str | None, typer.Option("--topic", metavar="ID|NAME", help="Filed under this topic.")]
Channel = Annotated[str | None, typer.Option("--channel", metavar="CHANNEL|TITLE", help="Said in this channel.")]
Source = Annotated[str | None, typer.Option("--source", help="From telegram, slack, irc, api, …")]
Author = Annotated[str | None, typer.Option("--author", help="Said by them: a name, or the source's own id.")]
Since = Annotated[str | None, typer.Option("--since", metavar="DAY|MOMENT", help="Said from then on; days are UTC's.")]
Until = Annotated[str | None, typer.Option("--until", metavar="DAY|MOMENT", help="Said until then, that day included.")]
AsOf = Annotated[str | None, typer.Option("--as-of", metavar="DAY|MOMENT", help="What held then.")]
Sure = Annotated[float | None, typer.Option("--confidence", min=0, max=1, help="At least so sure, 0 to 1.")]
Extractor = Annotated[str | None, typer.Option("--extractor", help="Made by this one, as in ollama:qwen3:8b.")]
Words = Annotated[str | None, typer.Option("--text", help="With all of these words.")]
Waiting = Annotated[bool, typer.Option("--waiting", help="Only what waits for a person: see winnow review.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MOST_LISTED, help="Most of them.")]


def period(
    *, since: str | None = None, until: str | None = None, as_of: str | None = None
) -> tuple[datetime | None, datetime | None, datetime | None]:
    """Days and moments as they were written. Raises InvalidInput."""
    return (
        _read("--since", since, first_moment),
        _read("--until", until, end_moment),
        _read("--as-of", as_of, last_moment),
    )


def _read(name: str, given: str | None, read: Callable[[str], datetime]) -> datetime | None:
    if given is None:
        return None
    try:
        return read(given)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from error


def statuses_of(given: Sequence[Status] | None) -> tuple[AtomStatus, ...] | None:
    """As a filter has them."""
    if not given:
        return (AtomStatus.ACTIVE,)
    return None if Status.ALL in given else tuple(AtomStatus(one.value) for one in given)


async def filter_of(
    database: Database,
    wanted: AtomFilter,
    *,
    topic: str | None = None,
    channel: str | None = None,
    source: str | None = None,
    author: str | None = None,
) -> AtomFilter:
    """The filter with what has to be looked up.

    Raises:
        TopicNotFound: there is no such topic.
    """
    messages = AskedMessages(channel=channel, source=source, author=author)
    return await whole_filter(database, wanted, topic=topic, messages=messages)


def described(**asked: object) -> str:
    """What was asked for, for a sentence that says that there is nothing: ` in #team by Ana since 2026-01-01`."""
    words = {"channel": "in", "topic": "under", "author": "by", "source": "from"}
    parts = [f"{words.get(name, name)} {value}" for name, value in asked.items() if value]
    return "".join(f" {part}" for part in parts)
