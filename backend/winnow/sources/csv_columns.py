"""Which column of a table holds what, by the names people and programs give them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DELIMITERS = (",", ";", "\t", "|")

# Of two columns of the same role, the one whose name stands first here is taken; what is left may have its second role.
_NAMES: Mapping[str, Sequence[str]] = {
    "text": ("text", "message", "content", "body", "messagetext", "messagebody", "messagecontent", "msg", "comment"),
    "sent_at": [
        "sentat",
        "timestamp",
        "datetime",
        "createdat",
        "created",
        "senttime",
        "sentdate",
        "datesent",
        "messagedate",
        "postedat",
        "postdate",
        "createtime",
        "creationtime",
        "sent",
        "ts",
        "dateutc",
        "date",
        "time",
    ],
    "date": ("date", "day"),
    "time": ("time",),
    "author": [
        "author",
        "authorname",
        "user",
        "username",
        "from",
        "name",
        "sender",
        "sendername",
        "fromname",
        "displayname",
        "nick",
        "nickname",
        "handle",
        "member",
        "speaker",
    ],
    "author_id": ("authorid", "userid", "fromid", "senderid"),
    "channel": ("channel", "channelname", "room", "roomname", "chat", "chatname", "conversation", "group", "groupname"),
    "id": ("id", "messageid", "msgid", "externalid", "uuid"),
    "reply_to": ("replyto", "replytoid", "replytomessageid", "inreplyto", "parentid", "parentmessageid", "parent"),
    "thread": ("thread", "threadid", "threadts", "topicid"),
    "media": ("attachments", "attachment", "media", "files"),
    "reactions": ("reactions",),
}
_LEAST_COLUMNS = 2
_NOT_OF_A_NAME = str.maketrans("", "", " _-.\u00a0\ufeff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of one table.

    Attributes:
        header: their names as the file writes them.
        roles: place of the column for each role found: `text`, `sent_at` (or `date` and `time`), `author` …
        delimiter: what stands between them.
    """

    header: tuple[str, ...]
    roles: Mapping[str, int]
    delimiter: str

    @property
    def missing(self) -> list[str]:
        """Roles without which there is no message."""
        timed = "sent_at" in self.roles or "date" in self.roles
        return [name for name, there in (("text", "text" in self.roles), ("sent_at", timed)) if not there]

    def note(self) -> str:
        """Which columns were taken for what, and which were not used."""
        taken = ", ".join(f"{_shown(self.header[place])} as {role}" for role, place in self.roles.items())
        unused = [_shown(name) for place, name in enumerate(self.header) if place not in self.roles.values()]
        return f"columns: {taken}" + (f"; not used: {', '.join(unused[:20])}" if unused else "")


def _shown(name: str) -> str:
    return name.strip().lstrip("\ufeff")[:40] or "(no name)"


def columns_of(line: str) -> Columns | None:
    """The columns that a header names, with the delimiter that makes most sense; None if this is no header."""
    found = [one for delimiter in DELIMITERS if (one := _columns(line, delimiter)) is not None]
    return max(found, key=lambda one: (-len(one.missing), len(one.roles)), default=None)


def _columns(line: str, delimiter: str) -> Columns | None:
    try:
        header = next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None
    roles = _roles(header)
    if len(roles) < _LEAST_COLUMNS or not {"text", "sent_at", "date"} & roles.keys():
        return None
    return Columns(header=tuple(header), roles=roles, delimiter=delimiter)


def _roles(header: list[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for number, name in enumerate(header):
        places.setdefault(name.translate(_NOT_OF_A_NAME).casefold(), number)
    roles: dict[str, int] = {}
    two = "date" in places and "time" in places and not set(_NAMES["sent_at"][:-2]) & places.keys()
    for role, names in _NAMES.items():
        if (role == "sent_at" and two) or (role in {"date", "time"} and not two):
            continue
        place = next((places[name] for name in names if name in places and places[name] not in roles.values()), None)
        if place is not None:
            roles[role] = place
    return roles
