"""The embedders of stored spaces, each made once and again when its provider is changed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from winnow.domain.providers import Provider, ProviderKind, variable
from winnow.domain.remoteness import is_remote
from winnow.errors import SetupFault
from winnow.providers.factory import build_embedder_of, build_language_model, pace_name, provider_of_settings
from winnow.providers.ways import Ways
from winnow.storage.rates import RateStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from winnow.domain.spaces import EmbedderIdentity, Space
    from winnow.providers.base import Embedder, LanguageModel
    from winnow.settings import Settings
    from winnow.storage.engine import Database

# A provider that a person edits is used as it was for so long.
LOOK_EVERY_SECONDS = 5.0
# Somebody may be asking a replaced one still; of those before it, nobody is.
REPLACED_KEPT = 2


class ProviderSource(Protocol):
    """Where providers are written down."""

    async def get(self, provider_id: UUID) -> Provider:
        """A provider with its key in the clear.

        Raises:
            SetupFault: it is gone, or its key cannot be read.
        """
        ...


@dataclass(slots=True)
class _Made:
    provider: Provider
    embedder: Embedder
    looked_at: float


@dataclass(slots=True)
class Embedders:
    """Makes and keeps the embedders of spaces.

    Attributes:
        providers: those that are written down.
        of_settings: the one of a protocol that the settings describe.
        make: an embedder for a space from its provider.
    """

    providers: ProviderSource
    of_settings: Callable[[str], Provider]
    make: Callable[[Provider, Space], Embedder]
    _made: dict[int, _Made] = field(default_factory=dict)
    _replaced: dict[int, list[Embedder]] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, space: Space) -> Embedder:
        """One whose identity is the space's.

        Raises:
            SetupFault: its provider is gone, switched off, or its key cannot be read.
            InvalidSettings: the settings describe none, or not fully.
        """
        async with self._turn:
            made = self._made.get(space.id)
            if made is not None and time.monotonic() - made.looked_at < LOOK_EVERY_SECONDS:
                return made.embedder
            provider = await self.provider_of(space)
            if made is not None and made.provider == provider:
                made.looked_at = time.monotonic()
                return made.embedder
            if made is not None:
                self._replaced.setdefault(space.id, []).append(made.embedder)
            embedder = self.make(provider, space)
            self._made[space.id] = _Made(provider, embedder, time.monotonic())
            while len(self._replaced.get(space.id, ())) > REPLACED_KEPT:
                await self._replaced[space.id].pop(0).close()
            return embedder

    async def close(self) -> None:
        """Closes all that were given out."""
        replaced = [embedder for of_space in self._replaced.values() for embedder in of_space]
        embedders = [*replaced, *(made.embedder for made in self._made.values())]
        self._made.clear()
        self._replaced.clear()
        await asyncio.gather(*(embedder.close() for embedder in embedders))

    def known(self, kind: str, provider_id: UUID | None) -> Provider | None:
        """The provider of this id (None: the settings', of which there is one of each kind) that is in use, if any."""
        providers = (made.provider for made in self._made.values())
        return next((one for one in providers if (one.kind, one.id) == (kind, provider_id)), None)

    async def is_remote(self, kind: str, provider_id: UUID | None) -> bool:
        """Whether texts leave one's own machines with a provider (None: the settings'). Raises as `of` does."""
        provider = self.known(kind, provider_id)
        if provider is None:
            provider = self.of_settings(kind) if provider_id is None else await self.providers.get(provider_id)
        return is_remote_provider(provider)

    async def provider_of(self, space: Space) -> Provider:
        """Who embeds for a space. Raises as `of` does."""
        if space.provider_id is None:
            return self.of_settings(space.identity.provider)
        provider = await self.providers.get(space.provider_id)
        if not provider.active:
            raise SetupFault(
                f"the provider {provider.name} is switched off; run: winnow providers edit {provider.name} --active"
            )
        return provider


def is_remote_provider(provider: Provider) -> bool:
    """Whether texts leave one's own machines with it: by any of its servers, for each may be asked."""
    return any(map(is_remote, provider.urls))


def provider_behind_vectors(settings: Settings, kind: str) -> Provider:
    """The settings' provider for vectors that are stored. A key that lies in the environment is no choice.

    Raises:
        SetupFault: the settings do not say any more which OpenAI-compatible server it was.
    """
    traits = ProviderKind(kind).traits
    naming = [name for name in (traits.url_setting, traits.key_setting) if name is not None]
    if traits.is_service and not settings.model_fields_set & {"embedder", *naming}:
        variables = " or ".join(variable(name) for name in naming)
        raise SetupFault(
            f"the stored vectors are of a server that the settings named, and name no more; set {variables} as before, "
            "or write it down (winnow providers add) and run: winnow model use"
        )
    return provider_of_settings(settings, ProviderKind(kind))


def ways_of(database: Database) -> Ways:
    """The ways of a process to model servers, at the pace that it keeps with all other processes."""
    return Ways(
        lambda provider, model: RateStore(
            database,
            pace_name(provider, model),
            requests_per_minute=provider.requests_per_minute,
            tokens_per_minute=provider.tokens_per_minute,
        )
    )


def paced_embedder(
    settings: Settings, ways: Ways, provider: Provider, model: str, *, space: Space | None = None
) -> Embedder:
    """One that shares the ways of the process.

    With the prefixes of the space, and held to it, if it is for one. Raises as `build_embedder_of`.
    """
    return build_embedder_of(
        provider,
        model,
        first_timeout_seconds=settings.provider_first_timeout_seconds,
        timeout_seconds=settings.provider_timeout_seconds,
        document_prefix=space.identity.document_prefix if space else settings.document_prefix,
        query_prefix=space.identity.query_prefix if space else settings.query_prefix,
        fingerprint=space.fingerprint if space else None,
        ways=ways,
    )


def embedder_at(settings: Settings, provider: Provider, url: str, identity: EmbedderIdentity) -> Embedder:
    """One of this server of a provider alone, on ways of its own.

    Held to no fingerprint: a server with another model is to answer, and be told of.
    """
    return build_embedder_of(
        replace(provider, urls=(url,)),
        identity.model,
        first_timeout_seconds=settings.provider_first_timeout_seconds,
        timeout_seconds=settings.provider_timeout_seconds,
        document_prefix=identity.document_prefix,
        query_prefix=identity.query_prefix,
    )


def paced_language_model(settings: Settings, ways: Ways, provider: Provider, model: str) -> LanguageModel:
    """One that shares the ways of the process. Raises as `build_language_model`."""
    return build_language_model(
        provider,
        model,
        first_timeout_seconds=settings.provider_first_timeout_seconds,
        timeout_seconds=settings.provider_timeout_seconds,
        ways=ways,
    )
