"""Reads the log of an IRC channel, in any of the forms the clients write; `docs/formats.md` shows them.

One line is one message, except that

- a line without any sign of a log, directly below a message, continues it (long lines get wrapped when a log is
  pasted); anywhere else nobody can tell whose it is, and it is told as broken;
- a line that has a time but names nobody is `nick: text` if such a nick has spoken (or if the file names nobody
  otherwise); else it is by whoever spoke last: clients hide the name when it repeats.

The date comes from the line, from an irssi date line, or from the caller or the file's name, and moves on by a day
when the clock jumps back by more than two hours. A smaller jump is people's hands in the log, and the date stays.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from winnow.domain.messages import MAX_TEXT_CHARACTERS, YEARS, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import ContentIds, Item, Line, Reading, Tally, decode, lines_of
from winnow.sources.irc_lines import Aside, Said, Stamp, Unreadable, colon_author, parse_line
from winnow.sources.local_times import zone_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.sources.base import Readable

BLANK = "blank line"
CHANNEL_LINE = "channel line"

_DISORDER_SECONDS = 2 * 3600  # the hour a clock is set back in autumn, and people's hands; in our samples 7 minutes
_BACK_OVER_MIDNIGHT_SECONDS = 600
_DAY_SECONDS = 86_400
_A_DAY_BACK = 6
_HEAD_LINES = 200
_MAX_CONTINUED_CHARACTERS = 64 * 1024
_MAX_KNOWN_NICKS = 20_000

_CHANNEL = re.compile(r"[#&][^\s,:\x07]{1,63}")
_DATE_IN_NAME = re.compile(r"(?<!\d)(?:19|20)\d\d-\d\d-\d\d(?!\d)")


def read_irc(
    path: Readable, *, channel: str | None = None, timezone: dt.tzinfo = dt.UTC, date: dt.date | None = None
) -> Reading:
    """The messages of an IRC log, in its order.

    Args:
        path: the log.
        channel: where it was said; a `#channel` line at the top of the file wins, the folder's name is the last resort.
        timezone: of the times in the log, where it does not write one.
        date: of the log's first line; else the date in the file's name, else the first one written in the log.

    Raises:
        InvalidInput: no date is known, the channel cannot be one, or, while iterating, the file cannot be read.
    """
    if channel is not None and not channel.strip():
        raise InvalidInput("the channel is empty; leave it out or name one, for example --channel '#general'")
    day = date or _date_in_name(path) or _date_in_head(path)
    if day is None:
        raise InvalidInput(
            f"{path} does not say on which day it was written; put the date into the file's name (2026-01-31.log) "
            "or give it with --date 2026-01-31"
        )
    if day.year not in YEARS:
        raise InvalidInput(f"{path} would be of {day}; Winnow takes {YEARS[0]} to {YEARS[-1]}")
    tally, clock = Tally(), Clock(day, timezone)
    log = _Log(channel=channel or path.resolve().parent.name or path.name, clock=clock, tally=tally)
    return Reading(path=path, format_name="irc", items=_items(path, log, clock, tally), tally=tally)


def _items(path: Readable, log: _Log, clock: Clock, tally: Tally) -> Iterator[Item]:
    for line in lines_of(path, tally=tally):
        yield from log.take(line)
    yield from log.release()
    tally.notes += clock.notes()


def _date_in_name(path: Readable) -> dt.date | None:
    for found in _DATE_IN_NAME.finditer(path.name):
        try:
            return dt.date.fromisoformat(found[0])
        except ValueError:
            continue
    return None


def _date_in_head(path: Readable) -> dt.date | None:
    with closing(lines_of(path, tally=Tally())) as lines:
        for line in islice(lines, _HEAD_LINES):
            parsed = parse_line(decode(line.raw)[0])
            if isinstance(parsed, Aside | Said) and (day := _written_day(parsed)):
                return day
    return None


def _written_day(parsed: Aside | Said) -> dt.date | None:
    return parsed.day if isinstance(parsed, Aside) and parsed.day else parsed.stamp.date


class Clock:
    """Turns the times of a log into instants, line by line, keeping track of the day."""

    def __init__(self, day: dt.date, zone: dt.tzinfo) -> None:
        self._first_day = self._day = day
        self._zone = zone
        self._weekday: int | None = None
        self._second: int | None = None
        self._last: dt.datetime | None = None
        self._guessed = False

    def notes(self) -> list[str]:
        """What a person should know: which zone was taken, where the log names none."""
        return [zone_note(self._zone)] if self._guessed else []

    def at(self, stamp: Stamp) -> dt.datetime:
        """The instant of a line; without a time that of the line before, or the start of the day.

        Raises:
            OverflowError: the calendar ends.
            InvalidInput: the line writes a year in which nobody chatted; the lines after it are not dated by it.
        """
        if stamp.second_of_day is None:
            return self._last or dt.datetime.combine(self._day, dt.time(), self._zone)
        if stamp.date and stamp.date.year not in YEARS:
            raise InvalidInput(f"its date is in {stamp.date.year}; Winnow takes {YEARS[0]} to {YEARS[-1]}")
        self._day = stamp.date or self._in_the_year(stamp) or self._day + dt.timedelta(days=self._days_on(stamp))
        self._second, self._weekday = stamp.second_of_day, stamp.weekday
        minutes, second = divmod(stamp.second_of_day, 60)
        time = dt.time(minutes // 60, minutes % 60, second)
        self._last = dt.datetime.combine(self._day, time, stamp.zone or self._zone)
        self._guessed |= stamp.zone is None
        return self._last

    def set_day(self, day: dt.date) -> None:
        """Sets the day as a date line of the log tells it."""
        self._first_day = self._day = day
        self._weekday = self._second = self._last = None

    def _in_the_year(self, stamp: Stamp) -> dt.date | None:
        """The date of a stamp that leaves out its year: the one nearest to the line before."""
        if stamp.month_day is None:
            return None
        try:
            years = (self._day.year - 1, self._day.year, self._day.year + 1)
            dates = [dt.date(year, *stamp.month_day) for year in years if _has_day(year, *stamp.month_day)]
            return min(dates, key=lambda date: abs(date - self._day))
        except ValueError as error:
            raise InvalidInput("its date is none that there is") from error

    def _days_on(self, stamp: Stamp) -> int:
        """By how many days the date moves; a written weekday knows better than the clock's jumps."""
        if stamp.weekday is not None and self._weekday is not None:
            days = (stamp.weekday - self._weekday) % 7
            return -1 if days == _A_DAY_BACK else days
        if self._second is None or stamp.second_of_day is None:
            return 0
        step = stamp.second_of_day - self._second
        if step < -_DISORDER_SECONDS:
            return 1
        return -1 if step > _DAY_SECONDS - _BACK_OVER_MIDNIGHT_SECONDS and self._day > self._first_day else 0


