"""What the API and `--json` tell of the models that embed; needs no web framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from winnow.api.schemas import EstimateOut, GivenIn
from winnow.api.usage_schemas import usd
from winnow.domain.spaces import Role

if TYPE_CHECKING:
    from winnow.pipeline.choices import ListedModel

MOST_NAME_CHARACTERS = 300


class ModelOut(BaseModel):
    """A model that could embed; what is not known of it is null.

    `trouble` is why the models of the provider of this name cannot be listed.
    """

    name: str = Field(description="As `winnow model use` takes it.")
    role: Role | None = Field(description="What its stored vectors are for.")
    dimensions: int | None
    context: int | None = Field(description="Tokens of a text that it reads.")
    price_usd_per_million_tokens: float | None
    trouble: str | None


class ModelsOut(BaseModel):
    """The built-in model, those of the providers that are written down, and those of stored vectors."""

    items: list[ModelOut]


class ModelUseIn(GivenIn):
    """The model to change over to."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "local", "dry_run": True}})

    name: Annotated[str, Field(min_length=1, max_length=MOST_NAME_CHARACTERS)] = Field(
        description="As the list of models has it: `local`, or `PROVIDER:MODEL`."
    )
    dry_run: StrictBool = Field(default=False, description="Only tell what it would take; no sample is taken.")


class ModelChangeOut(BaseModel):
    """What a model's vectors are for now. `building`: workers and sweeper fill and then use them (`/api/v1/status`).

    `estimate` is of a dry run, which changes nothing.
    """

    name: str
    role: Role | None
    estimate: EstimateOut | None = None


def model_out(model: ListedModel) -> ModelOut:
    """A row of the list."""
    return ModelOut(
        name=model.name,
        role=model.role,
        dimensions=model.dimensions,
        context=model.context,
        price_usd_per_million_tokens=usd(model.price_usd_per_million_tokens),
        trouble=model.trouble,
    )
