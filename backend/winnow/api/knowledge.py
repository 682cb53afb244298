"""Routes that read what is known: atoms, topics, decisions, and what is open."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Query
from starlette.responses import StreamingResponse

from winnow.api import knowledge_schemas as schemas
from winnow.api.knowledge_answers import atom_in_full_out, counts_out, open_page_out, page_out, topic_out
from winnow.api.parameters import AsOf, Atoms, Cursor, Limit, Messages, Since, Until, Words, place_of
from winnow.api.schemas import LAST_ID, PageOut
from winnow.domain.knowledge import AtomType
from winnow.domain.messages import storable
from winnow.errors import TopicNotFound
from winnow.pipeline.export import Export, Format, export
from winnow.pipeline.export_markdown import Sections
from winnow.pipeline.filters import whole_filter
from winnow.pipeline.topics import rename_topic
from winnow.storage.atom_filter import AtomFilter, Order
from winnow.storage.reading import count_atoms, list_atoms, places_of
from winnow.storage.reading_in_full import atom_in_full
from winnow.storage.reading_topics import list_topics, topics_in_full

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from winnow.bootstrap import Winnow

MOST_AROUND = 20
DECIDED = (AtomType.DECISION, AtomType.REQUIREMENT)
# What stays open until somebody closes it or something answers it: each a list of its own.
OPEN = {
    "questions": ((AtomType.QUESTION,), "Open questions: nobody has answered them"),
    "problems": ((AtomType.PROBLEM, AtomType.BLOCKER), "Problems and blockers that nothing solves yet"),
    "actions": ((AtomType.ACTION,), "Actions that nobody has closed"),
}
Row = Annotated[int, Path(ge=1, le=LAST_ID)]
Before = Annotated[int, Query(ge=1, le=LAST_ID, description="Only ids below this one: the page's `next_before`.")]
Sorted = Annotated[Order, Query(description="Said last, said first, or the surest first.")]


def add_knowledge_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""
    _add_atom_routes(app, winnow)
    _add_topic_routes(app, winnow)
    for name, (types, summary) in OPEN.items():
        _add_open_route(app, winnow, name, types, summary)

    @app.get("/api/v1/decisions", summary="The decision log: decisions and requirements in the order of time")
    async def decisions(
        messages: Messages,
        topic: Annotated[Words | None, Query(description="Its id or its name.")] = None,
        since: Since = None,
        until: Until = None,
        as_of: AsOf = None,
        order: Sorted = Order.NEWEST,
        cursor: Cursor = None,
        limit: Limit = 20,
    ) -> schemas.AtomsOut:
        wanted = AtomFilter(types=DECIDED, since=since, until=until, as_of=as_of)
        whole = await whole_filter(winnow.database, wanted, topic=topic, messages=messages)
        after = place_of(cursor, order)
        return page_out(await list_atoms(winnow.database, whole, order=order, after=after, limit=limit))

    @app.get(
        "/api/v1/export",
        summary="Everything that is known, as a file",
        response_class=StreamingResponse,
        responses={
            HTTPStatus.OK.value: {
                "description": "JSON Lines, or Markdown for people. The last line of JSON Lines says that it is whole.",
                "content": {one.media_type: {"schema": {"type": "string"}} for one in Format},
            }
        },
    )
    async def export_it(
        asked: Atoms,
        format: Annotated[Format, Query(description="For programs, or for people.")] = Format.JSONL,  # noqa: A002 - as people say
        by: Annotated[Sections, Query(description="What Markdown is ordered by.")] = Sections.TYPE,
    ) -> StreamingResponse:
        wanted = Export(format=format, by=by, chosen=await asked.whole(winnow.database))
        pieces = export(winnow.database, wanted)
        first = await anext(pieces)  # what is wrong at the beginning is told before anything is on its way
        name = f"winnow.{format.ending}"

        async def whole() -> AsyncIterator[bytes]:
            yield first
            async for piece in pieces:
                yield piece

        return StreamingResponse(
            whole(), media_type=format.media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )


def _add_atom_routes(app: FastAPI, winnow: Winnow) -> None:
    @app.get("/api/v1/atoms", summary="Atoms, by type, status, topic, channel, author, period, confidence and words")
    async def atoms(
        asked: Atoms, order: Sorted = Order.NEWEST, cursor: Cursor = None, limit: Limit = 20
    ) -> schemas.AtomsOut:
        wanted, after = await asked.whole(winnow.database), place_of(cursor, order)
        return page_out(await list_atoms(winnow.database, wanted, order=order, after=after, limit=limit))

    @app.get("/api/v1/atoms/{id}", summary="One atom, with the talk around its words and every wording")
    async def atom(
        id: Row,  # noqa: A002 - as in the path
        around: Annotated[int, Query(ge=0, le=MOST_AROUND, description="Messages before and after each quote.")] = 3,
    ) -> schemas.AtomInFullOut:
        return atom_in_full_out(await atom_in_full(winnow.database, id, around=around))

    @app.get("/api/v1/knowledge/counts", summary="How many atoms there are, by type and status")
    async def counts(asked: Atoms) -> schemas.AtomCountsOut:
        return counts_out(await count_atoms(winnow.database, await asked.whole(winnow.database)))


def _add_topic_routes(app: FastAPI, winnow: Winnow) -> None:
    @app.get("/api/v1/topics", summary="Topics, newest first")
    async def topics(
        text: Annotated[Words | None, Query(description="All of these words are in its name or description.")] = None,
        channel: Annotated[Words | None, Query(description="Talked about there: its identity or its title.")] = None,
        before: Before = LAST_ID,
        limit: Limit = 20,
    ) -> PageOut[schemas.TopicInFullOut]:
        places = None if channel is None else await places_of(winnow.database, storable(channel))
        words = None if text is None else storable(text)
        found = await list_topics(winnow.database, text=words, places=places, before=before, limit=limit)
        last = found[-1].id if len(found) == limit else None
        return PageOut(items=[topic_out(topic) for topic in found], next_before=last)

    @app.get("/api/v1/topics/{id}", summary="One topic; its atoms are at /api/v1/atoms?topic={id}")
    async def topic(id: Row) -> schemas.TopicInFullOut:  # noqa: A002 - as in the path
        return await _topic(winnow, id)

    @app.patch("/api/v1/topics/{id}", summary="Give a topic another name; it stays the same topic")
    async def rename(id: Row, body: schemas.TopicIn) -> schemas.TopicInFullOut:  # noqa: A002 - the same
        await rename_topic(winnow.units, id, body.name)
        return await _topic(winnow, id)


async def _topic(winnow: Winnow, topic_id: int) -> schemas.TopicInFullOut:
    found = await topics_in_full(winnow.database, [topic_id])
    if topic_id not in found:
        raise TopicNotFound(f"there is no topic {topic_id}")
    return topic_out(found[topic_id])


def _add_open_route(app: FastAPI, winnow: Winnow, name: str, types: tuple[AtomType, ...], summary: str) -> None:
    @app.get(f"/api/v1/{name}", summary=summary, operation_id=f"open_{name}")
    async def still_open(
        messages: Messages,
        topic: Annotated[Words | None, Query(description="Its id or its name.")] = None,
        since: Since = None,
        until: Until = None,
        order: Sorted = Order.NEWEST,
        cursor: Cursor = None,
        limit: Limit = 20,
    ) -> schemas.OpenPageOut:
        wanted = AtomFilter(types=types, since=since, until=until, open=True)
        whole = await whole_filter(winnow.database, wanted, topic=topic, messages=messages)
        page = await list_atoms(winnow.database, whole, order=order, after=place_of(cursor, order), limit=limit)
        return open_page_out(page, await count_atoms(winnow.database, whole))
