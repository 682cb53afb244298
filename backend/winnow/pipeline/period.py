"""A period as people write it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from winnow.errors import InvalidInput

_HOW = "write a day (2026-01-31, in UTC) or a moment with its zone (2026-01-31T09:30:00Z)"


def read_moment(given: str, *, end: bool = False) -> datetime:
    """A day or a moment with its zone, in UTC. A day is its beginning; as the `end` of a period, it is still in it.

    Raises:
        InvalidInput: it is neither.
    """
    written = given.strip()
    try:
        if len(written) == len("2026-01-31"):
            midnight = datetime.combine(date.fromisoformat(written), time(), UTC)
            return midnight + timedelta(days=1) if end else midnight
        moment = datetime.fromisoformat(written)
        if moment.tzinfo is None:
            raise InvalidInput(f"{given[:40]} has no time zone; {_HOW}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{given[:40]!r} is no time; {_HOW}") from error
