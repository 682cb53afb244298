"""Finds out by its content what a file is, and opens it with the source that reads it."""

from __future__ import annotations

import datetime as dt
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from winnow.errors import InvalidInput
from winnow.sources.archives import EMPTY_ZIP, ZIP, Archive, Folder
from winnow.sources.base import UTF8_BOM, Readable, Reading, decode
from winnow.sources.csv_table import looks_like_csv, read_csv
from winnow.sources.irc import read_irc
from winnow.sources.irc_lines import Aside, Parsed, Said, Unreadable, colon_author, parse_line
from winnow.sources.jsonl import parse_value, read_jsonl
from winnow.sources.mbox import looks_like_mbox, read_mbox
from winnow.sources.signal import looks_like_signal, read_signal
from winnow.sources.slack_export import LISTS, looks_like_slack, read_slack
from winnow.sources.telegram_export import looks_like_telegram, read_telegram_export
from winnow.sources.whatsapp import is_chat_s_name, looks_like_whatsapp, read_whatsapp
from winnow.sources.wide import Narrowed, is_utf16

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

_HEAD_BYTES = 256 * 1024
_HEAD_LINES = 200
_BLOCK_BYTES = 1024 * 1024
_LEAST_SHARE_OF_LOG_LINES = 1 / 3
_FOREIGN = (
    (b"\x1f\x8b", "is compressed; unpack it first"),
    (b"BZh", "is compressed; unpack it first"),
    (b"\xfd7zXZ\x00", "is compressed; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed; unpack it first"),
    (EMPTY_ZIP, "is an archive with nothing in it"),
    (b"\xff\xfe\x00\x00", "is text in UTF-32; save it as UTF-8"),
    (b"\x00\x00\xfe\xff", "is text in UTF-32; save it as UTF-8"),
)
# What may hold a chat in an archive, beside photos and the like.
_WORDS_IN_ARCHIVES = (".txt", ".json", ".jsonl", ".ndjson", ".csv", ".mbox", ".log")
_OF_MACS = ("__MACOSX/", "._")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the person said of a file: the channel, if it names none, the zone of times without one, its first day."""

    channel: str | None = None
    timezone: dt.tzinfo = dt.UTC
    date: dt.date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A form that a file can have: how people call it, how its first bytes are known, and who reads it."""

    name: str
    title: str
    looks_like: Callable[[bytes], bool]
    read: Callable[[Readable, Given], Reading]


def open_source(
    path: Path, *, channel: str | None = None, timezone: dt.tzinfo = dt.UTC, date: dt.date | None = None
) -> Reading:
    """The messages of a file of any kind that is understood, as a stream; memory does not grow with the file.

    Args:
        path: the file; or the folder that a Slack archive was unpacked to.
        channel: where it was said, if the file does not tell.
        timezone: of times that are written without one (JSON Lines must write it).
        date: of the first line, if an IRC log tells its date neither in its lines nor in its name.

    Raises:
        InvalidInput: there is no such file, it cannot be read, it is of no kind that is understood, or what is needed
            to read it is missing; one sentence says what to do.
    """
    given = Given(channel=channel, timezone=timezone, date=date)
    if _is_folder(path):
        return _read_folder(path)
    head = _head(path)
    return _read_archive(path, given) if head.startswith(ZIP) else _read_file(path, head, given)


def recognise(head: bytes) -> str | None:
    """The name of the format a file's first bytes are in: one of `FORMATS`, or None.

    NUL bytes alone do no harm: a log that was open when the power failed has some.
    """
    found = _format_of(head)
    return found.name if found else None


def _format_of(head: bytes) -> Format | None:
    if any(head.startswith(magic) for magic, _ in _FOREIGN) or _has_old_line_ends(head):
        return None
    return next((one for one in FORMATS if one.looks_like(head)), None)


def _read_file(source: Readable, head: bytes, given: Given) -> Reading:
    if is_utf16(head):
        source = Narrowed(source)
        head = _head_or_refused(source)
    if found := _format_of(head):
        return found.read(source, given)
    raise InvalidInput(f"{source} {_what_else(head)}")


def _read_folder(path: Path) -> Reading:
    if any((path / name).is_file() for name in LISTS) and looks_like_slack((folder := Folder(path)).names):
        return read_slack(path, folder)
    raise InvalidInput(
        f"{path} is a folder; name the files in it, for example {path}/* (only a Slack archive is read whole)"
    )


def _read_archive(path: Path, given: Given) -> Reading:
    """Slack's archive; or one with a single chat in it, as phones send them."""
    archive = Archive(path)
    try:
        if looks_like_slack(archive.names):
            return read_slack(path, archive)
        member = archive.member(_chat_among(path, archive.names))
        return _read_file(member, _head_or_refused(member), given)
    except InvalidInput:
        archive.close()
        raise


