"""Reads messages from a table: CSV or TSV with a header, one message a row; `docs/formats.md` lists the columns.

A quoted field may hold line breaks. A quote that is never closed would swallow the rest of the file, so a field ends
at the 131,072 characters of Python's csv, its first line is broken, and what it had swallowed is read again.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from winnow.domain.messages import MAX_TEXT_CHARACTERS, YEARS, Details, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import ContentIds, Item, Line, Reading, Tally, decode, lines_of
from winnow.sources.csv_columns import Columns, columns_of
from winnow.sources.local_times import DateOrders, LocalTimes, Order, as_written, date_of, hour_of_day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.sources.base import Readable

BLANK = "blank line"
HEADER = "header"

_MAX_RECORD_BYTES = 1_000_000
_MOST_READ_AGAIN = 50
_HEAD_LINES = 20
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<delimiter>.)"?', re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,9})?")
_DATE = r"(?P<date>\d{1,4}[./-] ?\d{1,2}[./-] ?\d{1,4}\.?)"
_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d)(?:[.,]\d{1,9})?)?(?P<half>[^\d+-]{0,12}?)"
_WRITTEN = re.compile(rf"{_DATE}(?:[,T ]+{_TIME})?\s*(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?")
_NAMED_MONTH = re.compile(
    r"(?P<day>\d{1,2})[ -](?P<month>[A-Za-z]{3})[a-z]*[ -](?P<year>\d{2,4})"
    rf"(?:[, ]+{_TIME})?\s*(?P<zone>Z|UTC|GMT)?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SECONDS_UNTIL = 100_000_000_000  # beyond, a number counts milliseconds, then microseconds: all after 1973
_DISCORD = re.compile(r"(?P<title>.+?) \[(?P<id>\d{15,21})\](?: \(.*\))?\Z")
_REACTION = re.compile(r"\((\d{1,7})\)")
_COUNT = re.compile(r"\d{1,7}")


def looks_like_csv(head: bytes) -> bool:
    """Whether a file's first line names columns of messages."""
    return _header(head) is not None


def _header(head: bytes) -> tuple[Columns, int] | None:
    """The columns, and how many lines that are not blank stand before what they head."""
    lines = [
        text for line in head.split(b"\n", _HEAD_LINES)[:_HEAD_LINES] if (text := decode(line)[0].strip("\r\ufeff"))
    ]
    lines = [line for line in lines if line.strip()]
    for number, line in enumerate(lines[:2]):
        if number and not _SEPARATOR_LINE.fullmatch(lines[0]):
            break
        if columns := columns_of(line):
            return columns, number + 1
    return None


def read_csv(path: Readable, *, channel: str | None = None, timezone: dt.tzinfo = dt.UTC) -> Reading:
    """The messages of a table, in its order.

    Args:
        path: the table; read twice if its dates are numbers whose order is not plain.
        channel: of the rows that name none; else that in the name of a DiscordChatExporter's file, else the folder's.
        timezone: of times written without one.

    Raises:
        InvalidInput: a column that is needed is missing, the channel cannot be one, or, while iterating, the file
            cannot be read.
    """
    if channel is not None and not channel.strip():
        raise InvalidInput("the channel is empty; leave it out or name one, for example --channel team")
    with closing(lines_of(path, tally=Tally())) as lines:
        found = _header(b"\n".join(line.raw for line in islice(lines, _HEAD_LINES)))
    if found is None:
        raise InvalidInput(f"{path} has no header that names its columns, for example sent_at,author,channel,text")
    columns, _ = found
    if columns.missing:
        lacking = " and no column ".join(columns.missing)
        names = ", ".join(name.strip()[:40] for name in columns.header[:20])
        raise InvalidInput(
            f"{path} has no column {lacking}; its header names {names}; docs/formats.md says what is needed"
        )
    tally = Tally()
    table = _Table(path=path, columns=columns, channel=channel, timezone=timezone, tally=tally)
    return Reading(path=path, format_name="csv", items=table.items(), tally=tally)


@dataclass(frozen=True, slots=True)
class _Record:
    """Some lines of a file, and their fields or why they are no record."""

    lines: list[Line]
    fields: list[str] | None
    reason: str = ""


class _TooLong(Exception):
    """Raised inside the record that is being read."""