def _has_day(year: int, month: int, day: int) -> bool:
    return 1 <= day <= calendar.monthrange(year, month)[1]


class _Log:
    """The state of a log while it is read: the clock, who has spoken, and the message that may still go on."""

    def __init__(self, *, channel: str, clock: Clock, tally: Tally) -> None:
        self._channel = channel
        self._clock = clock
        self._tally = tally
        self._ids = ContentIds()
        self._nicks: set[str] = set()
        self._untimed_marks: set[str] = set()
        self._angled = self._stamped = self._begun = False
        self._speaker: str | None = None
        self._held: IncomingMessage | None = None
        self._held_line = 0
        self._tail: list[str] = []
        self._tail_characters = 0
        self._open = self._full = False

    def take(self, line: Line) -> Iterator[Item]:
        """What is certain once this line is read: at most the message before it and this line's own `Skipped`."""
        if line.too_long:
            yield from self._skip(line, "it is longer than 8 MiB", broken=True)
            return
        text, guessed = decode(line.raw)
        self._tally.recoded += guessed
        if not text.strip():
            yield from self._skip(line, BLANK)
            return
        if not self._begun and _CHANNEL.fullmatch(text.strip()):
            self._channel = text.strip()
            yield from self._skip(line, CHANNEL_LINE)
            return
        try:
            yield from self._understand(line, text)
        except OverflowError:
            yield from self._skip(line, "its date lies beyond the calendar", broken=True)
        except InvalidInput as error:  # its text is too long, its year none that chats are written in
            yield from self._skip(line, str(error), broken=True)

    def release(self) -> Iterator[IncomingMessage]:
        """The message held back because the next line may continue it."""
        self._full = False
        if self._held is not None:
            self._tally.message_line = self._held_line
            yield replace(self._held, text="\n".join([self._held.text, *self._tail])) if self._tail else self._held
        self._held, self._tail, self._tail_characters, self._open = None, [], 0, False

    def _understand(self, line: Line, text: str) -> Iterator[Item]:
        parsed = parse_line(text)
        if isinstance(parsed, Unreadable):
            yield from self._skip(line, parsed.reason, broken=True)
        elif isinstance(parsed, Aside):
            self._note(parsed)
            yield from self._skip(line, parsed.reason)
        elif isinstance(parsed, Said) and self._is_speech(parsed):
            yield from self._say(line, parsed)
        elif self._open and self._has_room_for(text):
            self._tail.append(text)
            self._tail_characters += len(text)
            self._tally.continued += 1
        else:
            full = self._open or self._full
            where = "the message above it is full" if full else "no message stands directly above it"
            yield from self._skip(line, f"it has no time and no name, and {where}", broken=True)
            self._full = full

    def _has_room_for(self, text: str) -> bool:
        held = len(self._held.text) if self._held else 0
        tail = self._tail_characters + len(text)
        return tail <= _MAX_CONTINUED_CHARACTERS and held + len(self._tail) + 1 + tail <= MAX_TEXT_CHARACTERS

    def _note(self, aside: Aside) -> None:
        if aside.day:
            self._clock.set_day(aside.day)
        elif aside.stamped:
            self._clock.at(aside.stamp)
        else:
            self._untimed_marks.add(aside.mark)

    def _is_speech(self, said: Said) -> bool:
        """Whether a line without a time is a log line and not pasted text, such as a list with stars."""
        if said.stamped or said.author in self._nicks or said.mark in self._untimed_marks:
            return True
        return said.mark == "<" and not self._stamped

    def _say(self, line: Line, said: Said) -> Iterator[Item]:
        author, text = self._who(said)
        if author is None:
            yield from self._skip(line, "nobody is named as its author", broken=True)
            return
        sent_at = self._clock.at(said.stamp)
        self._stamped |= said.stamped
        self._angled |= said.mark == "<"
        if not said.stamped:
            self._untimed_marks.add(said.mark)
        if len(self._nicks) < _MAX_KNOWN_NICKS:
            self._nicks.add(author)
        yield from self.release()
        self._begun = self._open = True
        self._speaker, self._held_line = author, line.number
        self._held = IncomingMessage(
            source="irc",
            channel=self._channel,
            external_id=self._ids.next_of(sent_at.date().isoformat(), said.stamp.written, author, text),
            author=author,
            text=text,
            sent_at=sent_at,
        )

    def _who(self, said: Said) -> tuple[str | None, str]:
        if said.author is not None:
            return said.author, said.text
        named = colon_author(said.text)
        if named and (named[0] in self._nicks or not self._angled):
            return named
        return self._speaker, said.text

    def _skip(self, line: Line, reason: str, *, broken: bool = False) -> Iterator[Item]:
        yield from self.release()
        yield line.skipped(reason, "broken" if broken else "noise")