def _chat_among(path: Path, names: tuple[str, ...]) -> str:
    """The one chat of an archive. Documents that were sent in it lie beside it, so a chat's own name decides."""
    found = [name for name in names if not name.startswith(_OF_MACS) and "/._" not in name]
    if len(found) > 1:
        found = [name for name in found if name.lower().endswith(_WORDS_IN_ARCHIVES)]
    if len(found) > 1:
        found = [name for name in found if is_chat_s_name(PurePosixPath(name).name)] or found
    if len(found) == 1:
        return found[0]
    what = "several files that may be chats" if found else "nothing that may be a chat"
    raise InvalidInput(f"{path} is an archive with {what}; unpack it, and name the ones to read")


def _lines_in(head: bytes) -> list[bytes]:
    lines = [line for line in head.removeprefix(UTF8_BOM).split(b"\n") if line.strip()]
    if len(head) >= _HEAD_BYTES and len(lines) > 1:
        lines.pop()  # probably cut in the middle
    return lines


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # told when it is opened
        return False


def _head(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidInput(f"{path} is not a regular file; save what it gives in one, and name that")
        return _head_of(path)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidInput(f"{path} cannot be read: {reason or error}") from error


def _head_or_refused(source: Readable) -> bytes:
    try:
        return _head_of(source)
    except OSError as error:
        raise InvalidInput(f"{source} cannot be read: {error.strerror or error}") from error


def _head_of(source: Readable) -> bytes:
    with source.open("rb") as file:
        head = _first_words(file)
    if not head:
        raise InvalidInput(f"{source} is empty")
    return head


def _first_words(file: BinaryIO) -> bytes:
    """The file's beginning, or where it begins with blank lines, what comes after them."""
    head = file.read(_HEAD_BYTES)
    if head.removeprefix(UTF8_BOM).strip():
        return head
    while (block := file.read(_BLOCK_BYTES)) and not block.strip():
        pass
    return (block.lstrip() + file.read(_HEAD_BYTES))[:_HEAD_BYTES]


def _has_old_line_ends(head: bytes) -> bool:
    """Whether lines end as on Macs of the last century: all would be one."""
    return b"\n" not in head and b"\r" in head.strip()


def _is_jsonl(head: bytes) -> bool:
    """Whether one of the first lines is a message as JSON Lines has it; broken lines among them do no harm."""
    lines = _lines_in(head)
    if len(head) >= _HEAD_BYTES and len(lines) == 1:
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


def _is_irc(head: bytes) -> bool:
    """Whether a good part of the lines are those of a log; `<nick> text` alone is none among markup.

    Lines of a log that are broken speak neither for nor against it. One that begins with a time and `<nick>` needs no
    others: what follows may be a long paste.
    """
    texts = [decode(line)[0] for line in _lines_in(head)[:_HEAD_LINES]]
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
        return "is text in UTF-16 without a byte order mark; save it as UTF-8"
    if b"\x00" in head:
        return f"is not text; what is understood are {UNDERSTOOD}"
    if _has_old_line_ends(head):
        return "ends its lines with CR alone, as old Macs did; save it with LF"
    if head.removeprefix(UTF8_BOM).lstrip().startswith((b"{", b"[{", b"[\n")):
        return (
            "is JSON, but neither an export of Telegram Desktop nor JSON Lines, whose first lines have an object with "
            "text and sent_at"
        )
    return f"is of no kind that is understood; these are {UNDERSTOOD}"


def _is_wide(head: bytes) -> bool:
    """Whether this is text in UTF-16 without a byte order mark: every other byte is NUL, no other is."""
    even, odd = head[::2], head[1::2]
    few, many = sorted((even.count(0), odd.count(0)))
    return few * 10 < many and many * 10 > len(even) * 7


# The first one that knows a file reads it: the more certain a sign is, the further ahead it stands.
FORMATS = (
    Format(
        name="telegram",
        title="exports of Telegram Desktop (result.json)",
        looks_like=looks_like_telegram,
        read=lambda source, given: read_telegram_export(source, timezone=given.timezone),
    ),
    Format(
        name="jsonl",
        title="JSON Lines",
        looks_like=_is_jsonl,
        read=lambda source, given: read_jsonl(source, channel=given.channel),
    ),
    Format(
        name="whatsapp",
        title="exports of WhatsApp",
        looks_like=looks_like_whatsapp,
        read=lambda source, given: read_whatsapp(source, channel=given.channel, timezone=given.timezone),
    ),
    Format(
        name="signal",
        title="texts of Signal",
        looks_like=looks_like_signal,
        read=lambda source, given: read_signal(source, channel=given.channel, timezone=given.timezone),
    ),
    Format(
        name="mbox",
        title="mailboxes (mbox)",
        looks_like=looks_like_mbox,
        read=lambda source, given: read_mbox(source, channel=given.channel, timezone=given.timezone),
    ),
    Format(
        name="csv",
        title="CSV and TSV",
        looks_like=looks_like_csv,
        read=lambda source, given: read_csv(source, channel=given.channel, timezone=given.timezone),
    ),
    Format(
        name="irc",
        title="IRC logs",
        looks_like=_is_irc,
        read=lambda source, given: read_irc(source, channel=given.channel, timezone=given.timezone, date=given.date),
    ),
)
UNDERSTOOD = f"{', '.join(one.title for one in FORMATS)} and Slack archives (docs/formats.md shows them)"
