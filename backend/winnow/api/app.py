"""The HTTP API: parse, call one use case, answer."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from winnow.api import schemas
from winnow.api.answers import atom_out, search_hit_out, status_out
from winnow.api.backfills import Backfills
from winnow.api.problems import PROBLEM_RESPONSE, add_error_handlers, problem
from winnow.api.requests import LoopbackNames, RequestLog
from winnow.domain.jobs import Kind, Lane
from winnow.domain.knowledge import AtomType
from winnow.domain.messages import storable
from winnow.errors import WinnowError
from winnow.pipeline.ingest import ingest
from winnow.pipeline.overview import overview
from winnow.pipeline.request_extraction import request_extraction
from winnow.pipeline.search import search
from winnow.storage.messages import list_messages
from winnow.storage.search import list_atoms, list_topics

if TYPE_CHECKING:
    from winnow.bootstrap import Winnow
    from winnow.storage.messages import MessageRecord
    from winnow.storage.search import AtomRecord, TopicRecord

LAST = schemas.LAST_ID
Limit = Annotated[int, Query(ge=1, le=100)]
Before = Annotated[int, Query(ge=1, le=LAST, description="Only ids below this one: the page's `next_before`.")]


def create_app(winnow: Winnow) -> FastAPI:
    """The application over one process's tools, which whoever made them closes."""
    app = FastAPI(
        title="Winnow",
        version="0.1.0",
        description="Team chat as knowledge that can be found again.",
        docs_url=None,  # its pages would load scripts from elsewhere; /openapi.json is all there is to know
        redoc_url=None,
        responses={"4XX": PROBLEM_RESPONSE},
    )
    app.state.winnow = winnow
    app.state.backfills = Backfills(winnow)
    app.add_middleware(LoopbackNames)
    app.add_middleware(RequestLog)
    add_error_handlers(app)
    _add_knowledge_routes(app, winnow)
    _add_work_routes(app, winnow)
    _add_health_routes(app, winnow)
    return app


def _add_knowledge_routes(app: FastAPI, winnow: Winnow) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse((files("winnow.web") / "index.html").read_text("utf-8"))

    @app.get("/api/v1/search", summary="Search messages, atoms and topics")
    async def find(
        q: Annotated[str, Query(description="What to look for.", examples=["case sensitivity of keywords"])],
        kind: Annotated[list[Kind] | None, Query(description="Only these kinds.")] = None,
        limit: Limit = 10,
    ) -> schemas.SearchOut:
        answer = await search(winnow.searching(), q, kinds=kind or tuple(Kind), limit=limit)
        return schemas.SearchOut(
            query=answer.query, hits=[search_hit_out(hit) for hit in answer.hits], degraded=answer.degraded
        )

    @app.get("/api/v1/atoms", summary="Atoms, newest first")
    async def atoms(
        type: AtomType | None = None,  # noqa: A002 - the field's name in the answers
        topic_id: Annotated[int | None, Query(ge=1, le=LAST)] = None,
        before: Before = LAST,
        limit: Limit = 20,
    ) -> schemas.PageOut[schemas.AtomOut]:
        found = await list_atoms(winnow.database, type_=type, topic_id=topic_id, before=before, limit=limit)
        return schemas.PageOut(items=[atom_out(item) for item in found], next_before=_next(found, limit))

    @app.get("/api/v1/topics", summary="Topics, newest first")
    async def topics(before: Before = LAST, limit: Limit = 20) -> schemas.PageOut[schemas.TopicOut]:
        found = await list_topics(winnow.database, before=before, limit=limit)
        items = [schemas.TopicOut(**asdict(item)) for item in found]
        return schemas.PageOut(items=items, next_before=_next(found, limit))

    @app.get("/api/v1/messages", summary="Messages, newest first")
    async def messages(
        channel: str | None = None, before: Before = LAST, limit: Limit = 20
    ) -> schemas.PageOut[schemas.MessageOut]:
        where = storable(channel) if channel is not None else None
        found = await list_messages(winnow.database, channel=where, before=before, limit=limit)
        items = [schemas.MessageOut(**asdict(item)) for item in found]
        return schemas.PageOut(items=items, next_before=_next(found, limit))


def _add_work_routes(app: FastAPI, winnow: Winnow) -> None:
    @app.post("/api/v1/messages", summary="Store one message or many", status_code=HTTPStatus.CREATED)
    async def store(body: schemas.MessagesIn, response: Response) -> schemas.StoredOut:
        given = body if isinstance(body, list) else [body]
        done = await ingest(winnow.units, [message.as_message() for message in given], lane=Lane.LIVE)
        if not done.ids:
            response.status_code = HTTPStatus.OK
        return schemas.StoredOut(stored=len(done.ids), known=done.known, ids=list(done.ids))

    @app.post("/api/v1/knowledge/extract", summary="Extract now", status_code=HTTPStatus.ACCEPTED)
    async def extract(body: schemas.ExtractIn) -> schemas.AcceptedOut:
        ids = body.message_ids
        if ids is None:
            ids = await winnow.extractions.unclaimed_ids(channel=body.channel, limit=schemas.MOST_IDS)
        tasks = await request_extraction(winnow.dispatcher, ids)
        return schemas.AcceptedOut(rows=len(ids), tasks=tasks)

    @app.post("/api/v1/embeddings/backfill", summary="Embed what has no vector", status_code=HTTPStatus.ACCEPTED)
    async def backfill(body: schemas.BackfillIn, response: Response) -> schemas.BackfillOut:
        counts = await winnow.embeddings.counts()
        pending = {kind: counts[kind].without_vector for kind in body.kinds}
        if body.dry_run:
            response.status_code = HTTPStatus.OK
        else:
            await app.state.backfills.start(tuple(body.kinds), body.batch_size)
        return schemas.BackfillOut(without_vector=pending, started=not body.dry_run)

    @app.get("/api/v1/status", summary="Where everything stands")
    async def status() -> schemas.StatusOut:
        return status_out(await overview(winnow.overviewing()))


def _add_health_routes(app: FastAPI, winnow: Winnow) -> None:
    @app.get("/health/live", summary="Is the process alive?", tags=["health"])
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/health/ready", summary="Do the database and NATS answer?", tags=["health"])
    async def ready(_request: Request) -> JSONResponse:
        try:
            await winnow.spaces.current()
            await winnow.overviewing().queue.depth(Lane.LIVE)
        except WinnowError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        return JSONResponse({"status": "ready"})


def _next(found: list[AtomRecord] | list[TopicRecord] | list[MessageRecord], limit: int) -> int | None:
    return found[-1].id if len(found) == limit else None
