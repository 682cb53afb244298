"""Reads chats of Signal as programs write them: signal-export's Markdown and signalbackup-tools' text.

`[2019-12-24 12:23:05] Ana: text` is signal-export's, of old `[2019-12-24, 12:23] Ana: text`;
`[Dec 24, 2019 12:23:05] <Ana> text` is signalbackup-tools'.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.messages import Details, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import ContentIds, Item, Reading, Tally, decode
from winnow.sources.local_times import LocalTimes
from winnow.sources.transcript import Notice, Opening, Unreadable, transcript_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.sources.base import Readable

NOTICE = "notice of Signal"
DELETED = "deleted message"

_HEAD_LINES = 200
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
_MARKDOWN = re.compile(
    rf"\[(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?P<comma>,)? {_TIME}\]"
    r" (?P<author>[^:\n<>]{1,128}):(?: (?P<text>.*)|\Z)",
    re.DOTALL,
)
_TEXT = re.compile(
    rf"\[(?P<month>{'|'.join(_MONTHS)}) (?P<day>\d\d), (?P<year>\d{{4}}) {_TIME}\] "
    r"(?:<(?P<author>[^<>\n]{1,128})> ?(?P<text>.*)|\*\*\* (?:<(?P<sender>[^<>\n]{1,128})> sent file(?P<file>.*)|.*))",
    re.DOTALL,
)
_OWN_NAMES = ("Me", "No-Sender")

_QUOTE = re.compile(r"\A\s*\n\n?((?:> .*(?:\n|\Z))+)\n*")
_REACTIONS = re.compile(r"\n\(- (?P<all>[^\n]{1,2000}) -\)[ ]*(?=\n|\Z)")
_REACTIONS_BESIDE = re.compile(
    r" \((?P<all>[^()\n]{1,60}: [^()\n\w\s]{1,12}(?:; [^()\n]{1,60}: [^()\n\w\s]{1,12})*)\)\Z"
)
_STICKER = re.compile(
    r"\n?\(\( (?P<emoji>[^\n]{0,40}) \)\)[ ]*\Z|\[[^\]\n]{0,40}\]\(\.\./exported_stickers/[^)\n]{1,300}\)[ ]*\Z"
)
_ATTACHED = re.compile(r"(?P<image>!)?\[(?P<name>[^\]\n]{0,300})\]\(\.?/?media/[^)\n]{1,600}\)[ ]*")
_DELETED = "(This message was deleted)"
_CALL = re.compile(r"(?:Incoming|Outgoing|Missed) (?:voice |video )?call(?: \([^()\n]{1,60}\))?\Z")
_ID_IN_NAME = re.compile(r"(?P<title>.+) \(_id\d+\)\Z")


def looks_like_signal(head: bytes) -> bool:
    """Whether a file's first lines are those of such a text.

    `[2019-12-24 12:23:05] name: text` is written by IRC clients, too: it is Signal's where somebody is called `Me`, or
    by a name of several words, which no nick has.
    """
    lines = [decode(line)[0].rstrip("\r") for line in head.split(b"\n", _HEAD_LINES)[:_HEAD_LINES] if line.strip()]
    if lines and lines[0].startswith("\ufeff"):
        lines[0] = lines[0][1:]
    if not lines or not (_TEXT.match(lines[0]) or _MARKDOWN.match(lines[0])):
        return False
    if _TEXT.match(lines[0]):
        return True
    found = [one for line in lines if (one := _MARKDOWN.match(line))]
    if any("\u200e" in line for line in lines):
        return False
    if all(one["comma"] for one in found):
        return not any(one["second"] for one in found)
    return any(one["author"] in _OWN_NAMES or " " in one["author"].strip() for one in found)


def read_signal(path: Readable, *, channel: str | None = None, timezone: dt.tzinfo = dt.UTC) -> Reading:
    """The messages of a chat of Signal, in its order.

    Args:
        path: the text.
        channel: where it was said, if the file's name (`Team (_id7).txt`) does not tell; else the folder's name.
        timezone: of the machine that wrote it.

    Raises:
        InvalidInput: the channel cannot be one, or, while iterating, the file cannot be read.
    """
    if channel is not None and not channel.strip():
        raise InvalidInput("the channel is empty; leave it out or name one, for example --channel team")
    named = _ID_IN_NAME.match(path.stem)
    where = (named and named["title"]) or channel or path.resolve().parent.name or path.name
    tally = Tally()
    return Reading(path=path, format_name="signal", items=_items(path, where, timezone, tally), tally=tally)


def _items(path: Readable, channel: str, timezone: dt.tzinfo, tally: Tally) -> Iterator[Item]:
    times = LocalTimes(timezone)
    yield from transcript_items(path, _Signal(channel, times), tally)
    tally.notes.extend(times.notes())


@dataclass(slots=True, kw_only=True)
class _File(Opening):
    """The line signalbackup-tools writes for a file; what was said with it stands in a line of its own."""


class _Signal:
    """The grammar of both forms: no line of the one looks like one of the other."""

    def __init__(self, channel: str, times: LocalTimes) -> None:
        self._channel = channel
        self._times = times
        self._ids = ContentIds()

    def begin(self, text: str) -> Opening | Notice | Unreadable | None:
        """What a line begins."""
        found = _MARKDOWN.match(text) or _TEXT.match(text)
        if found is None:
            return None
        try:
            local = _local(found)
        except ValueError:
            return Unreadable(f"{text[: text.index(']') + 1]} is no time that there is")
        said = found["text"] if found["author"] else None
        if said is not None and said.strip() == _DELETED:
            return Notice(DELETED)
        written = local.isoformat(timespec="seconds" if found["second"] else "minutes")
        if said is not None:
            sent_at = self._times.at(local)
            return Opening(author=found["author"].strip(), text=said, sent_at=sent_at, written=written)
        sender = found.groupdict().get("sender")
        if sender is None:
            return (
                NOTICE_LINE
                if found["author"] is None
                else Opening(author=found["author"].strip(), text="", sent_at=self._times.at(local), written=written)
            )
        name = found["file"].strip().strip('"')
        return _File(author=sender.strip(), text=name, sent_at=self._times.at(local), written=written)

    def message(self, opening: Opening, text: str) -> IncomingMessage:
        """The message, with quote, reactions and files taken out of its text."""
        words, details = (text, Details(media=_kind(text))) if isinstance(opening, _File) else _taken_apart(text)
        return IncomingMessage(
            source="signal",
            channel=self._channel,
            external_id=self._ids.next_of(opening.written, opening.author, opening.text),
            author=opening.author,
            text=words,
            sent_at=opening.sent_at,
            details=details,
        )


NOTICE_LINE = Notice(NOTICE)


def _local(found: re.Match[str]) -> dt.datetime:
    month = found["month"]
    return dt.datetime(  # noqa: DTZ001 - the zone is LocalTimes' to say
        int(found["year"]),
        int(month) if month.isdecimal() else _MONTHS.index(month) + 1,
        int(found["day"]),
        int(found["hour"]),
        int(found["minute"]),
        int(found["second"] or 0),
    )


def _taken_apart(text: str) -> tuple[str, Details]:
    details = Details()
    if quote := _QUOTE.match(text):
        details["quote"] = "\n".join(line.removeprefix("> ") for line in quote[1].splitlines())
        text = text[quote.end() :]
    if found := _REACTIONS.search(text):
        details["reactions"] = found["all"].count(": ")
        text = text[: found.start()] + text[found.end() :]
    elif found := _REACTIONS_BESIDE.search(text, max(0, len(text) - 2000)):
        details["reactions"] = found["all"].count("; ") + 1
        text = text[: found.start()]
    if found := _STICKER.search(text, max(0, len(text) - 400)):
        details["media"] = "sticker"
        text = text[: found.start()]
    elif found := _ATTACHED.search(text):
        details["media"] = "photo" if found["image"] else _kind(found["name"])
        text = _ATTACHED.sub("", text)
    if text.startswith("Poll: "):
        details["media"], text = "poll", text.removeprefix("Poll: ")
    text = text.rstrip(" \n")  # Markdown's sign of a line's end, written after each message
    if _CALL.match(text):
        details["service"] = "call"
    return text, details


_KINDS = (
    ("photo", ("jpg", "jpeg", "png", "gif", "webp", "heic", "image/")),
    ("video", ("mp4", "mov", "mkv", "webm", "video/")),
    ("voice", ("m4a", "aac", "mp3", "ogg", "opus", "wav", "flac", "audio/")),
)


def _kind(name: str) -> str:
    """Which kind of file it is, by its ending or its MIME type (`of type image/jpeg`)."""
    ending = name.lower().rpartition(".")[2]
    for kind, signs in _KINDS:
        if ending in signs or f"of type {signs[-1]}" in name.lower():
            return kind
    return "document"
