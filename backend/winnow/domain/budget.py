"""How much may be spent, in money or in tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from typing_extensions import override

from winnow.errors import InvalidInput

if TYPE_CHECKING:
    from typing import Self

_GIVEN = re.compile(r"(?P<money>\$)?\s*(?P<number>\d{1,15}(\.\d{1,9})?)\s*(?P<unit>usd|k|m)?", re.ASCII | re.IGNORECASE)
_TIMES = {"k": 1_000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Budget:
    """Either tokens or US dollars; `given` is how a person wrote it."""

    given: str
    tokens: int | None = None
    usd: Decimal | None = None

    @classmethod
    def read(cls, given: str) -> Self:
        """Money as `5usd` or `$0.50`, tokens as `500000`, `500k` or `2M`.

        Raises:
            InvalidInput: anything else, or nothing at all.
        """
        found = _GIVEN.fullmatch(given.strip())
        unit = (found["unit"] or "").lower() if found else ""
        if found is None or (found["money"] and unit in _TIMES):
            raise InvalidInput(f"{given!r} is no budget; write money as 5usd or $0.50, tokens as 500000, 500k or 2M")
        number = Decimal(found["number"])
        if found["money"] or unit == "usd":
            budget = cls(given, usd=number)
        else:
            budget = cls(given, tokens=int(number * _TIMES.get(unit, 1)))
        if not (budget.usd or budget.tokens):
            raise InvalidInput(f"a budget of {given!r} buys nothing; to see what a backfill would cost, use --dry-run")
        return budget

    @override
    def __str__(self) -> str:
        return f"{self.tokens:,} tokens" if self.usd is None else f"${self.usd}"
