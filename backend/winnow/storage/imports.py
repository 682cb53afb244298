"""How far imports came that were interrupted, and what of a file is known already."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.messages import IncomingMessage
    from winnow.storage.unit_of_work import UnitsOfWork


class ImportProgress:
    """The row of one file whose import has begun and not come to the end.

    Args:
        units: opens the transactions, one for each call.
        fingerprint: of the file and of what was said about it.
    """

    def __init__(self, units: UnitsOfWork, fingerprint: bytes) -> None:
        self._units = units
        self._fingerprint = fingerprint

    async def items(self) -> int:
        """How many items of the file, from its beginning, are stored."""
        async with self._units.begin(one_statement=True) as work:
            rows = await work.fetch("import_progress", self._fingerprint)
        return rows[0].items if rows else 0

    async def save(self, items: int) -> None:
        """So many are stored now."""
        async with self._units.begin(one_statement=True) as work:
            await work.fetch("save_import_progress", self._fingerprint, items)

    async def end(self) -> None:
        """All are stored; when the file is imported again, it is read from its beginning."""
        async with self._units.begin(one_statement=True) as work:
            await work.fetch("end_import_progress", self._fingerprint)


async def count_known(units: UnitsOfWork, messages: Sequence[IncomingMessage]) -> int:
    """How many of the messages are stored, by their identity."""
    if not messages:
        return 0
    columns = [[getattr(message, name) for message in messages] for name in ("source", "channel", "external_id")]
    async with units.begin(one_statement=True) as work:
        (row,) = await work.fetch("count_known", *columns)
    known: int = row.known
    return known
