"""Which models there are to embed with, by the names that people give them: `local`, or `PROVIDER:MODEL`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.providers import SERVED, ProviderKind
from winnow.domain.spaces import Role
from winnow.errors import InvalidInput, WinnowError
from winnow.pipeline.providers import checked_dimensions, provider_of
from winnow.providers.factory import is_own_service, served_models
from winnow.providers.models import known_model
from winnow.providers.prices import MILLION, KnownPrices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from winnow.domain.providers import Provider
    from winnow.domain.spaces import Space
    from winnow.pipeline.providers import Registry
    from winnow.providers.base import ServedModel

BUILT_IN = tuple(kind for kind in ProviderKind if not kind.traits.is_served)
# A list is looked at by a person: a server that does not answer is said to, and not waited for.
LIST_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """What a choice is made from: providers that are written down, and those that the settings describe."""

    registry: Registry
    of_settings: Callable[[ProviderKind], Provider]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model of a provider; the built-in one has no name beside its provider's."""

    provider: Provider
    model: str

    @property
    def name(self) -> str:
        """As people call it."""
        return self.provider.name if not self.model else f"{self.provider.name}:{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A model that could embed, and what is known of it; `role` where its vectors are stored.

    `trouble` is why a provider's models cannot be listed; then there is nothing else.
    """

    name: str
    role: Role | None = None
    dimensions: int | None = None
    context: int | None = None
    price_usd_per_million_tokens: Decimal | None = None
    trouble: str | None = None


async def choose(tools: Choosing, name: str) -> Choice:
    """The model of that name, which is any that `list_models` lists.

    Raises:
        InvalidInput: there is no such provider, or it is not said which model of it.
        SetupFault: its key cannot be read.
    """
    of, _, model = name.strip().partition(":")
    if of in BUILT_IN and not model:
        return Choice(provider=tools.of_settings(ProviderKind(of)), model="")
    rows = {row.name: row for row in await tools.registry.store.all()}
    if of in rows:
        provider = provider_of(rows[of], tools.registry.secrets)
    elif of in SERVED:
        provider = tools.of_settings(ProviderKind(of))
    else:
        known = ", ".join([*BUILT_IN, *sorted({*rows, *SERVED})])
        raise InvalidInput(f"there is no provider {of}; choose from {known}, or add one: winnow providers add")
    if not provider.active:
        raise InvalidInput(f"the provider {of} is switched off; run: winnow providers edit {of} --active")
    chosen = model or provider.embedding_model
    if not chosen:
        raise InvalidInput(f"say which model of {of}, as in {of}:MODEL; `winnow model list` shows what it has")
    return Choice(provider=provider, model=chosen.removesuffix(provider.kind.traits.own_tag))


async def list_models(tools: Choosing, spaces: Mapping[Role, Space]) -> list[ListedModel]:
    """All models for embeddings of the built-in provider and of those that are written down and active.

    Those of the settings are told of only where their vectors are stored, and not asked: nobody else is to hear of us
    by a list. Each role is one model's.
    """
    listed: list[ListedModel] = []
    for kind in BUILT_IN:
        listed += await _models_of(tools.of_settings(kind), spaces, checked={})
    for row in await tools.registry.store.all():
        if not row.active:
            continue
        dimensions = checked_dimensions(row)
        model = (row.embedding_model or "").removesuffix(row.kind.traits.own_tag)
        checked = {model: dimensions} if dimensions else {}
        try:
            listed += await _models_of(provider_of(row, tools.registry.secrets), spaces, checked=checked)
        except WinnowError as error:
            listed.append(ListedModel(name=row.name, trouble=str(error)))
    shown = {model.role for model in listed}
    listed += [
        ListedModel(name=space.name, role=role, dimensions=space.dimensions)
        for role, space in spaces.items()
        if role not in shown
    ]
    return listed


async def _models_of(
    provider: Provider, spaces: Mapping[Role, Space], *, checked: Mapping[str, int]
) -> list[ListedModel]:
    served = await served_models(provider, timeout_seconds=LIST_SECONDS)
    return [_listed(provider, model, spaces, checked) for model in served if _may_embed(model)]


def _may_embed(model: ServedModel) -> bool:
    """Servers that do not say what a model is for have it looked up by its name."""
    if model.embeds is not None:
        return model.embeds
    known = known_model(model.name)
    return known is None or known.use == "embedding"


def _listed(
    provider: Provider, served: ServedModel, spaces: Mapping[Role, Space], checked: Mapping[str, int]
) -> ListedModel:
    """Dimensions are, in this order, those of the stored vectors, of a check, the server's, and the table's."""
    known = known_model(served.name)
    model = served.name.removesuffix(provider.kind.traits.own_tag)
    name = f"{provider.name}:{model}" if provider.kind.traits.is_served else provider.name
    role = next((role for role in Role if role in spaces and spaces[role].name == name), None)
    stored = spaces[role].dimensions if role else checked.get(model)
    return ListedModel(
        name=name,
        role=role,
        dimensions=stored or served.dimensions or (known.dimensions if known else None),
        context=served.context or (known.context if known else None),
        price_usd_per_million_tokens=KnownPrices().price_usd(
            provider.kind, served.name, MILLION, 0, own_service=is_own_service(provider)
        ),
    )
