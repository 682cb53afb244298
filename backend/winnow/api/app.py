"""The HTTP API: parse, call one use case, answer."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse

from winnow.api import embedding_schemas, schemas
from winnow.api.answers import atom_out, search_hit_out, status_out
from winnow.api.backfills import Backfills
from winnow.api.embeddings import add_embedding_routes
from winnow.api.guard import Guard, describe
from winnow.api.idempotency import Idempotency, IdempotencyKey
from winnow.api.limits import Uploads
from winnow.api.messages import add_message_routes
from winnow.api.models import add_model_routes
from winnow.api.problems import PROBLEM_RESPONSE, add_error_handlers, problem
from winnow.api.providers import add_provider_routes
from winnow.api.readiness import Readiness
from winnow.api.requests import LoopbackNames, RequestLog
from winnow.api.runs import add_run_routes
from winnow.api.storing import MakeUp, store_many, store_one
from winnow.api.usage import add_usage_routes
from winnow.api.usage_schemas import estimate_out
from winnow.api.webhooks import TelegramSecret, add_webhook_routes
from winnow.domain.jobs import Kind, Lane
from winnow.domain.knowledge import AtomType
from winnow.domain.messages import MessageState, storable
from winnow.pipeline.estimate import estimate
from winnow.pipeline.intake import Intake
from winnow.pipeline.overview import overview
from winnow.pipeline.search import MOST_QUERY_CHARACTERS, search
from winnow.storage.keys import KeyStore
from winnow.storage.messages import list_messages
from winnow.storage.search import list_atoms, list_topics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from winnow.bootstrap import Winnow
    from winnow.storage.messages import MessageRecord
    from winnow.storage.search import AtomRecord, TopicRecord

LAST = schemas.LAST_ID
PAGE = (
    ("/", "index.html", "text/html; charset=utf-8"),
    ("/page.css", "page.css", "text/css; charset=utf-8"),
    ("/page.js", "page.js", "text/javascript; charset=utf-8"),
)
STORED_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": schemas.StoredOut, "description": "Nothing is new: all were known already."},
    207: {"model": schemas.StoredOut, "description": "Some were refused; `refused` says which and why."},
}
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
        redirect_slashes=False,
        responses={"4XX": PROBLEM_RESPONSE},
    )
    app.state.winnow = winnow
    app.state.backfills = Backfills(winnow)
    app.state.intake = Intake(winnow.units, Lane.LIVE)
    settings = winnow.settings
    # Around one another: the last one added sees a request first.
    app.add_middleware(Uploads, most_bytes=settings.api_max_body_bytes, most_at_once=settings.api_concurrency)
    app.add_middleware(TelegramSecret, secret=settings.telegram_webhook_secret)
    if settings.keys_required:
        app.add_middleware(Guard, keys=KeyStore(winnow.database), requests_per_second=settings.api_requests_per_second)
    elif settings.on_loopback:
        app.add_middleware(LoopbackNames)
    app.add_middleware(RequestLog)
    add_error_handlers(app)
    _add_knowledge_routes(app, winnow)
    _add_work_routes(app, winnow)
    add_embedding_routes(app, winnow)
    add_run_routes(app, winnow)
    add_usage_routes(app, winnow)
    add_model_routes(app, winnow)
    add_provider_routes(app, winnow)
    add_webhook_routes(app, winnow)
    _add_health_routes(app, winnow)
    describe(app.openapi())  # which the application makes once, and keeps
    return app


def _add_knowledge_routes(app: FastAPI, winnow: Winnow) -> None:
    for path, name, media_type in PAGE:
        app.get(path, include_in_schema=False)(_file((files("winnow.web") / name).read_bytes(), media_type))

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
        channel: str | None = None,
        author: Annotated[str | None, Query(description="A name, or the source's own id.")] = None,
        state: MessageState | None = None,
        before: Before = LAST,
        limit: Limit = 20,
    ) -> schemas.PageOut[schemas.MessageOut]:
        where, who = (storable(given) if given is not None else None for given in (channel, author))
        found = await list_messages(winnow.database, channel=where, author=who, state=state, before=before, limit=limit)
        items = [schemas.MessageOut(**asdict(item)) for item in found]
        return schemas.PageOut(items=items, next_before=_next(found, limit))


def _add_work_routes(app: FastAPI, winnow: Winnow) -> None:
    intake: Intake = app.state.intake
    idempotency = Idempotency(winnow.database)

    @app.post(
        "/api/v1/messages",
        summary="Store one message or many",
        status_code=HTTPStatus.CREATED,
        response_model=schemas.StoredOut,
        responses=STORED_RESPONSES,
    )
    async def store(request: Request, body: schemas.MessagesIn, idempotency_key: IdempotencyKey = None) -> Response:
        async def work(make_up: MakeUp | None) -> Response:
            if isinstance(body, list):
                return await store_many(intake, body, make_up)
            return await store_one(intake, body, make_up)

        return await idempotency.answer(request, idempotency_key, work)

    add_message_routes(app, winnow, intake)

    @app.post(
        "/api/v1/embeddings/backfill",
        summary="Embed what has no vector",
        status_code=HTTPStatus.ACCEPTED,
        responses={200: {"model": schemas.BackfillOut, "description": "A dry run: nothing was started."}},
    )
    async def backfill(body: schemas.BackfillIn, response: Response) -> schemas.BackfillOut:
        counts = await winnow.embeddings.counts()
        pending = {kind: counts[kind].without_vector for kind in body.kinds}
        if not body.dry_run:
            await app.state.backfills.start(tuple(body.kinds), body.batch_size)
            return schemas.BackfillOut(without_vector=pending, started=True)
        response.status_code = HTTPStatus.OK
        asked = await winnow.backfilling().asked()
        expected = await estimate(winnow.database, asked, kinds=body.kinds, sample=body.sample or None)
        return schemas.BackfillOut(without_vector=pending, started=False, estimate=estimate_out(expected))

    @app.get("/api/v1/status", summary="Where everything stands")
    async def status() -> embedding_schemas.StatusOut:
        return status_out(await overview(winnow.overviewing()))


def _add_health_routes(app: FastAPI, winnow: Winnow) -> None:
    @app.get("/health/live", summary="Is the process alive?", tags=["health"])
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    readiness = Readiness(winnow)

    @app.get("/health/ready", summary="Do the database and NATS answer?", tags=["health"])
    async def ready() -> JSONResponse:
        if reason := await readiness.ask():
            shown = "the database or NATS does not answer" if winnow.settings.keys_required else reason
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, shown)
        return JSONResponse({"status": "ready"})


def _file(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, media_type=media_type)

    return answer


def _next(found: list[AtomRecord] | list[TopicRecord] | list[MessageRecord], limit: int) -> int | None:
    return found[-1].id if len(found) == limit else None
