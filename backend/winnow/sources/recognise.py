"""Finds out by its content what a file is, and opens it with the source that reads it."""

from __future__ import annotations

import datetime as dt
import stat
from typing import TYPE_CHECKING

import orjson

from winnow.errors import InvalidInput
from winnow.sources.base import Reading, decode
from winnow.sources.irc import read_irc
from winnow.sources.irc_lines import Aside, Said, colon_author, parse_line
from winnow.sources.jsonl import read_jsonl

if TYPE_CHECKING:
    from pathlib import Path

UNDERSTOOD = "IRC logs and JSON Lines (docs/formats.md shows both)"

_HEAD_BYTES = 64 * 1024
_HEAD_LINES = 200
_JSON_LINES = 20
_LEAST_SHARE_OF_LOG_LINES = 1 / 3
_FOREIGN = (
    (b"\x1f\x8b", "is compressed; unpack it first"),
    (b"PK\x03\x04", "is an archive; unpack it first"),
    (b"\xff\xfe", "is text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is text in UTF-16; save it as UTF-8"),
)


def open_source(
    path: Path, *, channel: str | None = None, timezone: dt.tzinfo = dt.UTC, date: dt.date | None = None
) -> Reading:
    """The messages of a file of any kind that is understood, as a stream; memory does not grow with the file.

    Args:
        path: the file.
        channel: where it was said, if the file does not tell.
        timezone: of times that are written without one (IRC; JSON Lines must write it).
        date: of the first line, if an IRC log tells its date neither in its lines nor in its name.

    Raises:
        InvalidInput: there is no such file, it cannot be read, it is of no kind that is understood, or what is needed
            to read it is missing; one sentence says what to do.
    """
    head = _head(path)
    kind = recognise(head)
    if kind == "jsonl":
        return read_jsonl(path, channel=channel)
    if kind == "irc":
        return read_irc(path, channel=channel, timezone=timezone, date=date)
    raise InvalidInput(f"{path} {_what_else(head)}")


def recognise(head: bytes) -> str | None:
    """The name of the format a file's first bytes are in: `irc`, `jsonl`, or None."""
    if any(head.startswith(magic) for magic, _ in _FOREIGN) or b"\x00" in head:
        return None
    lines = [line for line in head.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    if len(head) >= _HEAD_BYTES and len(lines) > 1:
        lines.pop()  # probably cut in the middle
    if _is_jsonl(lines, cut=len(head) >= _HEAD_BYTES):
        return "jsonl"
    return "irc" if _is_irc(lines[:_HEAD_LINES]) else None


def _head(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InvalidInput(f"{path} is a folder; name the files in it, for example {path}/*.log")
        if not stat.S_ISREG(mode):
            raise InvalidInput(f"{path} is not a regular file")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidInput(f"{path} cannot be read: {reason or error}") from error
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise InvalidInput(f"{path} is empty" if len(head) < _HEAD_BYTES else f"{path} begins with blank lines only")
    return head


def _is_jsonl(lines: list[bytes], *, cut: bool) -> bool:
    """Whether one of the first lines is a message as JSON Lines has it; a broken line among them does no harm."""
    if cut and len(lines) == 1:
        return lines[0].startswith(b'{"')
    return any(_is_message_object(line) for line in lines[:_JSON_LINES])


def _is_message_object(line: bytes) -> bool:
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and "text" in fields and "sent_at" in fields


def _is_irc(lines: list[bytes]) -> bool:
    """Whether a good part of the lines are those of a log; `<nick> text` alone is none among markup."""
    texts = [decode(line)[0] for line in lines]
    stamped = [_is_log_line(text, stamped=True) for text in texts]
    untimed = [_is_log_line(text, stamped=False) for text in texts]
    if not any(stamped) and any("</" in text or "/>" in text for text in texts):
        return False
    return bool(lines) and (sum(stamped) + sum(untimed)) / len(lines) >= _LEAST_SHARE_OF_LOG_LINES


def _is_log_line(text: str, *, stamped: bool) -> bool:
    """Whether a line has the signs of a chat; a time alone has any program's log too."""
    parsed = parse_line(text)
    if not isinstance(parsed, Said | Aside) or parsed.stamped is not stamped:
        return False
    if isinstance(parsed, Said) and parsed.author is None:
        return text.startswith("[") and colon_author(parsed.text) is not None
    return True


def _what_else(head: bytes) -> str:
    for magic, sentence in _FOREIGN:
        if head.startswith(magic):
            return sentence
    if b"\x00" in head:
        return f"is not text; what is understood are {UNDERSTOOD}"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[{", b"[\n")):
        return "is JSON, but none of its first lines is an object with text and sent_at, as JSON Lines needs"
    return f"is of no kind that is understood; these are {UNDERSTOOD}"
