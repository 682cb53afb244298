"""What the use of models comes to: requests, texts, tokens, time and money."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from winnow.domain.jobs import Kind
    from winnow.domain.spaces import EmbedderIdentity

# OpenAI itself judges a request so before it counts; English is about this, other languages and code have more tokens.
BYTES_A_TOKEN = 4
NOTHING = Decimal(0)


class Purpose(StrEnum):
    """What a model was asked for; `check` is to find out what a model does and costs."""

    EMBED = "embed"
    SEARCH = "search"
    EXTRACT = "extract"
    SCORE = "score"
    CHECK = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use of a model, or several of the same sort together: a row of `llm_usage`.

    Attributes:
        purpose: what for.
        worker: the process that asked, host:pid.
        provider: the protocol's kind.
        model: as the provider names it.
        provider_id: in `llm_providers`; None: the one of the settings.
        space_id: whose vectors were made.
        kind: of the rows they were made for.
        run: the backfill that caused it, where that is known.
        embedded: rows that got a vector, `saved` of them without asking.
        requests: that the server answered, well or badly.
        texts: that were in them.
        tokens: that went in; `estimated` says that the server did not count all of them, and we did.
        output_tokens: that came out; None: of this, nothing does.
        seconds: of a batch from the reading of its texts to the end of its writing, else of the requests.
        price_usd: None: unknown.
    """

    purpose: Purpose
    worker: str
    provider: str
    model: str
    provider_id: UUID | None = None
    space_id: int | None = None
    kind: Kind | None = None
    run: str | None = None
    embedded: int = 0
    saved: int = 0
    requests: int = 0
    texts: int = 0
    tokens: int = 0
    estimated: bool = False
    output_tokens: int | None = None
    seconds: float = 0.0
    price_usd: Decimal | None = NOTHING

    @property
    def sort(self) -> Use:
        """The same of nothing: uses that share it may be summed up."""
        return Use(
            purpose=self.purpose,
            worker=self.worker,
            provider=self.provider,
            model=self.model,
            provider_id=self.provider_id,
            space_id=self.space_id,
            kind=self.kind,
            run=self.run,
        )

    def __add__(self, other: Use) -> Use:
        """Both together, as one of the first one's sort."""
        return replace(
            self,
            embedded=self.embedded + other.embedded,
            saved=self.saved + other.saved,
            requests=self.requests + other.requests,
            texts=self.texts + other.texts,
            tokens=self.tokens + other.tokens,
            estimated=self.estimated or other.estimated,
            output_tokens=_together(self.output_tokens, other.output_tokens),
            seconds=self.seconds + other.seconds,
            price_usd=self.price_usd + other.price_usd
            if self.price_usd is not None and other.price_usd is not None
            else None,
        )


def _together(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other


class By(StrEnum):
    """What uses may be summed up by."""

    DAY = "day"
    PROVIDER = "provider"
    MODEL = "model"
    PURPOSE = "purpose"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Uses together; the fields are those of `Use`.

    `price_usd` is of those whose price is known, None: of none; `price_complete` says that it is of all. `name` is the
    day (in UTC), the provider, and so on that they share; None: they have none.
    """

    name: str | None = None
    requests: int = 0
    texts: int = 0
    embedded: int = 0
    saved: int = 0
    tokens: int = 0
    estimated: bool = False
    output_tokens: int = 0
    seconds: float = 0.0
    price_usd: Decimal | None = None
    price_complete: bool = True

    def __add__(self, other: Totals) -> Totals:
        """Both together, under no name."""
        prices = [price for price in (self.price_usd, other.price_usd) if price is not None]
        return Totals(
            requests=self.requests + other.requests,
            texts=self.texts + other.texts,
            embedded=self.embedded + other.embedded,
            saved=self.saved + other.saved,
            tokens=self.tokens + other.tokens,
            estimated=self.estimated or other.estimated,
            output_tokens=self.output_tokens + other.output_tokens,
            seconds=self.seconds + other.seconds,
            price_usd=sum(prices, NOTHING) if prices else None,
            price_complete=self.price_complete and other.price_complete,
        )


class Noting(Protocol):
    """Takes note of uses too small for a row each; returns at once."""

    def add(self, use: Use) -> None:
        """Adds one use to those of its sort."""
        ...


class Unnoted(Noting):
    """Takes note of nothing."""

    @override
    def add(self, use: Use) -> None:
        """Does nothing."""


class Pricing(Protocol):
    """What is known of prices."""

    def price_usd(
        self, provider_kind: str, model: str, tokens: int, output_tokens: int, *, own_service: bool
    ) -> Decimal | None:
        """The price of so many tokens in and out; 0 where nobody is paid, None where it is not known.

        Args:
            provider_kind: the protocol.
            model: as the provider names it.
            tokens: that go in.
            output_tokens: that come out.
            own_service: the server is that of the company whose protocol it speaks, which publishes its prices.
        """
        ...


class UnknownPrices(Pricing):
    """Knows no price."""

    @override
    def price_usd(
        self, provider_kind: str, model: str, tokens: int, output_tokens: int, *, own_service: bool
    ) -> Decimal | None:
        """None."""
        return None


def _nobodys(_kind: str, _provider_id: UUID | None) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What models cost. `is_own_service` tells `Pricing` of a provider: its kind, and id (None: the settings')."""

    pricing: Pricing = field(default_factory=UnknownPrices)
    is_own_service: Callable[[str, UUID | None], bool] = _nobodys

    def price_usd(self, identity: EmbedderIdentity, provider_id: UUID | None, tokens: int) -> Decimal | None:
        """The price of so many embedded tokens; None: unknown."""
        return self.chat_price_usd(identity.provider, identity.model, provider_id, tokens, 0)

    def chat_price_usd(
        self, kind: str, model: str, provider_id: UUID | None, tokens: int, output_tokens: int
    ) -> Decimal | None:
        """The price of so many tokens in and out; None: unknown."""
        own_service = self.is_own_service(kind, provider_id)
        return self.pricing.price_usd(kind, model, tokens, output_tokens, own_service=own_service)


def tokens_by_bytes(texts: Iterable[str], *, prefix: str = "") -> int:
    """About how many tokens the texts have, each behind the prefix."""
    return sum(tokens_of_bytes(len(prefix.encode()) + len(text.encode("utf-8", "replace"))) for text in texts)


def tokens_of_bytes(size: int) -> int:
    """About how many tokens so many bytes of UTF-8 are."""
    return -(-size // BYTES_A_TOKEN)


def new_run(of: str = "backfill") -> str:
    """A name for a run by which its uses are found: `backfill:20261120-ab12`, of the day in UTC."""
    return f"{of}:{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(2)}"
