"""Reads a chat that WhatsApp exported as text, on Android or iOS, in any language; `docs/formats.md` shows the forms.

Which numbers of `01/02/20` are the day and the month is nowhere written, so the file is read twice: first its dates
alone, which mostly tell; what was decided is in `Tally.notes`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.messages import Details, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import ContentIds, Item, Reading, Tally, decode, lines_of
from winnow.sources.local_times import DateOrders, Decision, LocalTimes, Order, date_of, hour_of_day
from winnow.sources.transcript import Notice, Opening, Unreadable, transcript_items
from winnow.sources.whatsapp_marks import MARKS, media_of, tells_a_deletion, unmarked, without_edited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.sources.base import Readable

NOTICE = "notice of WhatsApp"
DELETED = "deleted message"

_HEAD_LINES = 200
_MOST_NAMES = 20_000
_SPACE = f"[ \u00a0\u202f\u2009{MARKS}]"  # phones put narrow and marking ones anywhere
_STAMP = re.compile(
    rf"[{MARKS}]*(?P<open>\[)?{_SPACE}*"
    rf"(?P<date>\d{{1,4}}[{MARKS}]?(?:[./-]|년|年){_SPACE}?\d{{1,2}}[{MARKS}]?(?:[./-]|월|月){_SPACE}?\d{{1,4}}[.일日]?)[,،]?"
    rf"(?P<before>[^\d\[\]<>:/-]{{0,16}}?){_SPACE}*"
    rf"(?P<hour>\d{{1,2}})[:.h](?P<minute>\d\d)(?:[:.](?P<second>\d\d))?"
    rf"(?P<after>[^\d\[\]<>:/-]{{0,16}}?)"
    rf"(?P<end>(?(open)\]|(?:{_SPACE}[-\u2013\u2014]|:)))(?:{_SPACE}|\Z)[ ]?"
)
_AUTHOR = re.compile(r"(?P<author>[^:\n]{1,128}):(?:[ \u00a0\u202f](?P<text>.*)|\Z)", re.DOTALL)
_CLOSE_AUTHOR = re.compile(r"(?P<author>[^:\n]{1,128}):(?P<text>\S.*)", re.DOTALL)
_QUOTED = re.compile('["\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d]')
_UNSAVED = re.compile(r"^~[\s\u202f\u00a0]*(?=\S)")
_IN_NAME = re.compile(
    r"WhatsApp\b.*?(?: - | (?:with|mit|con|com|avec|met|med|ile|z|s uživatelem|с контактом|с группой|с|із|з) )"
    r"(?P<title>.+)",
    re.IGNORECASE,
)
_COPY = re.compile(r"\s*\(\d{1,3}\)\Z")
_ISO = re.compile(r"\d{4}-\d\d-\d\d\Z")


def looks_like_whatsapp(head: bytes) -> bool:
    """Whether a file's first lines are those of an export; the first of them may be the rest of a cut message."""
    texts = [decode(line)[0] for line in head.split(b"\n", _HEAD_LINES)[:_HEAD_LINES] if line.strip()]
    stamps = [(text, found) for text in texts if (found := _STAMP.match(text)) and _is_ours(text, found)]
    if not stamps:
        return False
    if any(found["open"] and _ISO.match(found["date"]) for _, found in stamps):
        return _is_iso_of_ios(texts, stamps)
    return stamps[0][0] is texts[0] or len(stamps) * 5 >= len(texts)


def _is_ours(text: str, found: re.Match[str]) -> bool:
    """Whether a stamp may be WhatsApp's: programs log `2019-12-31 23:59:59 - `, IRC clients `[…] <name>`."""
    if not found["open"] and found["second"] and _ISO.match(found["date"]):
        return False
    return not text.startswith(("<", "* ", "-!-"), found.end())


def _is_iso_of_ios(texts: list[str], stamps: list[tuple[str, re.Match[str]]]) -> bool:
    """Whether `[2019-12-31, 23:59:59] Name: text` is WhatsApp's: Signal's and IRC's lines look nearly the same."""
    if any("\u200e" in text for text in texts):
        return True
    return all(found["second"] and text[found.end("date")] == "," for text, found in stamps)


def read_whatsapp(path: Readable, *, channel: str | None = None, timezone: dt.tzinfo = dt.UTC) -> Reading:
    """The messages of an exported chat, in its order.

    Args:
        path: the export; read twice.
        channel: where it was said, if the file's name (`WhatsApp Chat with Team.txt`) does not tell; else the folder's.
        timezone: of the phone that exported it.

    Raises:
        InvalidInput: the channel cannot be one, or, while iterating, the file cannot be read.
    """
    if channel is not None and not channel.strip():
        raise InvalidInput("the channel is empty; leave it out or name one, for example --channel team")
    tally = Tally()
    items = _items(path, title_in(path) or channel or path.resolve().parent.name or path.name, timezone, tally)
    return Reading(path=path, format_name="whatsapp", items=items, tally=tally)


def is_chat_s_name(name: str) -> bool:
    """Whether WhatsApp calls the text of a chat so: `_chat.txt` (iOS), `WhatsApp Chat with Team.txt` (Android)."""
    return name == "_chat.txt" or (name.endswith(".txt") and _IN_NAME.search(unmarked(name)) is not None)


