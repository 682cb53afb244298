"""The routes about extraction: asking for it, and its runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Path, Query

from winnow.api import run_schemas, schemas
from winnow.pipeline.request_extraction import request_by_hand
from winnow.pipeline.runs import cancel, retry, run_of
from winnow.storage.runs import Wanted, list_runs

if TYPE_CHECKING:
    from fastapi import FastAPI

    from winnow.bootstrap import Winnow

RunState = Literal["running", "done", "failed", "cancelled", "abandoned"]
RunId = Annotated[int, Path(ge=1, le=schemas.LAST_ID)]


def add_run_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""

    @app.post("/api/v1/knowledge/extract", summary="Extract now", status_code=HTTPStatus.ACCEPTED)
    async def extract(body: run_schemas.ExtractIn) -> run_schemas.AcceptedOut:
        channels = [*(body.channels or ()), *([] if body.channel is None else [body.channel])]
        wanted = Wanted(
            ids=None if body.message_ids is None else tuple(body.message_ids),
            channels=tuple(channels) or None,
            since=body.since,
            until=body.until,
        )
        done = await request_by_hand(winnow.requesting(), wanted, again=body.again, limit=schemas.MOST_IDS)
        return run_schemas.AcceptedOut(rows=done.messages, tasks=done.tasks, again=done.again, left_out=done.left_out)

    @app.get("/api/v1/runs", summary="Runs of extraction, the latest first")
    async def runs(
        state: RunState | None = None,
        channel: Annotated[str | None, Query(description="By its identity or its title.")] = None,
        before: Annotated[int, Query(ge=1, le=schemas.LAST_ID)] = schemas.LAST_ID,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> schemas.PageOut[run_schemas.RunOut]:
        found = await list_runs(winnow.database, state=state, channel=channel, before=before, limit=limit)
        next_before = found[-1].id if len(found) == limit else None
        return schemas.PageOut(items=[run_schemas.run_out(one) for one in found], next_before=next_before)

    @app.get("/api/v1/runs/{id}", summary="One run, with its atoms, and the raw answer when it failed")
    async def run(id: RunId) -> run_schemas.RunInFullOut:  # noqa: A002 - the field's name in the answers
        return run_schemas.run_in_full_out(await run_of(winnow.database, id))

    @app.post("/api/v1/runs/{id}/cancel", summary="End a running run; its messages wait, aside, until asked for")
    async def cancel_run(id: RunId) -> run_schemas.CancelledOut:  # noqa: A002
        done = await cancel(winnow.requesting(), id)
        return run_schemas.CancelledOut(runs=list(done.runs), messages=done.messages)

    @app.post(
        "/api/v1/runs/{id}/retry",
        summary="Extract again from the messages of a run that still wait",
        status_code=HTTPStatus.ACCEPTED,
    )
    async def retry_run(id: RunId) -> run_schemas.RetriedRunsOut:  # noqa: A002
        done = await retry(winnow.requesting(), id)
        return run_schemas.RetriedRunsOut(messages=done.messages, tasks=done.tasks)
