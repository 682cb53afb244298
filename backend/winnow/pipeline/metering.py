"""Uses that are too small for a row each, summed up in this process: one row a minute for all of a sort."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from typing_extensions import override

from winnow.domain.usage import Noting, Purpose, Use, tokens_by_bytes
from winnow.errors import AnswerInvalid
from winnow.pipeline.estimate import use_of
from winnow.providers.base import Embedder, LanguageModel
from winnow.storage.usage import note_use

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.domain.providers import Provider
    from winnow.domain.spaces import EmbedderIdentity
    from winnow.domain.usage import Tariff
    from winnow.pipeline.estimate import Asked
    from winnow.providers.base import Completion, EmbeddingResult, InputType
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedEmbedder(Embedder):
    """An embedder that is tried out: what it takes is noted as a check.

    Attributes:
        asked: the embedder, and what it costs.
        meter: who takes note.
    """

    asked: Asked
    meter: Noting

    @property
    @override
    def identity(self) -> EmbedderIdentity:
        return self.asked.identity

    @override
    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        """The embedder's own answer."""
        began = time.perf_counter()
        result = await self.asked.embedder.embed(texts, input_type=input_type)
        self.meter.add(use_of(self.asked, texts, result, seconds=time.perf_counter() - began))
        return result

    @override
    async def close(self) -> None:
        """Nothing: it is somebody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedLanguageModel(LanguageModel):
    """A language model that extracts or scores: what it takes is noted as that.

    An answer that was of no use has been paid for as well: its tokens are estimated. What was refused, or did not come,
    was not.

    Attributes:
        model: asked, and closed with this.
        named: as the provider names it.
        purpose: what it is asked for.
        provider: whose it is.
        tariff: what it costs.
        worker: who asks.
        meter: who takes note.
    """

    model: LanguageModel
    named: str
    purpose: Purpose
    provider: Provider
    tariff: Tariff
    worker: str
    meter: Noting

    @property
    @override
    def name(self) -> str:
        return self.model.name

    @override
    async def complete(
        self, *, system: str, prompt: str, schema: Mapping[str, Any] | None = None, max_output_tokens: int
    ) -> Completion:
        """The model's own answer."""
        estimated = tokens_by_bytes([system, prompt])
        try:
            completion = await self.model.complete(
                system=system, prompt=prompt, schema=schema, max_output_tokens=max_output_tokens
            )
        except AnswerInvalid:
            self._note(tokens=estimated, output_tokens=0, estimated=True, seconds=0.0)
            raise
        told, written = completion.input_tokens, completion.output_tokens
        self._note(
            tokens=estimated if told is None else told,
            output_tokens=tokens_by_bytes([completion.text]) if written is None else written,
            estimated=told is None or written is None,
            seconds=completion.seconds,
        )
        return completion

    @override
    async def close(self) -> None:
        await self.model.close()

    def _note(self, *, tokens: int, output_tokens: int, estimated: bool, seconds: float) -> None:
        kind, id_ = self.provider.kind.value, self.provider.id
        self.meter.add(
            Use(
                purpose=self.purpose,
                worker=self.worker,
                provider=kind,
                model=self.named,
                provider_id=id_,
                requests=1,
                texts=1,
                tokens=tokens,
                estimated=estimated,
                output_tokens=output_tokens,
                seconds=seconds,
                price_usd=self.tariff.chat_price_usd(kind, self.named, id_, tokens, output_tokens),
            )
        )


class Meter(Noting):
    """Holds uses for at most a minute; a process that is killed loses those of its last one.

    A database that is away keeps them here for longer: they are written with those of the next minute.
    """

    def __init__(self, database: Database, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._database = database
        self._flush_seconds = flush_seconds
        self._held: dict[Use, Use] = {}
        self._waiting: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @override
    def add(self, use: Use) -> None:
        """Adds one use to those of its sort."""
        self._held[use.sort] = self._held[use.sort] + use if use.sort in self._held else use
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(self._flush_later(), name="note uses of models")

    async def flush(self) -> None:
        """Writes down what is held, one row for each sort."""
        for sort in list(self._held):
            use = self._held.pop(sort)
            try:
                await note_use(self._database, use)
            except BaseException as error:
                self._held[sort] = use + self._held[sort] if sort in self._held else use
                if not isinstance(error, Exception):
                    raise
                # A disk that is full, or a server that may only be read, ends no search.
                log.warning("usage.not_noted", reason=str(error))
                return

    async def close(self) -> None:
        """Writes down the last of it; what the database does not take now is lost."""
        self._closing.set()
        if self._waiting is not None:
            await asyncio.wait([self._waiting])  # what it writes just now would be lost, or noted twice
        await self.flush()

    async def _flush_later(self) -> None:
        while self._held and not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._flush_seconds)
            await self.flush()
