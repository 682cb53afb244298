"""A backfill keeps to a budget: it sends no row that it could not pay for, and says in the end what was used."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.usage import NOTHING, Totals
from winnow.errors import InvalidInput
from winnow.pipeline.estimate import estimate
from winnow.storage.backfill import Weight, pending_weight, row_weights
from winnow.storage.usage import usage_of_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.budget import Budget
    from winnow.domain.jobs import Kind
    from winnow.pipeline.estimate import Asked, Estimate
    from winnow.storage.engine import Database

MILLION = 1_000_000
# A batch is noted as soon as its rows are written, or not at all: so long after, nothing more is waited for.
NOTE_SECONDS = 2.0
LOOK_SECONDS = 0.05
# Of the budget, for the first batch: before it nobody knows how many tokens the server finds in a byte.
FIRST_SHARE = 4


def tokens_in(budget: Budget, asked: Asked) -> int | None:
    """The tokens that may be used; None: any number, for nobody is paid.

    Raises:
        InvalidInput: a budget in money, and nobody knows the price.
    """
    if budget.usd is None:
        return budget.tokens
    price = asked.price_usd(MILLION)
    if price is None:
        raise InvalidInput(
            f"the price of {asked.name} is not known here, so a budget in money cannot be kept; give it in tokens, "
            "for example --budget 2M"
        )
    return None if price == NOTHING else math.floor(budget.usd * MILLION / price)


@dataclass(slots=True)
class Purse:
    """So many tokens for a run, and how far they go.

    What is noted of the run is used. What was sent and is not noted yet is counted by its estimate: about a token for 4
    bytes, or more, when the batches that are over took more than that.

    Attributes:
        database: where uses are noted.
        run: whose they are.
        tokens: to use at most.
        prefix: before each text.
        remote: the model is elsewhere, and gets no text of a local-only channel.
    """

    database: Database
    run: str
    tokens: int
    prefix: str
    remote: bool = False
    _used: Totals = field(default_factory=Totals)
    _sent: int = 0
    _over: int = 0
    _rows_over: int = 0
    _over_at: float = -math.inf

    async def rows_within(self, kinds: Sequence[Kind]) -> int:
        """About how many of the rows without a vector it is enough for."""
        weight = Weight()
        for kind in kinds:
            weight += await pending_weight(self.database, kind, prefix=self.prefix, remote=self.remote)
        if weight.tokens <= self.tokens:
            return weight.rows
        return max(1, weight.rows * self.tokens // weight.tokens)

    async def first_of(self, kind: Kind, ids: Sequence[int]) -> tuple[list[int], int]:
        """As many of the rows, from the first on, as can be paid for just now; and their tokens, by estimate.

        None while the first batch is on its way, which shows what estimates are worth. That one is small: a part of the
        budget, or a single text.
        """
        self._used = await usage_of_run(self.database, self.run)
        if self._sent > self._over == 0:
            return [], 0
        room = self.tokens - self._used.tokens - self._unnoted()
        most_at_first = math.inf if self._sent else self.tokens / FIRST_SHARE
        weights = await row_weights(self.database, kind, ids, prefix=self.prefix, remote=self.remote)
        chosen, tokens, seen = [], 0, set[int]()
        for row_id in ids:
            row = weights.get(row_id)
            if row is not None and not row.known and row.hash not in seen:
                if (tokens + row.tokens) * self._correction > room or (tokens and tokens + row.tokens > most_at_first):
                    break
                seen.add(row.hash)
                tokens += row.tokens
            chosen.append(row_id)
        self._sent += tokens
        return chosen, tokens

    def over(self, tokens: int, *, rows: int) -> None:
        """A batch of so many estimated tokens is over, and so many of its rows have a vector."""
        self._over += tokens
        self._rows_over += rows
        self._over_at = time.monotonic()

    @property
    def may_change(self) -> bool:
        """Whether a batch is on its way, or was a moment ago, so that there may be more room soon."""
        return self._sent > self._over or self._late

    @property
    def _late(self) -> bool:
        """Whether the last batch that is over may not be noted yet."""
        return self._used.embedded < self._rows_over and time.monotonic() < self._over_at + NOTE_SECONDS

    @property
    def _correction(self) -> float:
        """How much more than estimated was used, where it was more."""
        return max(1.0, self._used.tokens / self._over) if self._over else 1.0

    def _unnoted(self) -> int:
        """By estimate. Of the batches that are over, while one may not be noted: what they have more than was used."""
        late = max(0, self._over - self._used.tokens) if self._late else 0
        return math.ceil((self._sent - self._over) * self._correction) + late


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a backfill used, and what is left to embed; `stopped` says that the budget ended it."""

    run: str
    used: Totals
    left: Estimate
    budget: Budget | None = None
    stopped: bool = False


async def account(
    database: Database,
    asked: Asked,
    *,
    run: str,
    kinds: Sequence[Kind],
    rows: int,
    budget: Budget | None,
    stopped: bool,
) -> Account:
    """The account of a run that is over; `rows` got a vector, and their last batch may take a moment to be noted."""
    until = time.monotonic() + NOTE_SECONDS / 2
    used = await usage_of_run(database, run)
    while used.embedded < rows and time.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
        used = await usage_of_run(database, run)
    left = await estimate(database, asked, kinds=kinds, sample=False)
    return Account(run=run, used=used, left=left, budget=budget, stopped=stopped)
