"""Routes that find what was said: search, and messages."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Query

from winnow.api import schemas
from winnow.api.answers import search_hit_out
from winnow.api.knowledge_schemas import MessageInFullOut, NamedAtomOut, SearchOut
from winnow.api.parameters import Limit, Messages, Since, Until
from winnow.domain.jobs import Kind
from winnow.domain.messages import MessageState, storable
from winnow.errors import MessageNotFound
from winnow.pipeline.filters import said_by
from winnow.pipeline.search import MOST_QUERY_CHARACTERS, search
from winnow.storage.messages import list_messages, messages_by_id
from winnow.storage.reading_in_full import atoms_of_message

if TYPE_CHECKING:
    from fastapi import FastAPI

    from winnow.bootstrap import Winnow

LAST = schemas.LAST_ID
Before = Annotated[int, Query(ge=1, le=LAST, description="Only ids below this one: the page's `next_before`.")]


def add_finding_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""

    @app.get("/api/v1/search", summary="Search messages, atoms and topics")
    async def find(
        q: Annotated[
            str,
            Query(
                description="What to look for.",
                examples=["case sensitivity of keywords"],
                # `search` itself says what is wrong, in better words
                json_schema_extra={"pattern": r"[^\s\x00\x1c-\x1f\x85]", "maxLength": MOST_QUERY_CHARACTERS},
            ),
        ],
        messages: Messages,
        kind: Annotated[list[Kind] | None, Query(description="Only these kinds.")] = None,
        since: Since = None,
        until: Until = None,
        limit: Limit = 10,
    ) -> SearchOut:
        said = await said_by(winnow.database, messages, since=since, until=until)
        answer = await search(winnow.searching(), q, kinds=kind or tuple(Kind), limit=limit, said=said)
        return SearchOut(
            query=answer.query, hits=[search_hit_out(hit) for hit in answer.hits], degraded=answer.degraded
        )

    @app.get("/api/v1/messages", summary="Messages, newest first")
    async def messages(
        channel: str | None = None,
        author: Annotated[str | None, Query(description="A name, or the source's own id.")] = None,
        state: MessageState | None = None,
        before: Before = LAST,
        limit: Limit = 20,
    ) -> schemas.PageOut[schemas.MessageOut]:
        where, who = (storable(given) if given is not None else None for given in (channel, author))
        found = await list_messages(winnow.database, channel=where, author=who, state=state, before=before, limit=limit)
        last = found[-1].id if len(found) == limit else None
        return schemas.PageOut(items=[schemas.MessageOut(**asdict(item)) for item in found], next_before=last)

    @app.get("/api/v1/messages/{id}", summary="One message, and the knowledge that quotes it")
    async def message(id: Annotated[int, Path(ge=1, le=LAST)]) -> MessageInFullOut:  # noqa: A002 - as in the path
        found = await messages_by_id(winnow.database, [id])
        if id not in found:
            raise MessageNotFound(f"there is no message {id}")
        atoms = [NamedAtomOut(**asdict(atom)) for atom in await atoms_of_message(winnow.database, id)]
        return MessageInFullOut(**asdict(found[id]), atoms=atoms)
