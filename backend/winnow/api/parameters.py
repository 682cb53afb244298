"""What a request may ask by its address: nothing that no route knows, and filters of atoms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute
from pydantic import BeforeValidator, Field, WithJsonSchema

from winnow.api.requests import WEBHOOKS
from winnow.domain.knowledge import AtomStatus, AtomType
from winnow.domain.moments import end_moment, first_moment, last_moment
from winnow.errors import InvalidInput
from winnow.pipeline.filters import AskedMessages, whole_filter
from winnow.storage.atom_filter import CURSOR, AtomFilter, Order, Place
from winnow.storage.engine import Database

MOST_SHOWN = 5
MOST_TEXT_CHARACTERS = 1000
PATTERN = "^(19[7-9][0-9]|2[0-9]{3})-"  # years that messages can be of
WRITTEN = WithJsonSchema(
    {
        "anyOf": [{"type": "string", "format": one, "pattern": PATTERN} for one in ("date", "date-time")],
        "examples": ["2026-01-31", "2026-01-31T09:30:00Z"],
    }
)
Since = Annotated[
    Annotated[datetime, BeforeValidator(first_moment), WRITTEN] | None,
    Query(description="From then on; a day, which is one of UTC, or a moment."),
]
Until = Annotated[
    Annotated[datetime, BeforeValidator(end_moment), WRITTEN] | None,
    Query(description="Until then; with all of the day, when it is a day."),
]
AsOf = Annotated[
    Annotated[datetime, BeforeValidator(last_moment), WRITTEN] | None,
    Query(description="What held at that moment, or at the end of that day."),
]
Words = Annotated[str, Field(max_length=MOST_TEXT_CHARACTERS)]
Limit = Annotated[int, Query(ge=1, le=100)]
# Checked by `Place.read`, in better words.
Cursor = Annotated[
    Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{CURSOR}$"})] | None,
    Query(description="A page's `next_cursor`: the page after it, with the same filters and order."),
]


class AskedStatus(StrEnum):
    """A status of atoms, or all of them."""

    ACTIVE = "active"
    CANDIDATE = "candidate"
    UNPROVEN = "unproven"
    REJECTED = "rejected"
    MERGED = "merged"
    ALL = "all"


def known_parameters(request: Request) -> None:
    """Refuses a parameter that the route does not have: a filter with a slip in its name would find everything.

    Raises:
        InvalidInput: it says which there are.
    """
    route = request.scope.get("route")
    path = request.scope["path"]
    if not isinstance(route, APIRoute) or not path.startswith("/api/") or path in WEBHOOKS:
        return
    described = request.app.openapi()["paths"].get(route.path, {}).get(request.method.lower(), {})
    known = sorted(one["name"] for one in described.get("parameters", ()) if one["in"] == "query")
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        names = ", ".join(name[:50] for name in unknown[:MOST_SHOWN])
        there = f"it has: {', '.join(known)}" if known else "it has none"
        raise InvalidInput(f"{names}: this path has no such parameter; {there}")


def messages_asked(
    channel: Annotated[Words | None, Query(description="Its identity or its title.")] = None,
    source: Annotated[Words | None, Query(description="telegram, slack, irc, api, …")] = None,
    author: Annotated[Words | None, Query(description="A name, or the source's own id.")] = None,
) -> AskedMessages:
    """Reads the three that are of messages."""
    return AskedMessages(channel=channel, source=source, author=author)


Messages = Annotated[AskedMessages, Depends(messages_asked)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomsAsked:
    """Atoms as a request asks for them, before its topic and channel are looked up."""

    wanted: AtomFilter
    topic: str | None
    messages: AskedMessages

    async def whole(self, database: Database) -> AtomFilter:
        """The whole filter. Raises TopicNotFound."""
        return await whole_filter(database, self.wanted, topic=self.topic, messages=self.messages)


def atoms_asked(
    messages: Messages,
    type: Annotated[list[AtomType] | None, Query(description="Only these types.")] = None,  # noqa: A002 - as in answers
    status: Annotated[list[AskedStatus] | None, Query(description="Only these; active, if nothing is said.")] = None,
    topic: Annotated[Words | None, Query(description="Its id or its name.")] = None,
    since: Since = None,
    until: Until = None,
    as_of: AsOf = None,
    confidence: Annotated[float | None, Query(ge=0, le=1, description="At least so sure.")] = None,
    extractor: Annotated[Words | None, Query(description="As in the answers: rules, ollama:qwen3:8b.")] = None,
    text: Annotated[Words | None, Query(description="All of these words, in any form.")] = None,
    waiting: Annotated[bool, Query(description="Only what waits for a person; `status` is not looked at.")] = False,
    open: Annotated[bool, Query(description="Only what nobody answered, solved, closed or superseded.")] = False,  # noqa: A002 - the same
) -> AtomsAsked:
    """Reads the filters of atoms."""
    return AtomsAsked(
        wanted=AtomFilter(
            types=tuple(type or ()),
            statuses=_statuses(status),
            since=since,
            until=until,
            as_of=as_of,
            confidence=confidence,
            extractor=extractor,
            text=text,
            waiting=waiting,
            open=open,
        ),
        topic=topic,
        messages=messages,
    )


def _statuses(asked: list[AskedStatus] | None) -> tuple[AtomStatus, ...] | None:
    if not asked:
        return (AtomStatus.ACTIVE,)
    return None if AskedStatus.ALL in asked else tuple(AtomStatus(one.value) for one in asked)


Atoms = Annotated[AtomsAsked, Depends(atoms_asked)]


def place_of(cursor: str | None, order: Order) -> Place | None:
    """Where the page begins. Raises InvalidInput."""
    return None if cursor is None else Place.read(cursor, order)
