"""The route about the use of models."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

from fastapi import Query
from pydantic import BeforeValidator

from winnow.api.usage_schemas import UsageOut, usage_out
from winnow.domain.usage import By
from winnow.errors import InvalidInput
from winnow.pipeline.usage import DAYS, MOST_DAYS, read_day, usage

if TYPE_CHECKING:
    from fastapi import FastAPI

    from winnow.bootstrap import Winnow


def _day(value: object) -> date:
    try:
        return read_day(str(value))
    except InvalidInput as error:
        raise ValueError(str(error)) from error


Day = Annotated[date, BeforeValidator(_day)]


def add_usage_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""

    @app.get("/api/v1/usage", summary="What models were used for: requests, tokens, time and money")
    async def used(
        by: Annotated[By, Query(description="What to sum up by; days are those of UTC.")] = By.DAY,
        days: Annotated[
            int | None, Query(ge=1, le=MOST_DAYS, description=f"How many, with today; {DAYS} if nothing is said.")
        ] = None,
        since: Annotated[Day | None, Query(description="The first day, instead; `days` is not looked at then.")] = None,
    ) -> UsageOut:
        return usage_out(await usage(winnow.database, by=by, days=None if since else days, since=since))
