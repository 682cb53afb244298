"""Times as people's phones and tables write them: in which order day, month and year stand, half days, local clocks."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

from winnow.domain.messages import YEARS

_NUMBERS = re.compile(r"(\d{1,4})\D+?(\d{1,2})\D+?(\d{1,4})")
_CENTURY = 2000
_LONG_YEAR = 3  # digits from which a number can only be a year
_CLEARLY_CLOSER = 4
_HALF_DAY = 12
_SAME_HOUR_SECONDS = 2 * 3600

_BEFORE_NOON = frozenset(
    "am a vorm πμ öö ص قظ дп de dop sa पूर्वाह्न ip fm fh pg 上午 凌晨 早上 清晨 오전 午前 ก่อนเที่ยง".split()  # noqa: SIM905
)
_AFTER_NOON = frozenset(
    "pm p nachm μμ ös م بظ пп du odp ch अपराह्न ap em eh ptg 下午 中午 晚上 오후 午後 หลังเที่ยง".split()  # noqa: SIM905
)
_NO_HALF = frozenset({"", "uhr", "h", "à", "um", "at", "kl", "в", "о", "las", "alas", "às", "om", "alle", "ore", "klo"})
_NOT_OF_A_WORD = re.compile("[\\s.,\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


class Order(StrEnum):
    """What stands where in a date of three numbers."""

    DAY_FIRST = "day/month/year"
    MONTH_FIRST = "month/day/year"
    YEAR_FIRST = "year/month/day"


_PLACES = {Order.DAY_FIRST: (2, 1, 0), Order.MONTH_FIRST: (2, 0, 1), Order.YEAR_FIRST: (0, 1, 2)}


def date_of(written: str, order: Order) -> dt.date | None:
    """The day that `31/12/19` or `2019. 12. 31.` names in this order; None where there is no such day."""
    found = _NUMBERS.match(written)
    return _date(found.groups(), order) if found else None


def _date(numbers: tuple[str, ...], order: Order) -> dt.date | None:
    year, month, day = (numbers[place] for place in _PLACES[order])
    if len(day) >= _LONG_YEAR or len(year) == _LONG_YEAR:
        return None
    try:
        return dt.date(int(year) if len(year) > _LONG_YEAR else _CENTURY + int(year), int(month), int(day))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Decision:
    """The order of a file's dates, and why it was taken."""

    order: Order
    why: str


@dataclass(slots=True)
class _Trial:
    """How a file's dates look when they are read in one order."""

    impossible: int = 0
    backwards: int = 0
    days_apart: int = 0
    last: int = 0


class DateOrders:
    """Finds out from all dates of a file in which order they are written; memory does not grow."""

    def __init__(self) -> None:
        self._trials = {order: _Trial() for order in Order}
        self._last = ""
        self.example = ""

    def see(self, written: str) -> None:
        """Takes the next date of the file into account."""
        if written == self._last:
            return
        self._last = written
        found = _NUMBERS.match(written)
        if found is None:
            return
        numbers = found.groups()
        self.example = self.example or written
        for order, trial in self._trials.items():
            day = _date(numbers, order)
            if day is None:
                trial.impossible += 1
                continue
            step = day.toordinal() - trial.last if trial.last else 0
            trial.backwards += step < 0
            trial.days_apart += abs(step)
            trial.last = day.toordinal()

    def decide(self, default: Order) -> Decision:
        """The order with the fewest impossible dates, then the fewest steps back, then days that lie closest together.

        A year of two digits stands first only where nothing else explains the dates, or where `default` says so. Where
        all that tells nothing, it is `default`.
        """
        faults = {order: (trial.impossible, trial.backwards) for order, trial in self._trials.items()}
        usual = [Order.DAY_FIRST, Order.MONTH_FIRST]
        least = min(faults[order] for order in usual)
        if faults[Order.YEAR_FIRST] < least or (default is Order.YEAR_FIRST and faults[default] == least):
            return Decision(Order.YEAR_FIRST, _reason(faults[Order.YEAR_FIRST], least))
        chosen = min(usual, key=lambda order: (faults[order], order != default))
        other = usual[1 - usual.index(chosen)]
        if faults[chosen] < faults[other]:
            return Decision(chosen, _reason(faults[chosen], faults[other]))
        apart, others = self._trials[chosen].days_apart, self._trials[other].days_apart
        if others and apart >= _CLEARLY_CLOSER * others:
            return Decision(other, _CLOSEST)
        return Decision(chosen, _CLOSEST if apart and others >= _CLEARLY_CLOSER * apart else _NOTHING_TELLS)


