"""The embedders of stored spaces, each made once and again when its provider is changed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from winnow.errors import SetupFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from winnow.domain.providers import Provider
    from winnow.domain.spaces import Space
    from winnow.providers.base import Embedder

# A provider that a person edits is used as it was for so long.
LOOK_EVERY_SECONDS = 5.0


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
    _replaced: list[Embedder] = field(default_factory=list)
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
                self._replaced.append(made.embedder)  # somebody may be asking it just now
            embedder = self.make(provider, space)
            self._made[space.id] = _Made(provider, embedder, time.monotonic())
            return embedder

    async def close(self) -> None:
        """Closes all that were given out."""
        embedders = [*self._replaced, *(made.embedder for made in self._made.values())]
        self._made.clear()
        self._replaced.clear()
        await asyncio.gather(*(embedder.close() for embedder in embedders))

    def known(self, provider_id: UUID | None) -> Provider | None:
        """The provider of this id that an embedder was made of, if any."""
        return next((made.provider for made in self._made.values() if made.provider.id == provider_id), None)

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
