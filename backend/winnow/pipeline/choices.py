"""Which models there are to embed with, by the names that people give them: `local`, or `PROVIDER:MODEL`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.providers import ProviderKind
from winnow.domain.usage import NOTHING
from winnow.errors import InvalidInput, WinnowError
from winnow.pipeline.providers import provider_of
from winnow.providers.factory import is_own_service, served_models
from winnow.providers.models import known_model
from winnow.providers.prices import MILLION, KnownPrices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from winnow.domain.providers import Provider
    from winnow.domain.spaces import Role, Space
    from winnow.pipeline.providers import Registry
    from winnow.providers.base import ServedModel

LOCAL = "local"
# A list is looked at by a person: a server that does not answer is said to, and not waited for.
LIST_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """What a choice is made from: providers that are written down, and those that the settings describe."""

    registry: Registry
    of_settings: Callable[[ProviderKind], Provider]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model of a provider."""

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
    """The model of that name.

    Raises:
        InvalidInput: there is no such provider, or it is not said which model of it.
        SetupFault: its key cannot be read.
    """
    of, _, model = name.strip().partition(":")
    if of == LOCAL and not model:
        return Choice(provider=tools.of_settings(ProviderKind.LOCAL), model="")
    rows = {row.name: row for row in await tools.registry.store.all()}
    if of in rows:
        provider = provider_of(rows[of], tools.registry.secrets)
    elif of in {ProviderKind.OLLAMA, ProviderKind.OPENAI}:
        provider = tools.of_settings(ProviderKind(of))
    else:
        known = ", ".join([LOCAL, *sorted({*rows, ProviderKind.OLLAMA.value, ProviderKind.OPENAI.value})])
        raise InvalidInput(f"there is no provider {of}; choose from {known}, or add one: winnow providers add")
    if not provider.active:
        raise InvalidInput(f"the provider {of} is switched off; run: winnow providers edit {of} --active")
    chosen = model or provider.embedding_model
    if not chosen:
        raise InvalidInput(f"say which model of {of}, as in {of}:MODEL; `winnow model list` shows what it has")
    return Choice(provider=provider, model=chosen)


async def list_models(tools: Choosing, spaces: Mapping[Role, Space]) -> list[ListedModel]:
    """All models for embeddings of the built-in provider and of those that are written down and active.

    Those of the settings are asked only where their vectors are stored: nobody else is to hear of us by a list.
    """
    rows = [row for row in await tools.registry.store.all() if row.active]
    listed = [
        ListedModel(
            name=LOCAL,
            role=_role_of(ProviderKind.LOCAL, None, spaces),
            dimensions=256,
            price_usd_per_million_tokens=NOTHING,
        )
    ]
    for row in rows:
        try:
            listed += await _models_of(provider_of(row, tools.registry.secrets), spaces)
        except WinnowError as error:
            listed.append(ListedModel(name=row.name, trouble=str(error)))
    shown = {model.role for model in listed}
    listed += [
        ListedModel(name=str(space.identity), role=role, dimensions=space.dimensions)
        for role, space in spaces.items()
        if role not in shown
    ]
    return listed


async def _models_of(provider: Provider, spaces: Mapping[Role, Space]) -> list[ListedModel]:
    if provider.kind is ProviderKind.LOCAL:
        return []
    served = await served_models(provider, timeout_seconds=LIST_SECONDS)
    return [_listed(provider, model, spaces) for model in served if _may_embed(model)]


def _may_embed(model: ServedModel) -> bool:
    """Servers that do not say what a model is for have it looked up by its name."""
    if model.embeds is not None:
        return model.embeds
    known = known_model(model.name)
    return known is None or known.use == "embedding"


def _listed(provider: Provider, model: ServedModel, spaces: Mapping[Role, Space]) -> ListedModel:
    known = known_model(model.name)
    role = _role_of(provider.kind, model.name.removesuffix(":latest"), spaces)
    dimensions = spaces[role].dimensions if role else model.dimensions
    return ListedModel(
        name=f"{provider.name}:{model.name}",
        role=role,
        dimensions=dimensions or (known.dimensions if known else None),
        context=model.context or (known.context if known else None),
        price_usd_per_million_tokens=KnownPrices().price_usd(
            provider.kind, model.name, MILLION, 0, own_service=is_own_service(provider)
        ),
    )


def _role_of(kind: ProviderKind, model: str | None, spaces: Mapping[Role, Space]) -> Role | None:
    for role, space in spaces.items():
        if space.identity.provider == kind and model in {None, space.identity.model}:
            return role
    return None
