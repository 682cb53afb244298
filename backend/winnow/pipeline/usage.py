"""What was used in a period, summed up: requests, tokens, time and money."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from winnow.domain.usage import Totals
from winnow.errors import InvalidInput
from winnow.storage.usage import usage_totals

if TYPE_CHECKING:
    from winnow.domain.usage import By
    from winnow.storage.engine import Database

DAYS = 30
MOST_DAYS = 3660
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """What was used since then, until now; all moments and days are UTC."""

    by: By
    since: datetime
    until: datetime
    lines: tuple[Totals, ...]
    total: Totals


async def usage(database: Database, *, by: By, days: int | None = None, since: date | None = None) -> UsageReport:
    """What was used in the last days, today among them, or since the beginning of a day; 30 days, if nothing is said.

    Raises:
        InvalidInput: both are said, or there are not 1 to 3660 days.
    """
    if days is not None and since is not None:
        raise InvalidInput("give days or since, not both")
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise InvalidInput(f"days is {days}; choose 1 to {MOST_DAYS}")
    now = datetime.now(UTC)
    first = since or now.date() - timedelta(days=(days or DAYS) - 1)
    began = datetime.combine(first, time(), UTC)
    lines = await usage_totals(database, by=by, since=began)
    return UsageReport(by=by, since=began, until=now, lines=tuple(lines), total=sum(lines, Totals()))


def read_day(given: str) -> date:
    """A day written like 2026-01-31. Raises `InvalidInput`."""
    with suppress(ValueError):
        if _DAY.fullmatch(given):
            return date.fromisoformat(given)
    raise InvalidInput(f"{given!r} is no day; write it like 2026-01-31")
