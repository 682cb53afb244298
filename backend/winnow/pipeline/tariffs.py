"""What the use of models costs: of one provider, and of any that is in use here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.providers import TRAITS, ProviderKind
from winnow.domain.usage import Tariff
from winnow.providers.factory import is_own_service, provider_of_settings
from winnow.providers.prices import KnownPrices

if TYPE_CHECKING:
    from uuid import UUID

    from winnow.domain.providers import Provider
    from winnow.pipeline.embedders import Embedders
    from winnow.settings import Settings


def tariff_of(provider: Provider) -> Tariff:
    """What the use of this provider's models costs."""
    return Tariff(pricing=KnownPrices(), is_own_service=lambda _kind, _id: is_own_service(provider))


def tariff_here(settings: Settings, source: Embedders, *, first_kind: str) -> Tariff:
    """What the use of any model costs; `first_kind` is the protocol of the settings' embedder."""

    def is_own(kind: str, provider_id: UUID | None) -> bool:
        """Whether a provider (None: the settings' own) is the service of the company whose protocol it speaks."""
        provider = source.known(kind, provider_id)
        if provider is None and provider_id is None and first_kind == kind and kind in TRAITS:
            provider = provider_of_settings(settings, ProviderKind(kind))
        return provider is not None and is_own_service(provider)

    return Tariff(pricing=KnownPrices(), is_own_service=is_own)