class _Records:
    """Takes a file apart into records; memory holds one."""

    def __init__(self, lines: Iterator[Line], delimiter: str, tally: Tally) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._tally = tally
        self._again: list[Line] = []
        self._taken: list[Line] = []
        self._bytes = 0
        self._read_again = 0

    def __iter__(self) -> Iterator[_Record]:
        rows = self._rows()
        while True:
            self._taken, self._bytes = [], 0
            try:
                fields = next(rows)
            except StopIteration:
                return
            except _TooLong:
                reason = "it is too long for a row"
            except csv.Error as error:
                reason = f"it is no row: {error}"
            else:
                yield _Record(self._taken, fields)
                continue
            rows = self._rows()
            yield self._broken(reason)

    def _rows(self) -> Iterator[list[str]]:
        return iter(csv.reader(self._feed(), delimiter=self._delimiter, strict=True))

    def _feed(self) -> Iterator[str]:
        """The next lines, for the parser to take as many as it needs for a record."""
        while True:
            line = self._again.pop() if self._again else next(self._lines, None)
            if line is None:
                return
            self._taken.append(line)
            self._bytes += len(line.raw)
            if line.too_long or self._bytes > _MAX_RECORD_BYTES:
                raise _TooLong
            text, guessed = decode(line.raw)
            self._tally.recoded += guessed
            yield text + "\n"

    def _broken(self, reason: str) -> _Record:
        """The first line alone, if there are more; these may be rows again."""
        first, *more = self._taken
        if more and self._read_again < _MOST_READ_AGAIN:
            self._read_again += 1
            self._again.extend(reversed(more))
            return _Record([first], None, reason)
        below = f", with the {len(more):,} lines below it" if more else ""
        return _Record(self._taken, None, reason + below)


