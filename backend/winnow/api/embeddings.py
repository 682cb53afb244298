"""The routes about embedding: how far it is, what failed, and what a person decides about that."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Query, Response

from winnow.api import embedding_schemas as schemas
from winnow.api.answers import embedding_status_out, failed_in_full_out, failed_out, forgotten_out, retried_out
from winnow.api.problems import problem
from winnow.api.schemas import LAST_ID
from winnow.domain.jobs import Kind
from winnow.pipeline.failures import Chosen, forget, look_at, retry
from winnow.pipeline.overview import overview
from winnow.storage.failures import FIRST, PLACE, FailureStore, Place

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse

    from winnow.bootstrap import Winnow

FAILED = "/api/v1/embeddings/failed"
RowKind = Annotated[Kind, Path(examples=[Kind.MESSAGES.value])]
RowId = Annotated[int, Path(ge=1, le=LAST_ID, examples=[1])]


def add_embedding_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""
    store = FailureStore(winnow.database)

    @app.get("/api/v1/embeddings/status", summary="How far embedding is, how fast it goes, and what stops it")
    async def status() -> schemas.EmbeddingStatusOut:
        return embedding_status_out(await overview(winnow.overviewing(), truncated=True))

    @app.get(FAILED, summary="Rows whose embedding failed for good, the latest first")
    async def failed(
        kind: Annotated[Kind | None, Query(description="Only this kind.")] = None,
        waiting: Annotated[bool, Query(description="Those that wait for another try, instead.")] = False,
        before: Annotated[
            str | None, Query(pattern=f"^{PLACE.pattern}$", description="The page's `next_before`.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> schemas.FailedPageOut:
        found = await store.troubles(
            kinds=(kind,) if kind else tuple(Kind),
            state="waiting" if waiting else "failed",
            before=Place.read(before) if before else FIRST,
            limit=limit,
        )
        last = str(Place.of(found[-1])) if len(found) == limit else None
        return schemas.FailedPageOut(items=[failed_out(trouble) for trouble in found], next_before=last)

    @app.get(FAILED + "/{kind}/{id}", summary="Why one row has no vector", response_model=schemas.FailedInFullOut)
    async def failed_row(kind: RowKind, id: RowId) -> Response | schemas.FailedInFullOut:  # noqa: A002 - the path's name
        found = await look_at(winnow.database, store, kind, id)
        return failed_in_full_out(found) if found else _nothing_noted(kind, id)

    @app.post(FAILED + "/retry", summary="Try failed rows again now", status_code=HTTPStatus.ACCEPTED)
    async def retry_failed(body: schemas.DecideIn) -> schemas.RetriedOut:
        done = await retry(store, winnow.dispatcher, _chosen(body), batch_size=winnow.settings.batch_size)
        return retried_out(done)

    @app.post(FAILED + "/forget", summary="Leave failed rows without a vector until their text changes")
    async def forget_failed(body: schemas.ForgetIn) -> schemas.ForgottenOut:
        return forgotten_out(await forget(store, _chosen(body)))


def _nothing_noted(kind: Kind, row_id: int) -> JSONResponse:
    return problem(
        HTTPStatus.NOT_FOUND,
        f"nothing is noted of {kind.value} {row_id}: it has a vector, is about to get one, or does not exist",
    )


def _chosen(body: schemas.DecideIn | schemas.ForgetIn) -> Chosen:
    return Chosen(kind=body.kind, ids=tuple(body.ids) if body.ids is not None else None)
