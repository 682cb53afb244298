"""Rows whose embedding failed, or waits: listed, shown, made pending again, or set aside for good."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self

from typing_extensions import override

from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role
from winnow.errors import InvalidInput
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from winnow.storage.engine import Database

# What lists show of a text.
FIRST_CHARACTERS = 300
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

State = Literal["failed", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A row that got no vector, and why.

    `at` is when it failed or was set aside, or, while it waits, when it is tried next. It was at fault `attempts`
    times, waited `waits` times, and `deaths` workers ended with it in hand. Lists have the beginning of its `text`
    only; all of it has `characters`.
    """

    kind: Kind
    id: int
    state: str
    at: datetime
    attempts: int
    waits: int
    deaths: int
    error_kind: str | None
    error: str | None
    text: str
    characters: int


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a list of troubles, which is ordered by time, kind and id, the latest first.

    It stays one when the row that it was taken from has gone from the list.
    """

    at: datetime
    kind: str
    id: int

    @classmethod
    def of(cls, trouble: Trouble) -> Self:
        """Where a row stands."""
        return cls(trouble.at, trouble.kind, trouble.id)

    @classmethod
    def read(cls, written: str) -> Self:
        """The place as `str` wrote it. Raises InvalidInput."""
        if not (parts := PLACE.fullmatch(written)):
            raise InvalidInput("before: give it a page's `next_before`, as it came")
        return cls(EPOCH + timedelta(microseconds=int(parts[1])), parts[2], int(parts[3]))

    @override
    def __str__(self) -> str:
        microseconds = (self.at - EPOCH) // timedelta(microseconds=1)
        return f"{microseconds}-{self.kind}-{self.id}"


PLACE = re.compile(rf"([0-9]{{1,16}})-({'|'.join(Kind)})-([0-9]{{1,16}})")
FIRST = Place(datetime(9999, 1, 1, tzinfo=UTC), "", 0)


class FailureStore:
    """The statements of `sql/failures.sql`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def troubles(
        self, *, kinds: Sequence[Kind] = tuple(Kind), state: State = "failed", before: Place = FIRST, limit: int
    ) -> list[Trouble]:
        """Rows of these kinds in a state, the latest first."""
        found: list[Trouble] = []
        async with self._database.autocommit() as connection:
            for kind in kinds:
                rows = await fetch(
                    connection,
                    "list_troubles",
                    state,
                    before.at,
                    before.kind,
                    before.id,
                    limit,
                    FIRST_CHARACTERS,
                    kind=kind,
                )
                found += [_trouble(row) for row in rows]
        return sorted(found, key=Place.of, reverse=True)[:limit]

    async def read(self, kind: Kind, row_id: int) -> Trouble | None:
        """Why a row has no vector, with its whole text; None when it has one, is in hand, plainly pending, or gone."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "read_trouble", row_id, kind=kind)
        return _trouble(rows[0]) if rows else None

    async def retry(self, kind: Kind, ids: Sequence[int] | None) -> list[int]:
        """Makes rows plainly pending again, and says which.

        All that failed; or these, if they failed, wait, or were forgotten.
        """
        return await self._decide("retry_troubles", kind, ids)

    async def look_now(self) -> None:
        """A pause of the model server is over as soon as one worker finds it well."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "look_now", Role.ACTIVE)

    async def forget(self, kind: Kind, ids: Sequence[int] | None) -> list[int]:
        """Sets rows aside until their text changes, and says which.

        All that failed; or these, if they failed or wait.
        """
        return await self._decide("forget_troubles", kind, ids)

    async def _decide(self, statement: str, kind: Kind, ids: Sequence[int] | None) -> list[int]:
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, statement, None if ids is None else list(ids), kind=kind)
        return sorted(row.id for row in rows)


def _trouble(row: Row[Any]) -> Trouble:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return Trouble(**values | {"kind": Kind(values["kind"])})
