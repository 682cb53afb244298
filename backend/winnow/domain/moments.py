"""Days and moments as people write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
YEARS = range(1970, 3000)
INSTANT = timedelta(microseconds=1)


def first_moment(given: str) -> datetime:
    """A moment; of a day, which is one of UTC, its first. Raises ValueError, with a sentence."""
    return _read(given)[0]


def end_moment(given: str) -> datetime:
    """A moment; of a day, the one after its last. Raises ValueError, with a sentence."""
    moment, is_day = _read(given)
    return moment + timedelta(days=1) if is_day else moment


def last_moment(given: str) -> datetime:
    """A moment; of a day, its last. Raises ValueError, with a sentence."""
    moment, is_day = _read(given)
    return moment + timedelta(days=1) - INSTANT if is_day else moment


def _read(given: str) -> tuple[datetime, bool]:
    """The moment, and whether it is a whole day that begins with it."""
    given = given.strip()
    is_day = _DAY.fullmatch(given) is not None
    found = _parsed(given, is_day=is_day)
    if found is None:
        raise ValueError(f"{given[:50]!r} is no day and no moment; write it like 2026-01-31 or 2026-01-31T09:30:00Z")
    if found.tzinfo is None:
        raise ValueError(f"{given!r} has no time zone; write it like 2026-01-31T09:30:00Z, or only the day")
    if found.year not in YEARS:
        raise ValueError(f"{given!r} is out of range: {YEARS[0]} to {YEARS[-1]}")
    return found.astimezone(UTC), is_day


def _parsed(given: str, *, is_day: bool) -> datetime | None:
    try:
        if is_day:
            return datetime.combine(date.fromisoformat(given), time(), UTC)
        return datetime.fromisoformat(given.upper().replace(",", ".")) if _MOMENT.fullmatch(given) else None
    except ValueError:
        return None
