"""What a source hands in: one chat message, before it has a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

MAX_NAME_CHARACTERS = 256
IDENTITY = ("source", "channel", "external_id")
# An entry of PostgreSQL's index over the three holds 2,704 bytes.
MAX_IDENTITY_BYTES = 2600
# PostgreSQL's full text takes a text whose words need less than 1 MiB; no chat has messages even near to this.
MAX_TEXT_CHARACTERS = 100_000
# Years in which chats are written; also what PostgreSQL and every zone's arithmetic can hold.
YEARS = range(1970, 3000)
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """One message as its source tells it; `(source, channel, external_id)` names it for ever.

    Attributes:
        source: kind of origin, for example `irc` or `telegram`.
        channel: where it was said, as people of that source name it.
        external_id: the source's own identity of the message inside the channel.
        author: display name of who said it; empty when the source does not tell.
        text: what was said, verbatim; may be blank (stored, never embedded).
        sent_at: when it was said, with a time zone.
        reply_to: `external_id` of the message it answers, in the same channel.
        thread: the source's own thread or topic identity.

    Raises:
        InvalidInput: a name is empty or longer than 256 characters, the three that name the message have more than
            2,600 bytes, the text is longer than 100,000 characters, or the time has no zone or is none of 1970 to 2999.
    """

    source: str
    channel: str
    external_id: str
    author: str
    text: str
    sent_at: datetime
    reply_to: str | None = None
    thread: str | None = None

    def __post_init__(self) -> None:
        self._require_names()
        if self.sent_at.tzinfo is None:
            raise InvalidInput("a message's sent_at needs a time zone, for example 2026-01-31T09:30:00Z")
        if self.sent_at.year not in YEARS:
            raise InvalidInput(f"a message's sent_at is in {self.sent_at.year}; Winnow takes {YEARS[0]} to {YEARS[-1]}")
        if len(self.text) > MAX_TEXT_CHARACTERS:
            raise InvalidInput(f"a message's text has {len(self.text):,} characters; {MAX_TEXT_CHARACTERS:,} at most")
        for field in (*IDENTITY, "author", "text", "reply_to", "thread"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, storable(value))

    def _require_names(self) -> None:
        for field in IDENTITY:
            if not getattr(self, field).strip():
                raise InvalidInput(f"a message needs a {field}, and this one's is empty")
        for field in (*IDENTITY, "author", "reply_to", "thread"):
            value = getattr(self, field) or ""
            if len(value) > MAX_NAME_CHARACTERS:
                raise InvalidInput(f"a message's {field} has {len(value)} characters; {MAX_NAME_CHARACTERS} at most")
        size = sum(len(getattr(self, field).encode("utf-8", "replace")) for field in IDENTITY)
        if size > MAX_IDENTITY_BYTES:
            raise InvalidInput(
                f"a message's {', '.join(IDENTITY)} have {size:,} bytes together; {MAX_IDENTITY_BYTES:,} at most"
            )


def storable(text: str) -> str:
    """The text as PostgreSQL can hold it: NUL and lone surrogates, which it cannot, become U+FFFD."""
    return _NOT_STORABLE.sub("\ufffd", text)
