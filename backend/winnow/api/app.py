"""The HTTP API: parse, call one use case, answer."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from winnow.api import embedding_schemas, schemas
from winnow.api.answers import status_out
from winnow.api.backfills import Backfills
from winnow.api.embeddings import add_embedding_routes
from winnow.api.finding import add_finding_routes
from winnow.api.guard import Guard, describe
from winnow.api.idempotency import Idempotency, IdempotencyKey
from winnow.api.knowledge import add_knowledge_routes
from winnow.api.limits import Uploads
from winnow.api.messages import add_message_routes
from winnow.api.models import add_model_routes
from winnow.api.parameters import known_parameters
from winnow.api.problems import PROBLEM_RESPONSE, add_error_handlers, problem
from winnow.api.providers import add_provider_routes
from winnow.api.readiness import Readiness
from winnow.api.requests import LoopbackNames, RequestLog
from winnow.api.review import add_review_routes
from winnow.api.runs import add_run_routes
from winnow.api.storing import MakeUp, store_many, store_one
from winnow.api.usage import add_usage_routes
from winnow.api.usage_schemas import estimate_out
from winnow.api.webhooks import TelegramSecret, add_webhook_routes
from winnow.domain.jobs import Lane
from winnow.pipeline.estimate import estimate
from winnow.pipeline.intake import Intake
from winnow.pipeline.overview import overview
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from winnow.bootstrap import Winnow

PAGE = (
    ("/", "index.html", "text/html; charset=utf-8"),
    ("/page.css", "page.css", "text/css; charset=utf-8"),
    ("/page.js", "page.js", "text/javascript; charset=utf-8"),
)
STORED_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": schemas.StoredOut, "description": "Nothing is new: all were known already."},
    207: {"model": schemas.StoredOut, "description": "Some were refused; `refused` says which and why."},
}


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
        dependencies=[Depends(known_parameters)],
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
    _add_page(app)
    add_finding_routes(app, winnow)
    add_knowledge_routes(app, winnow)
    _add_work_routes(app, winnow)
    add_embedding_routes(app, winnow)
    add_run_routes(app, winnow)
    add_review_routes(app, winnow)
    add_usage_routes(app, winnow)
    add_model_routes(app, winnow)
    add_provider_routes(app, winnow)
    add_webhook_routes(app, winnow)
    _add_health_routes(app, winnow)
    describe(app.openapi())  # which the application makes once, and keeps
    return app


def _add_page(app: FastAPI) -> None:
    for path, name, media_type in PAGE:
        app.get(path, include_in_schema=False)(_file((files("winnow.web") / name).read_bytes(), media_type))


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
