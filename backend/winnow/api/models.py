"""The routes about the model that embeds: which there are, the change to another, and back."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import Response  # noqa: TC002 - FastAPI reads the annotation

from winnow.api import model_schemas as schemas
from winnow.api.usage_schemas import estimate_out
from winnow.domain.spaces import Role
from winnow.pipeline.choices import choose, list_models
from winnow.pipeline.estimate import estimate
from winnow.pipeline.remodel import begin_change, cancel_change, change_back, forget_earlier, refuse_impossible

if TYPE_CHECKING:
    from fastapi import FastAPI

    from winnow.bootstrap import Winnow
    from winnow.domain.spaces import Space
    from winnow.pipeline.choices import Choice
    from winnow.providers.base import Embedder

MODELS = "/api/v1/models"


def add_model_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""

    @app.get(MODELS, summary="Models that could embed, and which one does")
    async def models() -> schemas.ModelsOut:
        listed = await list_models(winnow.choosing(), await winnow.spaces.all())
        return schemas.ModelsOut(items=[schemas.model_out(model) for model in listed])

    @app.post(
        f"{MODELS}/use",
        summary="Embed everything again with another model, and search with it when that is done",
        status_code=HTTPStatus.ACCEPTED,
        responses={200: {"model": schemas.ModelChangeOut, "description": "A dry run: nothing was changed."}},
    )
    async def use(body: schemas.ModelUseIn, response: Response) -> schemas.ModelChangeOut:
        choice = await choose(winnow.choosing(), body.name)
        embedder = winnow.embedder_of(choice.provider, choice.model)
        try:
            stored = await winnow.spaces.all()
            refuse_impossible(stored, embedder.identity)
            if body.dry_run:
                response.status_code = HTTPStatus.OK
                active = stored.get(Role.ACTIVE)
                is_active = active is not None and active.identity == embedder.identity
                return await _estimated(winnow, choice, embedder, Role.ACTIVE if is_active else Role.BUILDING)
            space = await begin_change(winnow.database, embedder, provider_id=choice.provider.id)
        finally:
            await embedder.close()
        return schemas.ModelChangeOut(name=choice.name, role=space.role)

    @app.post(f"{MODELS}/back", summary="Search with the model from before again")
    async def back() -> schemas.ModelChangeOut:
        return _changed(await change_back(winnow.database), Role.ACTIVE)

    @app.post(f"{MODELS}/cancel", summary="Give up a change that is under way, with the vectors it has made")
    async def cancel() -> schemas.ModelChangeOut:
        return _changed(await cancel_change(winnow.database), Role.RETIRED)

    @app.post(f"{MODELS}/forget", summary="Give up the vectors of the model from before, for the room they take")
    async def forget() -> schemas.ModelChangeOut:
        return _changed(await forget_earlier(winnow.database), Role.RETIRED)


def _changed(space: Space, role: Role) -> schemas.ModelChangeOut:
    return schemas.ModelChangeOut(name=space.name, role=role)


async def _estimated(winnow: Winnow, choice: Choice, embedder: Embedder, role: Role) -> schemas.ModelChangeOut:
    expected = await estimate(winnow.database, winnow.asked(choice, embedder), sample=False, role=role)
    return schemas.ModelChangeOut(name=choice.name, role=None, estimate=estimate_out(expected))
