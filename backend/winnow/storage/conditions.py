"""Filters as SQL: the named conditions of `sql/reading_conditions.sql`, joined by AND where a statement leaves room."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from winnow.storage.named import fetch, statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.jobs import Kind

CHOSEN, SAID = "true /* chosen */", "true /* said */"
_PARAMETER = re.compile(r"\$(\d+)")


def _condition(name: str) -> str:
    """Without the sentence about the next one, which would comment away what follows in the same line."""
    return "\n".join(line for line in statement(name).splitlines() if not line.startswith("--")).strip()


@dataclass(slots=True)
class Conditions:
    """Conditions with their values, to stand behind a statement's own `first` parameters.

    They are put together for each question, rather than each being `$1 IS NULL OR …` in one statement for all, so that
    PostgreSQL plans with those that are there.
    """

    first: int
    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, name: str, *values: Any) -> None:
        """One more, by its name."""
        before = self.first + len(self.values)
        self.parts.append(_PARAMETER.sub(lambda found: f"${before + int(found[1])}", _condition(name)))
        self.values += values

    def add_said(self, name: str, said: Said) -> None:
        """One more, that leaves room for conditions on messages and has no parameters of its own."""
        inside = said.conditions(self.first + len(self.values))
        self.parts.append(_condition(name).replace(SAID, inside.sql))
        self.values += inside.values

    def and_also(self, name: str, *values: Any) -> Conditions:
        """These with one more, beside these."""
        more = Conditions(self.first, list(self.parts), list(self.values))
        more.add(name, *values)
        return more

    @property
    def sql(self) -> str:
        """All of them; true when there are none."""
        return " AND ".join(f"({part})" for part in self.parts) or "true"

    def about(self, alias: str, other: str) -> Conditions:
        """The same, about another alias."""
        parts = [re.sub(rf"\b{alias}\.", f"{other}.", part) for part in self.parts]
        return Conditions(self.first, parts, list(self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Which messages are meant: of a source, of channels (pairs of source and channel), by an author, in a period.

    `author` is a name or the source's own id; the period is from `since` until before `until`. None: whichever.
    """

    source: str | None = None
    places: Sequence[tuple[str, str]] | None = None
    author: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def any_message(self) -> bool:
        """Whether nothing is asked of them."""
        return self == Said()

    def conditions(self, first: int) -> Conditions:
        """As conditions on messages `m`."""
        made = Conditions(first)
        if self.places is not None:
            made.add("message_in_places", *_columns(self.places))
        elif self.source is not None:
            made.add("message_of_source", self.source)
        if self.author is not None:
            made.add("message_by_author", self.author)
        if self.since is not None:
            made.add("message_said_since", self.since)
        if self.until is not None:
            made.add("message_said_until", self.until)
        return made


def _columns(places: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [source for source, _ in places], [channel for _, channel in places]


async def channel_places(
    connection: AsyncConnection, channel: str, *, source: str | None = None
) -> list[tuple[str, str]]:
    """The channels that a name stands for, by identity or title, as pairs of source and channel."""
    return [(row.source, row.channel) for row in await fetch(connection, "channel_places", channel, source)]


async def fetch_chosen(
    connection: AsyncConnection,
    name: str,
    *values: Any,
    where: Conditions,
    marker: str = CHOSEN,
    kind: Kind | None = None,
    distance: str = "",
) -> Sequence[Row[Any]]:
    """Runs a named statement that has room for conditions; `where.first` is how many `values` there are."""
    sql = statement(name, kind).replace(marker, where.sql).replace("{distance}", distance)
    result = await connection.exec_driver_sql(sql, (*values, *where.values))
    return result.all()
