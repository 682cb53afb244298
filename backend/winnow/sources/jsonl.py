"""Reads JSON Lines: one message a line, as an object.

    {"sent_at": "2026-01-31T09:30:00+01:00", "author": "ada", "channel": "#ops", "text": "The build is red again."}

| field | value | needed |
|---|---|---|
| `text` | string | yes |
| `sent_at` | ISO 8601 with a zone, or seconds since 1970-01-01 UTC (whole or not) | yes |
| `channel` | string | unless the caller names one |
| `author` | string | no: nobody is named |
| `id` or `external_id` | string or whole number | no: made of time, author and text |
| `reply_to` | the id of the message it answers | no |
| `thread` | string or whole number | no |
| `source` | string | no: `jsonl` |
| `author_id` | the author's id, string or whole number | no |
| `channel_title` | what people call the channel, where `channel` is an id | no |
| `edited_at` | as `sent_at`: when `text` was changed to this | no |
| `details` | object of `quote`, `media`, `topic` and the others of `domain.messages.Details` | no |

`null` is the same as a missing field, other fields are ignored. A bad line is told with its number and reason, and the
reading goes on.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, cast

import orjson

from winnow.domain.messages import Details, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import MAX_LINE_BYTES, ContentIds, Item, Line, Reading, Tally, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.sources.base import Readable

BLANK = "blank line"

_DETAILS: dict[str, type] = {
    "quote": str,
    "forwarded_from": str,
    "media": str,
    "media_group": str,
    "topic": str,
    "service": str,
    "bot": bool,
    "reactions": int,
}
_KINDS: dict[type, str] = {str: "a string", bool: "true or false", int: "a number of people"}
_MOST_REACTIONS = 2**31

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

_EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATEST = dt.datetime(3000, 1, 1, tzinfo=dt.UTC)


def read_jsonl(path: Readable, *, channel: str | None = None, max_line_bytes: int = MAX_LINE_BYTES) -> Reading:
    """The messages of a JSON Lines file, in its order.

    Args:
        path: the file.
        channel: of the messages whose line names none.
        max_line_bytes: a longer line is refused without being held in memory.

    Raises:
        InvalidInput: the channel cannot be one, or, while iterating, the file cannot be read.
    """
    if channel is not None and not channel.strip():
        raise InvalidInput("the channel is empty; leave it out or name one, for example --channel '#general'")
    tally = Tally()
    items = _items(path, channel, tally, max_line_bytes)
    return Reading(path=path, format_name="jsonl", items=items, tally=tally)


def _items(path: Readable, channel: str | None, tally: Tally, max_line_bytes: int) -> Iterator[Item]:
    ids = ContentIds()
    for line in lines_of(path, tally=tally, max_bytes=max_line_bytes):
        tally.message_line = line.number
        if line.too_long:
            yield line.skipped(f"it is longer than {max_line_bytes:,} bytes", "broken")
        elif not line.raw.strip():
            yield line.skipped(BLANK, "noise")
        else:
            yield _item(line, channel, ids)


def _item(line: Line, channel: str | None, ids: ContentIds) -> Item:
    try:
        fields = parse_value(line.raw)
    except json.JSONDecodeError as error:
        return line.skipped(f"it is not JSON: {error.msg} at character {error.pos + 1}", "broken")
    except UnicodeDecodeError as error:
        return line.skipped(f"it is not UTF-8 at byte {error.start + 1}", "broken")
    if not isinstance(fields, dict):
        return line.skipped("it is not a JSON object", "broken")
    try:
        return _message(fields, channel, ids)
    except InvalidInput as error:
        return line.skipped(str(error), "broken")


def parse_value(raw: bytes) -> object:
    """The value of a line. Half an emoji (a lone surrogate, escaped) is taken, too: programs that cut texts write it.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
        JSONDecodeError: it is not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        text = raw.decode("utf-8")
        if not _SURROGATE.search(text):
            raise
        try:
            return json.loads(text, parse_constant=_refuse)
        except json.JSONDecodeError:
            raise
        except (RecursionError, ValueError):  # nested too deeply, or a number beyond all measure
            raise error from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _message(fields: dict[str, object], channel: str | None, ids: ContentIds) -> IncomingMessage:
    text = fields.get("text")
    if not isinstance(text, str):
        raise InvalidInput("text is missing" if text is None else "text is not a string")
    sent_at = _instant(fields.get("sent_at"), "sent_at")
    author = _name(fields, "author") or ""
    where = _name(fields, "channel") or channel
    if where is None:
        raise InvalidInput("channel is missing; name one for all lines with --channel")
    external_id = _name(fields, "id")
    if external_id is None:
        external_id = _name(fields, "external_id")
    if external_id is None:
        external_id = ids.next_of(where, sent_at.astimezone(dt.UTC).isoformat(), author, text)
    return IncomingMessage(
        source=_name(fields, "source") or "jsonl",
        channel=where,
        external_id=external_id,
        author=author,
        text=text,
        sent_at=sent_at,
        reply_to=_name(fields, "reply_to"),
        thread=_name(fields, "thread"),
        author_id=_name(fields, "author_id"),
        channel_title=_name(fields, "channel_title"),
        edited_at=None if fields.get("edited_at") is None else _instant(fields["edited_at"], "edited_at"),
        details=_details(fields.get("details")),
    )


def _details(value: object) -> Details:
    """What is known of them; others are ignored, as other fields are."""
    if value is None:
        return Details()
    if not isinstance(value, dict):
        raise InvalidInput("details is not an object")
    found = {name: value[name] for name in _DETAILS if value.get(name) is not None}
    for name, one in found.items():
        kind = _DETAILS[name]
        if type(one) is not kind or (isinstance(one, int) and not 0 <= one < _MOST_REACTIONS):
            raise InvalidInput(f"details.{name} is not {_KINDS[kind]}")
    return cast("Details", found)


def _name(fields: dict[str, object], field: str) -> str | None:
    """A field that names something; whole numbers are names too (Telegram's and Discord's ids are)."""
    value = fields.get(field)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidInput(f"{field} is neither a string nor a whole number")


def _instant(value: object, name: str) -> dt.datetime:
    if value is None:
        raise InvalidInput(f"{name} is missing")
    try:
        if isinstance(value, str):
            instant = dt.datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            instant = dt.datetime.fromtimestamp(value, dt.UTC)
        else:
            raise InvalidInput(f"{name} is neither a string nor a number")
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"{name} is no time: give ISO 8601 with a zone, or seconds since 1970") from error
    if instant.tzinfo is None:
        raise InvalidInput(f"{name} has no time zone, for example 2026-01-31T09:30:00Z")
    try:
        inside = _EARLIEST <= instant < _LATEST
    except OverflowError:
        inside = False
    if not inside:
        raise InvalidInput(f"{name} is outside 1970 to 2999; if it is a number, it counts seconds, not milliseconds")
    return instant
