"""What models cost, as far as their makers have published it (`models.toml`)."""

from __future__ import annotations

from decimal import Decimal

from typing_extensions import override

from winnow.domain.providers import TRAITS
from winnow.domain.usage import NOTHING, Pricing
from winnow.providers.models import known_model

MILLION = 1_000_000


class KnownPrices(Pricing):
    """Published prices, for the service of the company that published them; anybody else's are unknown.

    Another server that speaks OpenAI's protocol may be one's own, or a shop with prices of its own, whatever its models
    are called.
    """

    @override
    def price_usd(
        self, provider_kind: str, model: str, tokens: int, output_tokens: int, *, own_service: bool
    ) -> Decimal | None:
        """The price in US dollars."""
        traits = TRAITS.get(provider_kind)
        if traits is not None and not traits.is_service:
            return NOTHING
        known = known_model(model) if own_service else None
        if known is None or known.price_usd_per_million_tokens is None:
            return None
        price_in = Decimal(str(known.price_usd_per_million_tokens))
        price_out = Decimal(str(known.output_price_usd_per_million_tokens or 0))
        return (price_in * tokens + price_out * output_tokens) / MILLION
