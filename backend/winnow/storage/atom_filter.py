"""Which atoms are asked for, and in which order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomStatus, AtomType
from winnow.errors import InvalidInput
from winnow.storage.conditions import SAID, Conditions, Said, fetch_chosen

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# Up to so many atoms of a channel or an author are looked up first and then filtered; of more, each atom is asked.
FEW = 10_000
# A cursor: what it may hold is right, so that its description says all there is to it.
CURSOR = r"([0-9]{1,15})_(none|-?[0-9]{1,16})_(0\.[0-9]{12}|1\.0{12})"
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class Order(StrEnum):
    """Which atoms come first: said last, said first, or surest."""

    NEWEST = "newest"
    OLDEST = "oldest"
    SUREST = "surest"


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomFilter:
    """Which atoms; None asks nothing.

    Attributes:
        types: any of these.
        statuses: any of these; None: whatever it is.
        topic_id: filed under this topic.
        no_topic: filed under none.
        said: what the messages it rests on are to be like: source, channel, author.
        since, until: when it was said, from the one until before the other.
        as_of: it held at that moment.
        confidence: at least so sure, 0 to 1.
        extractor: made by this one.
        text: all of these words are in its title and content.
        waiting: a person is to decide on it; `statuses` are not looked at then.
        open: nobody has answered, solved, closed or superseded it.
    """

    types: tuple[AtomType, ...] = ()
    statuses: tuple[AtomStatus, ...] | None = (AtomStatus.ACTIVE,)
    topic_id: int | None = None
    no_topic: bool = False
    said: Said = field(default_factory=Said)
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None
    confidence: float | None = None
    extractor: str | None = None
    text: str | None = None
    waiting: bool = False
    open: bool = False

    async def conditions(self, connection: AsyncConnection, first: int) -> Conditions:
        """As conditions on atoms `a`, to stand behind `first` parameters."""
        made = Conditions(first)
        if self.waiting:
            made.add("atom_waits")
        elif self.statuses is not None:
            made.add("atom_has_status", [status.value for status in self.statuses])
        if self.open:
            made.add("atom_is_open")
        if self.no_topic:
            made.add("atom_without_topic")
        for name, value in self._asked().items():
            if value is not None:
                made.add(name, value)
        if not self.said.any_message:
            await self._add_said(connection, made)
        return made

    def _asked(self) -> dict[str, object]:
        return {
            "atom_has_type": [kind.value for kind in self.types] or None,
            "atom_in_topic": self.topic_id,
            "atom_said_since": self.since,
            "atom_said_until": self.until,
            "atom_held_at": self.as_of,
            "atom_as_sure_as": self.confidence,
            "atom_made_by": self.extractor,
            "atom_has_words": self.text,
        }

    async def _add_said(self, connection: AsyncConnection, made: Conditions) -> None:
        looked_up = self.said.conditions(1)
        rows = await fetch_chosen(connection, "atoms_said", FEW + 1, where=looked_up, marker=SAID)
        if len(rows) <= FEW:
            made.add("atom_is_one_of", sorted({row.id for row in rows}))
            return
        made.add_said("atom_rests_on", self.said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page of atoms ended: its last atom, in its order."""

    order: Order
    id: int
    said_at: datetime | None
    confidence: float

    def stretches(self) -> list[tuple[str, tuple[object, ...]]]:
        """What comes after it, as conditions: one stretch of the index after the other.

        Who reads on page by page pays for a page, then. What nobody knows the time of is the newest of all.
        """
        if self.order is Order.SUREST:
            return [("atom_after_surest", (self.confidence, self.id))]
        if self.order is Order.NEWEST:
            if self.said_at is None:
                return [("atom_undated_before", (self.id,)), ("atom_dated", ())]
            return [("atom_after_newest", (self.said_at, self.id))]
        if self.said_at is None:
            return [("atom_undated_after", (self.id,))]
        return [("atom_after_oldest", (self.said_at, self.id)), ("atom_undated_after", (0,))]

    def token(self) -> str:
        """As one word that a caller gives back, whatever the order: id, microseconds since 1970, confidence."""
        said = "none" if self.said_at is None else (self.said_at - EPOCH) // MICROSECOND
        return f"{self.id}_{said}_{self.confidence:.12f}"

    @classmethod
    def read(cls, token: str, order: Order) -> Place:
        """What `token` has made.

        Raises:
            InvalidInput: it has not.
        """
        found = re.fullmatch(CURSOR, token, re.ASCII)
        if found is None:
            raise InvalidInput("cursor: give it a page's `next_cursor`, as it came")
        identity, said, sure = found.groups()
        at = None if said == "none" else EPOCH + int(said) * MICROSECOND
        return cls(order=order, id=int(identity), said_at=at, confidence=float(sure))