_CLOSEST = "a guess, because its days then lie closest together"
_NOTHING_TELLS = "a guess, because nothing in the file tells"


def _reason(chosen: tuple[int, int], other: tuple[int, int]) -> str:
    """Why an order is better than another: by its impossible dates, or by its steps back."""
    if chosen[0] < other[0]:
        return "in another order some of its dates would not exist"
    return "in another order its dates would run backwards" if chosen[1] < other[1] else _NOTHING_TELLS


def hour_of_day(hour: int, *words: str) -> int | None:
    """The hour on a clock of 24, by the words beside the time in any language known; None if one is unknown.

    A clock of 24 hours keeps its hours above 12, and 0 o'clock in the afternoon is noon, as Japan writes it.
    """
    for written in words:
        word = _NOT_OF_A_WORD.sub("", written.casefold()) if written else ""
        if word in _BEFORE_NOON:
            return hour % _HALF_DAY if hour <= _HALF_DAY else None
        if word in _AFTER_NOON:
            return hour % _HALF_DAY + _HALF_DAY if hour <= _HALF_DAY else hour
        if word not in _NO_HALF:
            return None
    return hour


class LocalTimes:
    """Turns clock times without a zone into instants, in the order of the file, over changes of the clock, too.

    An hour that the clock shows twice in autumn is the first one, until the times of the file jump back. A time that
    the clock skips in spring is read as if it had not been put forward yet, which is what a phone late to change wrote.
    """

    def __init__(self, zone: dt.tzinfo) -> None:
        self._zone = zone
        self._last = 0.0
        self.skipped = 0

    def at(self, local: dt.datetime) -> dt.datetime:
        """The instant of a naive local time.

        Raises:
            OverflowError: the calendar ends.
        """
        first = local.replace(tzinfo=self._zone, fold=0)
        if self._zone is dt.UTC:
            return first
        second = first.replace(fold=1)
        before, after = first.utcoffset(), second.utcoffset()
        if before is not None and after is not None and before != after:
            first = self._over_a_change(first, second, gap=before < after)
        if first.year in YEARS:
            self._last = first.timestamp()
        return first

    def _over_a_change(self, first: dt.datetime, second: dt.datetime, *, gap: bool) -> dt.datetime:
        if gap:
            self.skipped += 1
            return first.astimezone(dt.UTC).astimezone(self._zone)
        ahead = self._last - first.timestamp()
        return second if 0 < ahead <= _SAME_HOUR_SECONDS else first

    def notes(self) -> list[str]:
        """What a person should know: which zone was taken, and times that this zone never had."""
        told = [zone_note(self._zone)]
        if self.skipped:
            skipped = f"{self.skipped:,} of its times the clock of {self._zone} skipped"
            told.append(f"{skipped}; they were read an hour later")
        return told


def as_written(moment: dt.datetime, zone: dt.tzinfo) -> str:
    """The moment as part of an identity: if it was read in `zone`, as the clock showed it, whichever zone that is."""
    return (moment.replace(tzinfo=dt.UTC) if moment.tzinfo is zone else moment).isoformat()


def zone_note(zone: dt.tzinfo) -> str:
    """What a person should know of a file whose times name no zone."""
    return f"its times name no zone and were read as {zone} (--timezone reads them as another)"