class _Table:
    """One table while it is read."""

    def __init__(
        self, *, path: Readable, columns: Columns, channel: str | None, timezone: dt.tzinfo, tally: Tally
    ) -> None:
        self._path = path
        self._columns = columns
        self._tally = tally
        self._ids = ContentIds()
        self._zone = timezone
        self._times = LocalTimes(timezone)
        self._order = Order.DAY_FIRST
        self._local = False
        discord = _DISCORD.match(path.stem)
        self._title = discord["title"].rpartition(" - ")[2] if discord and not channel else None
        self._channel = channel or (discord and discord["id"]) or path.resolve().parent.name or path.name

    def items(self) -> Iterator[Item]:
        self._tally.notes.append(self._columns.note())
        self._decide_order()
        for record in self._records(self._tally):
            yield from self._take(record)
        if self._local:
            self._tally.notes.extend(self._times.notes())

    def _records(self, tally: Tally) -> Iterator[_Record]:
        return iter(_Records(lines_of(self._path, tally=tally), self._columns.delimiter, tally))

    def _decide_order(self) -> None:
        """Reads the dates of the whole file, if the first ones have an order that is not plain."""
        if "sent_at" not in self._columns.roles and "date" not in self._columns.roles:
            return
        place = self._columns.roles.get("sent_at", self._columns.roles.get("date", 0))
        orders, half = DateOrders(), ""
        for number, record in enumerate(self._records(Tally())):
            written = record.fields[place].strip() if record.fields and len(record.fields) > place else ""
            if (found := _WRITTEN.fullmatch(written)) and not re.match(r"\d{4}-", written):
                orders.see(found["date"])
                half = half or (found["half"] or "")
            elif number >= _HEAD_LINES and not orders.example:
                return
        if orders.example:
            american = "/" in orders.example and half.strip().endswith(("AM", "PM"))
            decision = orders.decide(Order.MONTH_FIRST if american else Order.DAY_FIRST)
            self._order = decision.order
            self._tally.notes.append(f"dates as {orders.example} were read as {decision.order}, {decision.why}")

    def _take(self, record: _Record) -> Iterator[Item]:
        first, fields = record.lines[0], record.fields
        self._tally.continued += len(record.lines) - 1
        self._tally.message_line = first.number
        if fields is None:
            yield first.skipped(record.reason, "broken")
        elif not any(field.strip() for field in fields):
            yield first.skipped(BLANK, "noise")
        elif tuple(fields) == self._columns.header or self._is_before_header(fields, first):
            yield first.skipped(HEADER, "noise")
        elif len(fields) != len(self._columns.header):
            told = f"it has {len(fields):,} fields, and the header has {len(self._columns.header)}"
            yield first.skipped(told, "broken")
        else:
            try:
                yield self._message(fields)
            except (InvalidInput, OverflowError) as error:
                told = str(error) if isinstance(error, InvalidInput) else "its date lies beyond the calendar"
                yield first.skipped(told, "broken")

    def _is_before_header(self, fields: list[str], line: Line) -> bool:
        """Whether these are the first lines of the file: a `sep=;` as Excel wants it, or a header with a mark."""
        if self._tally.messages or self._tally.broken or self._tally.noise[HEADER] > 1:
            return False
        text = decode(line.raw)[0].lstrip("\ufeff")
        return _SEPARATOR_LINE.fullmatch(text) is not None or [one.strip("\ufeff") for one in fields] == [
            one.strip("\ufeff") for one in self._columns.header
        ]

    def _message(self, fields: list[str]) -> IncomingMessage:
        roles = self._columns.roles
        told = {role: fields[place] for role, place in roles.items()}
        text = told["text"]
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InvalidInput(f"a message's text has {len(text):,} characters; {MAX_TEXT_CHARACTERS:,} at most")
        sent_at = self._instant(told.get("sent_at") or f"{told.get('date', '')} {told.get('time', '')}")
        channel = told.get("channel", "").strip()
        author = told.get("author", "").strip()
        where = channel or self._channel
        external_id = told.get("id", "").strip()
        if not external_id:
            external_id = self._ids.next_of(where, as_written(sent_at, self._zone), author, text)
        return IncomingMessage(
            source="csv",
            channel=where,
            channel_title=None if channel else self._title,
            external_id=external_id,
            author=author,
            author_id=told.get("author_id", "").strip() or None,
            text=text,
            sent_at=sent_at,
            reply_to=told.get("reply_to", "").strip() or None,
            thread=told.get("thread", "").strip() or None,
            details=_details(told),
        )

    def _instant(self, written: str) -> dt.datetime:
        """The instant a field names: seconds or milliseconds since 1970, ISO 8601, or a local date and time."""
        written = written.strip().strip("\u200e")
        if not written:
            raise InvalidInput("its time is missing")
        moment = _number(written) or _iso(written) or self._spelt(written)
        if moment is None:
            raise InvalidInput(f"{written[:40]} is no time that is known; write it as 2026-01-31T09:30:00Z")
        if moment.tzinfo is None:
            self._local = True
            moment = self._times.at(moment)
        if moment.year not in YEARS:
            raise InvalidInput(f"its date is in {moment.year}; Winnow takes {YEARS[0]} to {YEARS[-1]}")
        return moment

    def _spelt(self, written: str) -> dt.datetime | None:
        if found := _WRITTEN.fullmatch(written):
            date = date_of(found["date"], self._order)
        elif found := _NAMED_MONTH.fullmatch(written):
            date = _named_date(found)
        else:
            return None
        half = found["half"] or ""
        hour = hour_of_day(int(found["hour"] or 0), half)
        if date is None or hour is None:
            return None
        try:
            zone = _zone(found["zone"])
            time = dt.time(hour, int(found["minute"] or 0), int(found["second"] or 0), tzinfo=zone)
        except ValueError:
            return None
        return dt.datetime.combine(date, time)


def _number(written: str) -> dt.datetime | None:
    if not _NUMBER.fullmatch(written):
        return None
    seconds = float(written)
    while seconds > _SECONDS_UNTIL:
        seconds /= 1000
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _iso(written: str) -> dt.datetime | None:
    if not written[:4].isdecimal() or written.isdecimal():
        return None
    try:
        return dt.datetime.fromisoformat(written.removesuffix(" UTC") + ("Z" if written.endswith(" UTC") else ""))
    except ValueError:
        return None


def _named_date(found: re.Match[str]) -> dt.date | None:
    year, month = found["year"], found["month"].lower()
    if month not in _MONTHS:
        return None
    try:
        return dt.date(int(year) if len(year) > 2 else 2000 + int(year), _MONTHS.index(month) + 1, int(found["day"]))  # noqa: PLR2004
    except ValueError:
        return None


def _zone(written: str | None) -> dt.tzinfo | None:
    """Raises ValueError: there is no such one."""
    if written is None or written in {"Z", "UTC", "GMT"}:
        return dt.UTC if written else None
    return dt.datetime.strptime(written, "%z").tzinfo


def _details(told: dict[str, str]) -> Details:
    details = Details()
    if told.get("media", "").strip():
        details["media"] = "file"
    if reactions := told.get("reactions", "").strip():
        counts = [int(number) for number in _REACTION.findall(reactions)]
        details["reactions"] = sum(counts) if counts else int(reactions) if _COUNT.fullmatch(reactions) else 0
    return details
