"""The routes about providers: who makes vectors and answers. No answer holds a key."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import Path

from winnow.api import provider_schemas as schemas
from winnow.pipeline.provider_rules import NAME
from winnow.pipeline.providers import check_provider, create_provider, edit_provider, named

if TYPE_CHECKING:
    from fastapi import FastAPI

    from winnow.bootstrap import Winnow

PROVIDERS = "/api/v1/providers"
ONE = PROVIDERS + "/{id}"
ProviderId = Annotated[
    str,
    Path(
        description="Its id, or its name.",
        examples=["7f2c1f0e-3d0c-4f0a-9a52-0c8a4a4f1b11"],
        json_schema_extra={"pattern": f"^{NAME}$"},
    ),
]


def add_provider_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""
    tools = winnow.registry()
    # Whoever asks over HTTP is told that a model is slow to load rather than kept waiting for it.
    hasty = replace(tools, first_timeout_seconds=tools.timeout_seconds)

    @app.get(PROVIDERS, summary="Providers: who makes vectors and answers")
    async def providers() -> schemas.ProvidersOut:
        return schemas.ProvidersOut(items=[schemas.ProviderOut.model_validate(row) for row in await tools.store.all()])

    @app.post(PROVIDERS, summary="Write a provider down; its server is not asked", status_code=HTTPStatus.CREATED)
    async def create(body: schemas.ProviderIn) -> schemas.ProviderOut:
        given = schemas.changes_in(body)
        made = await create_provider(tools, name=body.name, kind=body.kind, given=given)
        return schemas.ProviderOut.model_validate(made)

    @app.get(ONE, summary="One provider")
    async def provider(id: ProviderId) -> schemas.ProviderOut:  # noqa: A002 - the path's name
        return schemas.ProviderOut.model_validate(await named(tools, id))

    @app.patch(ONE, summary="Change what is given of a provider")
    async def edit(id: ProviderId, body: schemas.ProviderEditIn) -> schemas.ProviderOut:  # noqa: A002
        return schemas.ProviderOut.model_validate(
            await edit_provider(tools, (await named(tools, id)).id, schemas.changes_in(body))
        )

    @app.delete(ONE, summary="Remove a provider and its key", status_code=HTTPStatus.NO_CONTENT)
    async def remove(id: ProviderId) -> None:  # noqa: A002
        await tools.store.delete((await named(tools, id)).id)

    @app.post(ONE + "/check", summary="Ask a provider's servers whether they are there and have its models")
    async def check(id: ProviderId) -> schemas.CheckedOut:  # noqa: A002
        return schemas.CheckedOut.model_validate(await check_provider(hasty, await named(tools, id)))
