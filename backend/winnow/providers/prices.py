"""What models cost, as far as their makers have published it."""

from __future__ import annotations

from decimal import Decimal

from typing_extensions import override

from winnow.domain.usage import NOTHING, Pricing

MILLION = 1_000_000
# By their protocol: whoever runs the model pays for the electricity, and nobody else.
OWN_MACHINES = frozenset({"local", "ollama"})


class KnownPrices(Pricing):
    """Published prices, for the service of the company that published them; anybody else's are unknown."""

    @override
    def price_usd(
        self, provider_kind: str, model: str, tokens: int, output_tokens: int, *, own_service: bool
    ) -> Decimal | None:
        """The price in US dollars."""
        if provider_kind in OWN_MACHINES:
            return NOTHING
        prices = _usd_a_million(model) if own_service else None
        return None if prices is None else (prices[0] * tokens + prices[1] * output_tokens) / MILLION


def _usd_a_million(model: str) -> tuple[Decimal, Decimal] | None:
    """The price of a million tokens in, and out; from https://platform.openai.com/docs/pricing."""
    return {
        "text-embedding-3-small": (Decimal("0.02"), NOTHING),
        "text-embedding-3-large": (Decimal("0.13"), NOTHING),
        "text-embedding-ada-002": (Decimal("0.10"), NOTHING),
    }.get(model)
