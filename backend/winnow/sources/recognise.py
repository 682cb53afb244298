"""Finds out by its content what a file is, and opens it with the source that reads it."""

from __future__ import annotations

import datetime as dt
import stat
from typing import TYPE_CHECKING, Literal

from winnow.errors import InvalidInput
from winnow.sources.base import Reading, decode
from winnow.sources.irc import read_irc
from winnow.sources.irc_lines import Aside, Parsed, Said, Unreadable, colon_author, parse_line
from winnow.sources.jsonl import parse_value, read_jsonl

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

UNDERSTOOD = "IRC logs and JSON Lines (docs/formats.md shows both)"

_HEAD_BYTES = 256 * 1024
_HEAD_LINES = 200
_BLOCK_BYTES = 1024 * 1024
_LEAST_SHARE_OF_LOG_LINES = 1 / 3
_FOREIGN = (
    (b"\x1f\x8b", "is compressed; unpack it first"),
    (b"BZh", "is compressed; unpack it first"),
    (b"\xfd7zXZ\x00", "is compressed; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed; unpack it first"),
    (b"PK\x03\x04", "is an archive; unpack it first"),
    (b"\xff\xfe", "is text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is text in UTF-16; save it as UTF-8"),
)
_UTF8_BOM = b"\xef\xbb\xbf"


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
    """The name of the format a file's first bytes are in: `irc`, `jsonl`, or None.

    NUL bytes alone do no harm: a log that was open when the power failed has some.
    """
    if any(head.startswith(magic) for magic, _ in _FOREIGN) or _has_old_line_ends(head):
        return None
    lines = [line for line in head.removeprefix(_UTF8_BOM).split(b"\n") if line.strip()]
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
            raise InvalidInput(f"{path} is not a regular file; save what it gives in one, and name that")
        with path.open("rb") as file:
            head = _first_words(file)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidInput(f"{path} cannot be read: {reason or error}") from error
    if not head:
        raise InvalidInput(f"{path} is empty")
    return head


def _first_words(file: BinaryIO) -> bytes:
    """The file's beginning, or where it begins with blank lines, what comes after them."""
    head = file.read(_HEAD_BYTES)
    if head.removeprefix(_UTF8_BOM).strip():
        return head
    while (block := file.read(_BLOCK_BYTES)) and not block.strip():
        pass
    return (block.lstrip() + file.read(_HEAD_BYTES))[:_HEAD_BYTES]


def _has_old_line_ends(head: bytes) -> bool:
    """Whether lines end as on Macs of the last century: all would be one."""
    return b"\n" not in head and b"\r" in head.strip()


def _is_jsonl(lines: list[bytes], *, cut: bool) -> bool:
    """Whether one of the first lines is a message as JSON Lines has it; broken lines among them do no harm."""
    if cut and len(lines) == 1:
        return lines[0].lstrip().startswith(b"{")
    return any(_is_message_object(line) for line in lines[:_HEAD_LINES])


def _is_message_object(line: bytes) -> bool:
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        fields = parse_value(line)
    except ValueError:
        return False
    return isinstance(fields, dict) and "text" in fields and "sent_at" in fields


def _is_irc(lines: list[bytes]) -> bool:
    """Whether a good part of the lines are those of a log; `<nick> text` alone is none among markup.

    Lines of a log that are broken speak neither for nor against it. One that begins with a time and `<nick>` needs no
    others: what follows may be a long paste.
    """
    texts = [decode(line)[0] for line in lines]
    parsed = [parse_line(text) for text in texts]
    signs = [_signs_of_a_chat(text, line) for text, line in zip(texts, parsed, strict=True)]
    if "stamped" not in signs and any("</" in text or "/>" in text for text in texts):
        return False
    if signs and signs[0] == "stamped" and isinstance(parsed[0], Said) and parsed[0].mark == "<":
        return True
    telling = sum(not isinstance(line, Unreadable) for line in parsed)
    return any(signs) and sum(map(bool, signs)) / telling >= _LEAST_SHARE_OF_LOG_LINES


def _signs_of_a_chat(text: str, parsed: Parsed) -> Literal["stamped", "untimed"] | None:
    """Which signs of a chat a line has; a time alone has any program's log, too."""
    if not isinstance(parsed, Said | Aside):
        return None
    if isinstance(parsed, Said) and parsed.author is None and not (text.startswith("[") and colon_author(parsed.text)):
        return None
    return "stamped" if parsed.stamped else "untimed"


def _what_else(head: bytes) -> str:
    for magic, sentence in _FOREIGN:
        if head.startswith(magic):
            return sentence
    if _is_wide(head):
        return "is text in UTF-16; save it as UTF-8"
    if b"\x00" in head:
        return f"is not text; what is understood are {UNDERSTOOD}"
    if _has_old_line_ends(head):
        return "ends its lines with CR alone, as old Macs did; save it with LF"
    if head.removeprefix(_UTF8_BOM).lstrip().startswith((b"{", b"[{", b"[\n")):
        return "is JSON, but none of its first lines is an object with text and sent_at, as JSON Lines needs"
    return f"is of no kind that is understood; these are {UNDERSTOOD}"


def _is_wide(head: bytes) -> bool:
    """Whether this is text in UTF-16 without a byte order mark: every other byte is NUL, no other is."""
    even, odd = head[::2], head[1::2]
    few, many = sorted((even.count(0), odd.count(0)))
    return few * 10 < many and many * 10 > len(even) * 7
