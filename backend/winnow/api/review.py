"""Routes by which people judge what was found, say what holds no more, and decide on wordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Body, Path, Request

from winnow.api import review_schemas as schemas
from winnow.api.schemas import LAST_ID
from winnow.domain.messages import storable
from winnow.pipeline.review import (
    Reviewing,
    Wording,
    accept,
    approve_version,
    close,
    edit,
    merge,
    reject,
    reject_version,
    reopen,
    supersede,
)
from winnow.pipeline.teach import standing, teach

if TYPE_CHECKING:
    from fastapi import FastAPI

    from winnow.bootstrap import Winnow

MOST_VERSIONS = 2**31 - 1
SOMEBODY = "api"
Row = Annotated[int, Path(ge=1, le=LAST_ID)]
Number = Annotated[int, Path(ge=1, le=MOST_VERSIONS)]
Review = Annotated[schemas.ReviewIn | None, Body()]
Why = Annotated[schemas.ReasonIn | None, Body()]


def add_review_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""
    _add_verdicts(app, winnow)
    _add_ends(app, winnow)
    _add_versions(app, winnow)

    @app.get("/api/v1/review/status", summary="What waits for a person, and what the judge is worth here")
    async def status() -> schemas.ReviewStatusOut:
        return schemas.review_status_out(await standing(winnow.database))

    @app.post("/api/v1/review/teach", summary="Teach the judge now")
    async def teach_now() -> schemas.TaughtOut:
        judge = await teach(winnow.database)
        return schemas.TaughtOut(reviews=judge.report.reviews)

    @app.post("/api/v1/review", summary="Accept or reject several atoms")
    async def several(request: Request, body: schemas.VerdictsIn) -> schemas.ReviewedOut:
        act = accept if body.verdict == "accept" else reject
        return schemas.reviewed_out(await act(_by(winnow, request, body), body.atom_ids))


def _by(winnow: Winnow, request: Request, body: schemas.ReviewIn | None) -> Reviewing:
    """Who judges: as the body says, else whose key it is."""
    named = storable(body.reviewer) if body and body.reviewer else None
    by = named or request.scope.get("state", {}).get("caller_name") or SOMEBODY
    return Reviewing(units=winnow.units, database=winnow.database, by=by)


def _add_verdicts(app: FastAPI, winnow: Winnow) -> None:
    @app.post("/api/v1/atoms/{id}/accept", summary="This is right: it is found from now on")
    async def accept_one(id: Row, request: Request, body: Review = None) -> schemas.ReviewedOut:  # noqa: A002
        return schemas.reviewed_out(await accept(_by(winnow, request, body), [id]))

    @app.post("/api/v1/atoms/{id}/reject", summary="This is wrong: it is never found again")
    async def reject_one(id: Row, request: Request, body: Review = None) -> schemas.ReviewedOut:  # noqa: A002
        return schemas.reviewed_out(await reject(_by(winnow, request, body), [id]))

    @app.post("/api/v1/atoms/{id}/edit", summary="Give it other words, another type or topic")
    async def edit_one(id: Row, request: Request, body: schemas.WordingIn) -> schemas.ReviewedOut:  # noqa: A002
        wording = Wording(title=body.title, content=body.content, type=body.type, topic=body.topic)
        return schemas.reviewed_out(await edit(_by(winnow, request, body), id, wording, reason=body.reason))

    @app.post("/api/v1/atoms/{id}/merge", summary="It says the same as another one, and lives on in that")
    async def merge_one(id: Row, request: Request, body: schemas.MergeIn) -> schemas.ReviewedOut:  # noqa: A002
        return schemas.reviewed_out(await merge(_by(winnow, request, body), id, body.into))


def _add_ends(app: FastAPI, winnow: Winnow) -> None:
    @app.post("/api/v1/atoms/{id}/supersede", summary="Another decision or requirement took its place")
    async def supersede_one(id: Row, request: Request, body: schemas.SupersedeIn) -> schemas.ReviewedOut:  # noqa: A002
        tools = _by(winnow, request, body)
        return schemas.reviewed_out(await supersede(tools, id, body.by, reason=body.reason))

    @app.post("/api/v1/atoms/{id}/close", summary="This question, problem, risk or action is open no more")
    async def close_one(id: Row, request: Request, body: Why = None) -> schemas.ReviewedOut:  # noqa: A002
        reason = body.reason if body else ""
        return schemas.reviewed_out(await close(_by(winnow, request, body), [id], reason=reason))

    @app.post("/api/v1/atoms/{id}/reopen", summary="It is open again; what was superseded holds again")
    async def reopen_one(id: Row, request: Request, body: Review = None) -> schemas.ReviewedOut:  # noqa: A002
        return schemas.reviewed_out(await reopen(_by(winnow, request, body), [id]))


def _add_versions(app: FastAPI, winnow: Winnow) -> None:
    @app.post("/api/v1/atoms/{id}/versions/{version}/approve", summary="This wording becomes the atom's")
    async def approve(
        id: Row,  # noqa: A002 - as in the path
        version: Number,
        request: Request,
        body: Review = None,
    ) -> schemas.ReviewedOut:
        return schemas.reviewed_out(await approve_version(_by(winnow, request, body), id, version))

    @app.post("/api/v1/atoms/{id}/versions/{version}/reject", summary="This wording is not wanted")
    async def refuse(
        id: Row,  # noqa: A002 - as in the path
        version: Number,
        request: Request,
        body: Review = None,
    ) -> schemas.ReviewedOut:
        return schemas.reviewed_out(await reject_version(_by(winnow, request, body), id, version))
