"""The use of models as stored: noted once, kept, and summed up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.usage import Totals
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from datetime import datetime

    from winnow.domain.usage import By, Use
    from winnow.storage.engine import Database

SUMMED = (
    "name",
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
        rows = await fetch(connection, "usage_totals", by.value, since)
    return [Totals(**{name: getattr(row, name) for name in SUMMED}) for row in rows]
