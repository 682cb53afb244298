"""What the API and `--json` tell of the use of models; needs no web framework."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from winnow.api.schemas import EstimateOut
from winnow.domain.usage import By

if TYPE_CHECKING:
    from decimal import Decimal

    from winnow.domain.usage import Totals
    from winnow.pipeline.estimate import Estimate
    from winnow.pipeline.usage import UsageReport


class TotalsOut(BaseModel):
    """Uses together. `tokens` went in and `output_tokens` came out; `estimated`: some of them no server counted."""

    requests: int = Field(description="That model servers answered, well or badly.")
    texts: int = Field(description="That were in them.")
    embedded: int = Field(description="Rows that got a vector.")
    saved: int = Field(description="Those of them that took the vector of an identical text, at no cost.")
    tokens: int
    estimated: bool
    output_tokens: int
    seconds: float
    price_usd: float | None = Field(description="Of the uses whose price is known; null: of none.")
    price_complete: bool = Field(description="The price of every use is known; else it was at least `price_usd`.")


class NamedTotalsOut(TotalsOut):
    """The uses of one day, provider, model, purpose or run; a null `name` is of those without."""

    name: str | None


class UsageOut(BaseModel):
    """The use of models since a moment."""

    by: By
    since: datetime
    until: datetime
    time_zone: Literal["UTC"] = "UTC"
    items: list[NamedTotalsOut]
    total: TotalsOut


def usage_out(report: UsageReport) -> UsageOut:
    """A report in the shape that the API and `--json` show."""
    return UsageOut(
        by=report.by,
        since=report.since,
        until=report.until,
        items=[NamedTotalsOut(name=line.name, **dict(usage_totals_out(line))) for line in report.lines],
        total=usage_totals_out(report.total),
    )


def usage_totals_out(totals: Totals) -> TotalsOut:
    """Totals, without their name."""
    return TotalsOut(
        requests=totals.requests,
        texts=totals.texts,
        embedded=totals.embedded,
        saved=totals.saved,
        tokens=totals.tokens,
        estimated=totals.estimated,
        output_tokens=totals.output_tokens,
        seconds=round(totals.seconds, 3),
        price_usd=usd(totals.price_usd),
        price_complete=totals.price_complete,
    )


def estimate_out(expected: Estimate) -> EstimateOut:
    """An estimate in the same shape for the API and `--json`."""
    return EstimateOut(
        rows=expected.rows,
        texts=expected.texts,
        tokens=expected.tokens,
        tokens_basis=expected.tokens_basis,
        price_usd=usd(expected.price_usd),
        price_basis=expected.price_basis,
        seconds=None if expected.seconds is None else round(expected.seconds, 3),
        seconds_basis=expected.seconds_basis,
        remark=expected.remark,
    )


def usd(price: Decimal | None) -> float | None:
    """US dollars as all JSON has them: a number; null: unknown."""
    return None if price is None else float(price)