def title_in(path: Readable) -> str | None:
    """The chat's title, from the file's name or that of its folder, where iOS puts it; None if neither tells."""
    for name in (path.stem, path.resolve().parent.name):
        if found := _IN_NAME.search(unmarked(name)):
            return _COPY.sub("", found["title"]).strip() or None
    return None


def _items(path: Readable, channel: str, timezone: dt.tzinfo, tally: Tally) -> Iterator[Item]:
    form = _form_of(path)
    tally.notes.append(f"dates as {form.example} were read as {form.decision.order}, {form.decision.why}")
    times = LocalTimes(timezone)
    yield from transcript_items(path, _WhatsApp(channel, form, times), tally)
    tally.notes.extend(times.notes())


@dataclass(frozen=True, slots=True)
class _Form:
    """How the lines of one export begin: `end` is the sign after the time, others are people's words."""

    end: str
    decision: Decision
    example: str


@dataclass(slots=True)
class _Seen:
    lines: int = 0
    orders: DateOrders = field(default_factory=DateOrders)
    defaults: Counter[Order] = field(default_factory=Counter)


def _form_of(path: Readable) -> _Form:
    """Reads the dates of the whole file."""
    seen: dict[str, _Seen] = {}
    for line in lines_of(path, tally=Tally()):
        found = None if line.too_long else _STAMP.match(decode(line.raw)[0])
        if found:
            kind = seen.setdefault(found["end"][-1], _Seen())
            kind.lines += 1
            if kind.lines <= _HEAD_LINES:
                kind.defaults[_usual_order(found)] += 1
            kind.orders.see(unmarked(found["date"]))
    if not seen:
        return _Form("-", Decision(Order.DAY_FIRST, "because it has none"), "31/12/20")
    end, most = max(seen.items(), key=lambda one: one[1].lines)
    return _Form(end, most.orders.decide(most.defaults.most_common(1)[0][0]), most.orders.example)


def _usual_order(found: re.Match[str]) -> Order:
    """The order of those who write dates in this way: only Americans have slashes and a capital PM."""
    date = found["date"]
    if date.endswith(".") or not date.isascii():
        return Order.YEAR_FIRST
    half = found["before"] + found["after"]
    return Order.MONTH_FIRST if "/" in date and half.strip().endswith(("AM", "PM")) else Order.DAY_FIRST


class _WhatsApp:
    """The grammar of one export."""

    def __init__(self, channel: str, form: _Form, times: LocalTimes) -> None:
        self._channel = channel
        self._form = form
        self._times = times
        self._ids = ContentIds()
        self._names: dict[str, str] = {}
        self._last_date: tuple[str, dt.date | None] = ("", None)

    def begin(self, text: str) -> Opening | Notice | Unreadable | None:
        """What a line begins; a line of another form than the file's is part of a message."""
        found = _STAMP.match(text)
        if found is None or not found["end"].endswith(self._form.end):
            return None
        local = self._local(found)
        if isinstance(local, Unreadable):
            return local
        said = self._said(text[found.end() :])
        if said is None:
            return Notice(NOTICE)
        author, words = said
        if tells_a_deletion(words):
            return Notice(DELETED)
        written = local.isoformat(timespec="seconds" if found["second"] else "minutes")
        return Opening(author=author, text=words, sent_at=self._times.at(local), written=written)

    def message(self, opening: Opening, text: str) -> IncomingMessage:
        """The message, without what WhatsApp put into it."""
        text, edited = without_edited(text)
        words, details = media_of(text)
        if not details and self._form.end == "]" and text.startswith("\u200e"):
            words, details = unmarked(words[:1]) + words[1:], Details(service="notice")
        if edited:
            details["edited"] = True
        return IncomingMessage(
            source="whatsapp",
            channel=self._channel,
            external_id=self._ids.next_of(opening.written, opening.author, opening.text),
            author=opening.author,
            text=words,
            sent_at=opening.sent_at,
            details=details,
        )

    def _local(self, found: re.Match[str]) -> dt.datetime | Unreadable:
        written = found["date"]
        if self._last_date[0] != written:
            self._last_date = (written, date_of(unmarked(written), self._form.decision.order))
        date = self._last_date[1]
        hour = hour_of_day(int(found["hour"]), found["before"], found["after"])
        if date is not None and hour is not None:
            try:
                return dt.datetime.combine(date, dt.time(hour, int(found["minute"]), int(found["second"] or 0)))
            except ValueError:
                pass
        if date is None:
            return Unreadable(f"{written} is no {self._form.decision.order}")
        return Unreadable(f"{unmarked(found[0]).strip()} names no time that is known")

    def _said(self, rest: str) -> tuple[str, str] | None:
        """Who said what, or None where a line names nobody: then WhatsApp tells something."""
        found = _AUTHOR.match(rest)
        if found is None:
            found = _CLOSE_AUTHOR.match(rest)
            if found is None or found["author"] not in self._names:
                return None
        author = self._names.get(found["author"]) or _name(found["author"])
        if author is None:
            return None
        if len(self._names) < _MOST_NAMES:
            self._names[found["author"]] = author
        return author, found["text"] or ""


def _name(written: str) -> str | None:
    """A name as people know it, without marks and the tilde of strangers; None where the words cannot be a name."""
    if len(_QUOTED.findall(written)) % 2:  # … changed the subject from "Team: old" to "Team: new"
        return None
    return _UNSAVED.sub("", unmarked(written).strip()) or None
