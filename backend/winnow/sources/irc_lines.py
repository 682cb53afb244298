"""How one line of an IRC log reads: when it was said, by whom and what, or why it is no message.

Knows nothing of the lines before and after it; `irc.py` does. The forms come from real logs of ChatZilla, Colloquy,
irssi, weechat, Textual, ZNC, HexChat, mIRC and the Ubuntu channel archive.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

JOINED_OR_LEFT = "joined or left"
NOTICE = "notice of the server or client"
DATE_LINE = "date line"

_WEEKDAYS = {name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_HOURS_ON_A_HALF_DAY_CLOCK = 12

# Nothing here can backtrack further than one line: no repetition stands inside another.
_STAMP = re.compile(
    r"(?P<open>\[)?[ ]?"
    r"(?:(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[ ](?P<day>[ \d]\d)[ ])?"
    r"(?:(?P<weekday>[A-Za-z]{3})[ ])?"
    r"(?:(?P<date>(?(open)\d{4,6}|(?:(?:19|20)\d\d|\d{4,6}(?=-\d\d-\d\d \d\d:\d\d:\d\d\t)))-\d\d-\d\d)[ T])?"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:[.,]\d{1,6})?"
    r"(?:[ ]?(?P<half>[AaPp])[Mm])?"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?"
    r"[ ]?(?P<close>\])?(?:(?<=\])|(?=[\s<])|$)\s*"
)
_EMPTY_STAMP = re.compile(r"\[[ ]?\]\s*")
_CUT_STAMP = re.compile(r"\[(?:[A-Za-z]{3} )?\d[\d:\- ]*$")

_ODD_STAMP = re.compile(r"\[[^\[\]]{0,60}\d:\d\d[^\[\]]{0,60}\]\s?<[^<>\t]{1,128}>(?:\s|$)")

_MARKER = re.compile(r"(?:-->\|?|\|?<--|<--\||=-=|-!-|=!=|--|\*{3}|[→←⇐⇒])(?:\s+|$)")
_UNTIMED_MARKER = re.compile(r"(?:-->\||\|<--|<--\||=-=|-!-)(?:\s+|$)")
_ANGLED = re.compile(r"<(?P<author>[^<>\t]{0,128})>\s?(?P<text>.*)")
_ACTION = re.compile(r"(?P<mark>\*|•|—|===)\s+(?P<author>\S{1,128})(?:\s(?P<text>.*)|$)")
_NOTICE = re.compile(r"(?:\*(?P<private>[^\s*]{1,128})\*|-(?P<notice>[^\s>:!-][^\s:]{0,127})(?::\S+)?-)\s(?P<text>.*)")
_TABBED = re.compile(r"(?P<author>[^\t<>]{1,128})\t(?P<text>.*)")
_COLON = re.compile(r"(?P<author>[^\s:<>]{1,128}):(?:\s(?P<text>.*)|$)")

_CAME_OR_WENT = re.compile(
    r"\S+\s+(?:[(\[]\S*[)\]]\s+)?"
    r"(?:has\s(?:joined|left)\s[#&]\S|has\squit(?:\s*[(\[]|$)|(?:joined|left)\sthe\schat\sroom\b)"
    r"|\S+\s\([^\s@()]+@[^\s()]+\)\s(?:has\s(?:joined|left)|Quit)(?:\s|$)"  # HexChat, mIRC
    r"|(?:Joins|Parts|Quits):\s\S+\s\("  # mIRC
)
_STATUS = re.compile(
    r"\S+\sis\snow\sknown\sas\s\S+$|Channel\s(?:mode|timestamp|topic)\b|Topic\s(?:changed\sto|for|set\sby)\s"
    r"|Now\stalking\s(?:in|on)\s[#&]|Topic\sis\s'|Set\sby\s\S+\son\s"
    r"|\S+\s(?:sets\smode|(?:has\s)?changed\sthe\stopic)\b|\.\.\[topic/[#&]|mode/[#&]|\[[A-Z]{3,}\](?:\s|$)"
)
_COMING_WORDS = re.compile(r"\b(?:joined|left|quit|joins|parts|quits)\b", re.IGNORECASE)
_DAY = re.compile(
    r"(?:(?:-{3}|\*{4})\s(?P<what>Day changed|Log opened|Log closed|BEGIN LOGGING|ENDING LOGGING)\b"
    r"|Session\s(?P<session>Start|Time|Close|Ident):)"
    r"(?:[^\d]*?\s(?P<month>[A-Z][a-z]{2})\s+(?P<day>\d{1,2})(?:\s\d\d:\d\d:\d\d)?\s(?P<year>(?:19|20)\d\d))?"
)
_ENDS = frozenset({"Log closed", "ENDING LOGGING", "Close"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A time as a line writes it.

    Attributes:
        second_of_day: None where the line writes no time (`[]`, or no stamp at all).
        written: hours, minutes and, if there, seconds, in one spelling for all formats; empty without a time.
        weekday: 0 is Monday; None where not written.
        date: None where not written.
        month_day: month and day where these are written without their year, as HexChat does.
        zone: None where not written.
    """

    second_of_day: int | None = None
    written: str = ""
    weekday: int | None = None
    date: dt.date | None = None
    month_day: tuple[int, int] | None = None
    zone: dt.tzinfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Something said. `author` is None where the line names no one, empty where it names nobody (`<>`).

    `mark` is the sign that made it a message: `<`, `*`, `===` or, for a line that has nothing but its time, empty.
    `stamped` is False where the line has no time stamp, not even an empty one.
    """

    stamp: Stamp
    stamped: bool
    mark: str
    author: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A line that was never a message; `mark` and `stamped` as in `Said`, `day` where the line sets the date."""

    stamp: Stamp
    stamped: bool
    reason: str
    mark: str = ""
    day: dt.date | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that begins like one of a log and does not go on like one."""

    reason: str


class Loose:
    """A line without any sign of a log: part of the message above it, or nothing."""


LOOSE = Loose()
Parsed = Said | Aside | Unreadable | Loose


def parse_line(line: str) -> Parsed:
    """What one line, without its line end, says by itself."""
    if found := _DAY.match(line):
        return _date_line(found)
    if found := _EMPTY_STAMP.match(line):
        return _stamped(line[found.end() :], Stamp(), free=True)
    if (found := _STAMP.match(line)) and not (found["open"] and not found["close"] and _ODD_STAMP.match(line)):
        return _timed(found, line[found.end() :])
    if _CUT_STAMP.match(line):
        return Unreadable("its time stamp is cut off")
    return Unreadable("its time stamp is in no form that is known") if _ODD_STAMP.match(line) else _untimed(line)


def colon_author(text: str) -> tuple[str, str] | None:
    """`nick: text` taken apart, or None where the text does not begin like that."""
    found = _COLON.match(text)
    return (_bare(found["author"]), found["text"] or "") if found else None


def _timed(found: re.Match[str], body: str) -> Parsed:
    # Without brackets "10:30 suits me" may be any pasted text; a full date and time is a stamp all the same.
    free = bool(found["close"] if found["open"] else found["date"] and found["second"])
    stamp = _stamp_of(found)
    parsed = _stamped(body, stamp or Stamp(), free=free)
    if stamp is None and isinstance(parsed, Said):
        return Unreadable(f"{found[0].strip()} is no time that there is")
    return parsed


def _stamped(body: str, stamp: Stamp, *, free: bool) -> Parsed:
    """What stands after a time stamp; `free` allows text without any sign of who said it."""
    if marker := _MARKER.match(body):
        return _marked(body[marker.end() :], stamp, stamped=True)
    if signed := _signed(body, stamp, stamped=True):
        return signed
    if reason := _event(body):
        return Aside(stamp=stamp, stamped=True, reason=reason)
    if stamp.date and (found := _TABBED.match(body)):
        return Said(stamp=stamp, stamped=True, mark="\t", author=_bare(found["author"]), text=found["text"])
    if body.startswith("<"):
        return Unreadable("the name after its time stamp is not closed by >")
    return Said(stamp=stamp, stamped=True, mark="", author=None, text=body) if free else LOOSE


def _untimed(line: str) -> Parsed:
    if marker := _UNTIMED_MARKER.match(line):
        return _marked(line[marker.end() :], Stamp(), stamped=False)
    return _signed(line, Stamp(), stamped=False) or LOOSE


def _marked(body: str, stamp: Stamp, *, stamped: bool) -> Aside:
    reason = JOINED_OR_LEFT if _COMING_WORDS.search(body) else NOTICE
    return Aside(stamp=stamp, stamped=stamped, reason=reason)


def _signed(body: str, stamp: Stamp, *, stamped: bool) -> Said | Aside | None:
    """A line that says by its signs who speaks: `<nick> text`, `* nick text`, `-nick- text`."""
    if found := _ANGLED.match(body):
        return Said(stamp=stamp, stamped=stamped, mark="<", author=_bare(found["author"]), text=found["text"])
    if found := _ACTION.match(body):
        mark = found["mark"]
        if reason := _event(body[found.start("author") :]):
            return Aside(stamp=stamp, stamped=stamped, reason=reason, mark=mark)
        return Said(stamp=stamp, stamped=stamped, mark=mark, author=_bare(found["author"]), text=found["text"] or "")
    if stamped and (found := _NOTICE.match(body)):
        author = _bare(found["private"] or found["notice"])
        return Said(stamp=stamp, stamped=True, mark="-", author=author, text=found["text"])
    return None


def _event(body: str) -> str | None:
    if _CAME_OR_WENT.match(body):
        return JOINED_OR_LEFT
    return NOTICE if _STATUS.match(body) else None


def _bare(nick: str) -> str:
    """The nick without the sign of its rank (operator, voice) and the padding some clients write before it."""
    return nick.strip().lstrip("~&@%+").strip() or nick.strip()


def _stamp_of(found: re.Match[str]) -> Stamp | None:
    """The time a stamp names, or None if there is no such time."""
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    if found["half"]:
        if not 1 <= hour <= _HOURS_ON_A_HALF_DAY_CLOCK:
            return None
        hour = hour % _HOURS_ON_A_HALF_DAY_CLOCK + (_HOURS_ON_A_HALF_DAY_CLOCK if found["half"] in "pP" else 0)
    try:
        time = dt.time(hour, minute, second)
        date = dt.date.fromisoformat(found["date"]) if found["date"] else None
        zone = dt.datetime.strptime(found["zone"], "%z").tzinfo if found["zone"] else None
    except ValueError:
        return None
    return Stamp(
        second_of_day=time.hour * 3600 + time.minute * 60 + time.second,
        written=time.isoformat("seconds" if found["second"] else "minutes"),
        weekday=_WEEKDAYS.get((found["weekday"] or "").lower()),
        date=date,
        month_day=(_MONTHS.index(found["month"].lower()) + 1, int(found["day"])) if found["month"] else None,
        zone=zone,
    )


def _date_line(found: re.Match[str]) -> Aside | Unreadable:
    """The date a line such as `--- Day changed Tue Jul 05 2011` sets."""
    day = None
    if found["month"] and (found["what"] or found["session"]) not in _ENDS:
        try:
            day = dt.date(int(found["year"]), _MONTHS.index(found["month"].lower()) + 1, int(found["day"]))
        except ValueError:
            return Unreadable("it sets a date that there is not")
    return Aside(stamp=Stamp(), stamped=False, reason=DATE_LINE, day=day)
