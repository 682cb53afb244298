"""What embedding all that has no vector would take: tokens, money and time, each with what the figure is based on."""

from __future__ import annotations

import asyncio
import functools
import math
import operator
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role
from winnow.domain.usage import NOTHING, Purpose, Tariff, Use, tokens_by_bytes
from winnow.errors import AnswerInvalid, SetupFault, TextRefused, Transient
from winnow.storage.backfill import Weight, pending_weight, sample_texts
from winnow.storage.usage import note_use, past_pace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal
    from uuid import UUID

    from winnow.domain.spaces import EmbedderIdentity
    from winnow.providers.base import Embedder, EmbeddingResult
    from winnow.storage.engine import Database

SAMPLE_TEXTS = 20
# A model that is loaded first is waited for; a person is waiting, too.
SAMPLE_SECONDS = 60.0
# What an HNSW index takes for a row is beyond what the built-in model takes; a server's own time is far beyond both.
WRITE_SECONDS_A_ROW = 0.001
BY_BYTES = "one token for 4 bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whose figures: who would be asked, at what price, and who asks.

    `provider_name`: None: as its kind. `remote`: the model is elsewhere.
    """

    embedder: Embedder
    tariff: Tariff
    worker: str
    provider_id: UUID | None = None
    provider_name: str | None = None
    remote: bool = False

    @property
    def identity(self) -> EmbedderIdentity:
        """The model."""
        return self.embedder.identity

    @property
    def name(self) -> str:
        """The model as people call it."""
        return self.identity.called(self.provider_name or self.identity.provider)

    def price_usd(self, tokens: int) -> Decimal | None:
        """Of so many tokens; None: unknown."""
        return self.tariff.price_usd(self.identity, self.provider_id, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What would be asked for, and what that takes; each `…_basis` says in words where the figure comes from.

    Attributes:
        rows: that would get a vector.
        texts: that would be asked for; equal ones are one, and those that a vector is stored of are none.
        tokens: of these texts.
        price_usd: None: unknown.
        seconds: None: unknown.
        remark: why no sample was taken that should have been.
    """

    rows: int
    texts: int
    tokens: int
    tokens_basis: str
    price_usd: Decimal | None
    price_basis: str
    seconds: float | None
    seconds_basis: str
    remark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the model made of a few texts.

    Attributes:
        texts: how many.
        share: the tokens that the server counted, over our estimate; None: it does not count.
        seconds_a_token: by our estimate.
    """

    texts: int
    share: float | None
    seconds_a_token: float


async def estimate(
    database: Database,
    asked: Asked,
    *,
    kinds: Sequence[Kind] = tuple(Kind),
    limit: int | None = None,
    sample: bool | None = None,
    role: Role = Role.ACTIVE,
) -> Estimate:
    """What embedding the rows of these kinds that have no vector would take.

    Args:
        database: where they are.
        asked: who would be asked.
        kinds: of the rows.
        limit: of the rows, the kinds in turn.
        sample: whether the model is asked for about 20 of the texts, which are then thrown away; it costs what they
            cost, and is noted. None: if nothing is paid for it.
        role: of the space that they have no vector in.
    """
    weights: dict[Kind, Weight] = {}
    left = limit
    for kind in kinds:
        weights[kind] = await pending_weight(
            database, kind, prefix=asked.identity.document_prefix, limit=left, role=role, remote=asked.remote
        )
        left = None if left is None else left - weights[kind].rows
    weight = sum(weights.values(), Weight())
    measured, remark = None, None
    if weight.texts and (sample if sample is not None else asked.price_usd(1) == NOTHING):
        try:
            async with asyncio.timeout(SAMPLE_SECONDS):
                measured = await _measure(database, asked, weights, role)
        except (Transient, SetupFault, TextRefused, AnswerInvalid, TimeoutError) as error:
            remark = str(error) or f"{asked.name} did not embed a few texts within {SAMPLE_SECONDS:.0f} s"
    return await _estimate(database, asked, weight, measured, remark)


async def _estimate(
    database: Database, asked: Asked, weight: Weight, sample: Sample | None, remark: str | None
) -> Estimate:
    tokens, tokens_basis = weight.tokens, BY_BYTES
    if sample and sample.share is not None:
        tokens = math.ceil(weight.tokens * sample.share)
        tokens_basis = f"as the server counts them in a sample of {sample.texts} texts"
    price = asked.price_usd(tokens)
    seconds, seconds_basis = await _seconds(database, asked, weight, sample)
    return Estimate(
        rows=weight.rows,
        texts=weight.texts,
        tokens=tokens,
        tokens_basis=tokens_basis,
        price_usd=price,
        price_basis=_price_basis(asked, price),
        seconds=seconds,
        seconds_basis=seconds_basis,
        remark=remark,
    )


def _price_basis(asked: Asked, price: Decimal | None) -> str:
    if price is None:
        return f"the price of {asked.name} is not known here"
    if asked.price_usd(1) == NOTHING:
        return f"nobody is paid for {asked.name}"
    return f"the published price of {asked.name}"


async def _seconds(database: Database, asked: Asked, weight: Weight, sample: Sample | None) -> tuple[float | None, str]:
    writing, a_row = weight.rows * WRITE_SECONDS_A_ROW, f"{WRITE_SECONDS_A_ROW * 1000:g} ms a row for writing"
    if not weight.texts:
        return writing, a_row
    if sample:
        basis = f"a sample of {sample.texts} texts, one request after the other, and {a_row}"
        return weight.tokens * sample.seconds_a_token + writing, basis
    past = await past_pace(database, asked.identity)
    if past.tokens and past.seconds:
        return weight.tokens * past.seconds / past.tokens, f"the pace of the last {past.texts:,} texts with this model"
    return None, "nothing was measured, and this model has embedded nothing yet"


async def _measure(database: Database, asked: Asked, weights: Mapping[Kind, Weight], role: Role) -> Sample | None:
    """Of each kind its share. One text first, for a model may have to be loaded, then the others together."""
    every = sum(weight.texts for weight in weights.values())
    found: dict[str, None] = {}
    for kind, weight in weights.items():
        share = math.ceil(SAMPLE_TEXTS * weight.texts / every)
        found |= dict.fromkeys(await sample_texts(database, kind, share, role=role, remote=asked.remote))
    texts = list(found)[:SAMPLE_TEXTS]
    if not texts:
        return None
    parts = [texts[:1], texts[1:] or texts[:1]]
    uses: list[Use] = []
    try:
        for part in parts:
            uses += [await _ask(asked, part)]
    finally:
        if uses:  # what was paid for is noted, whatever became of the rest
            await note_use(database, functools.reduce(operator.add, uses))
    expected = [tokens_by_bytes(part, prefix=asked.identity.document_prefix) for part in parts]
    told = not any(use.estimated for use in uses)
    return Sample(
        texts=len(texts),
        share=sum(use.tokens for use in uses) / sum(expected) if told else None,
        seconds_a_token=uses[-1].seconds / expected[-1],
    )


async def _ask(asked: Asked, texts: Sequence[str]) -> Use:
    began = time.perf_counter()
    result = await asked.embedder.embed(texts, input_type="document")
    return use_of(asked, texts, result, seconds=time.perf_counter() - began)


def use_of(asked: Asked, texts: Sequence[str], result: EmbeddingResult, *, seconds: float) -> Use:
    """What it took to try a model out with these texts."""
    tokens = result.tokens
    if tokens is None:
        tokens = tokens_by_bytes(texts, prefix=asked.identity.document_prefix)
    return Use(
        purpose=Purpose.CHECK,
        worker=asked.worker,
        provider=asked.identity.provider,
        model=asked.identity.model,
        provider_id=asked.provider_id,
        requests=result.requests or 1,
        texts=result.texts or len(texts),
        tokens=tokens,
        estimated=result.tokens is None,
        seconds=seconds,
        price_usd=asked.price_usd(tokens),
    )
