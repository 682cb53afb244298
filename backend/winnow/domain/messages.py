"""What a source hands in: one chat message, before it has a row."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypedDict

from winnow.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

MAX_NAME_CHARACTERS = 256
IDENTITY = ("source", "channel", "external_id")
OTHER_NAMES = ("author", "reply_to", "thread", "author_id", "channel_title")
# An entry of PostgreSQL's index over the three holds 2,704 bytes.
MAX_IDENTITY_BYTES = 2600
# PostgreSQL's full text takes a text whose words need less than 1 MiB; no chat has messages even near to this.
MAX_TEXT_CHARACTERS = 100_000
MAX_DETAIL_CHARACTERS = 1000
# Years in which chats are written; also what PostgreSQL and every zone's arithmetic can hold.
YEARS = range(1970, 3000)
# A message from further ahead would be the newest for ever. Clocks of people are set wrong, time zones guessed.
MOST_AHEAD = timedelta(days=1)
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


class ChannelMode(StrEnum):
    """What is done with a channel's messages: everything, all but extraction, or nothing (they are not stored)."""

    ON = "on"
    SEARCH = "search"
    OFF = "off"


class MessageState(StrEnum):
    """Where a message stands; every message is in exactly one of these."""

    RECEIVED = "received"
    SCORED = "scored"
    NOISE = "noise"
    WAITING = "waiting"
    EXTRACTING = "extracting"
    EXTRACTED = "extracted"
    FAILED = "failed"


class Details(TypedDict, total=False):
    """What else a source says of a message, for scoring, threads and people; of a text the first 1,000 characters.

    Attributes:
        quote: the words of another message that it answers.
        forwarded_from: who said it first.
        media: what came with it: `photo`, `sticker`, `poll`, `voice` …; `text` is then the caption or the question.
        media_group: what one sending of several files has in common.
        topic: title of the source's own topic or thread.
        bot: a program wrote it.
        service: nobody said it, the source tells that it happened: `join`, `leave`, `pin`, `title` …
        reactions: how many people reacted to it with a sign.
        edited: its text was changed after it was sent; the source does not tell when.
    """

    quote: str
    forwarded_from: str
    media: str
    media_group: str
    topic: str
    bot: bool
    service: str
    reactions: int
    edited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """One message as its source tells it; `(source, channel, external_id)` names it for ever.

    Attributes:
        source: kind of origin, for example `irc` or `telegram`.
        channel: where it was said, by an identity that stays (an id where the source has one, else its name).
        external_id: the source's own identity of the message inside the channel.
        author: display name of who said it; empty when the source does not tell.
        text: what was said, verbatim; may be blank (stored, never embedded).
        sent_at: when it was said, with a time zone.
        reply_to: `external_id` of the message it answers, in the same channel.
        thread: the source's own thread or topic identity.
        author_id: the source's own identity of the author, where it has one.
        channel_title: how people of that source name the channel, where `channel` is an id.
        edited_at: when the text was changed to this one; it replaces the stored one if that is older.
        details: what else the source says of it.

    Raises:
        InvalidInput: a name is empty or longer than 256 characters, the three that name the message have more than
            2,600 bytes, the text is longer than 100,000 characters, or a time has no zone or is none of 1970 to 2999.
    """

    source: str
    channel: str
    external_id: str
    author: str
    text: str
    sent_at: datetime
    reply_to: str | None = None
    thread: str | None = None
    author_id: str | None = None
    channel_title: str | None = None
    edited_at: datetime | None = None
    details: Details = field(default_factory=Details)

    def __post_init__(self) -> None:
        self._require_names()
        self._require_times()
        if len(self.text) > MAX_TEXT_CHARACTERS:
            raise InvalidInput(f"a message's text has {len(self.text):,} characters; {MAX_TEXT_CHARACTERS:,} at most")
        for name in (*IDENTITY, *OTHER_NAMES, "text"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, storable(value))
        kept = {name: _kept(value) for name, value in self.details.items() if value}
        object.__setattr__(self, "details", kept)

    def _require_names(self) -> None:
        for name in IDENTITY:
            if not getattr(self, name).strip():
                raise InvalidInput(f"a message needs a {name}, and this one's is empty")
        for name in (*IDENTITY, *OTHER_NAMES):
            value = getattr(self, name) or ""
            if len(value) > MAX_NAME_CHARACTERS:
                raise InvalidInput(f"a message's {name} has {len(value)} characters; {MAX_NAME_CHARACTERS} at most")
        size = sum(len(getattr(self, name).encode("utf-8", "replace")) for name in IDENTITY)
        if size > MAX_IDENTITY_BYTES:
            raise InvalidInput(
                f"a message's {', '.join(IDENTITY)} have {size:,} bytes together; {MAX_IDENTITY_BYTES:,} at most"
            )

    def _require_times(self) -> None:
        for name in ("sent_at", "edited_at"):
            moment: datetime | None = getattr(self, name)
            if moment is None:
                continue
            if moment.tzinfo is None:
                raise InvalidInput(f"a message's {name} needs a time zone, for example 2026-01-31T09:30:00Z")
            if moment.year not in YEARS:
                raise InvalidInput(f"a message's {name} is in {moment.year}; Winnow takes {YEARS[0]} to {YEARS[-1]}")


def still_to_come(now: datetime, *, sent_at: datetime | None = None, edited_at: datetime | None = None) -> str:
    """Why a message of these times cannot be taken `now`: it is from more than a day ahead; empty if it can.

    Whoever takes messages in, whatever the way, asks this of each.
    """
    for what, moment in (("sent", sent_at), ("edited", edited_at)):
        if moment is not None and moment > now + MOST_AHEAD:
            return f"it says it was {what} on {moment:%Y-%m-%d}, which is still to come; some clock was wrong"
    return ""


def _kept(value: object) -> object:
    return storable(value[:MAX_DETAIL_CHARACTERS]) if isinstance(value, str) else value


def storable(text: str) -> str:
    """The text as PostgreSQL can hold it: NUL and lone surrogates, which it cannot, become U+FFFD."""
    return _NOT_STORABLE.sub("\ufffd", text)
