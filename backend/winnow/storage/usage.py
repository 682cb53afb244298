"""The use of models as stored: noted once, kept, and summed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from winnow.domain.providers import ProviderKind
from winnow.domain.usage import Totals
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row

    from winnow.domain.spaces import EmbedderIdentity
    from winnow.domain.usage import By, Use
    from winnow.storage.engine import Database

# Kinds with one model, which is called as they are.
BUILT_IN = [kind.value for kind in ProviderKind if not kind.traits.is_served]
SUMMED = (
    "requests",
    "texts",
    "embedded",
    "saved",
    "tokens",
    "estimated",
    "output_tokens",
    "seconds",
    "price_usd",
    "price_complete",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPace:
    """Texts and tokens, and for how many seconds somebody was at them; batches side by side count once."""

    texts: int
    tokens: int
    seconds: float


async def note_use(database: Database, use: Use) -> None:
    """Writes a use down, as of now."""
    async with database.autocommit() as connection:
        await fetch(
            connection,
            "note_use",
            use.kind.value if use.kind else None,
            use.space_id,
            use.worker,
            use.embedded,
            use.saved,
            use.tokens,
            use.seconds,
            use.purpose.value,
            use.run,
            use.provider_id,
            use.provider,
            use.model,
            use.requests,
            use.texts,
            use.estimated,
            use.output_tokens,
            use.price_usd,
        )


async def usage_totals(database: Database, *, by: By, since: datetime) -> list[Totals]:
    """What was used since then, by name; what has none comes last."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "usage_totals", by.value, since, BUILT_IN)
    return [_totals(row, name=row.name) for row in rows]


async def usage_of_run(database: Database, run: str) -> Totals:
    """What was used under this name so far."""
    async with database.autocommit() as connection:
        return _totals((await fetch(connection, "usage_of_run", run))[0], name=run)


async def past_pace(database: Database, identity: EmbedderIdentity) -> PastPace:
    """How fast this model has made vectors in the last month, writing included."""
    async with database.autocommit() as connection:
        row = (await fetch(connection, "past_pace", identity.provider, identity.model))[0]
    return PastPace(texts=row.texts, tokens=row.tokens, seconds=row.seconds)


def _totals(row: Row[Any], *, name: str | None) -> Totals:
    return Totals(name=name, **{field: getattr(row, field) for field in SUMMED})
