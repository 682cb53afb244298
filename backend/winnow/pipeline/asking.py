"""A batch of texts is put to the model: patient with the weather, and one bad text never costs its neighbours."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from winnow.domain.backoff import backoff_seconds
from winnow.domain.truncation import shortened
from winnow.domain.usage import tokens_by_bytes
from winnow.errors import (
    AnswerInvalid,
    SetupFault,
    SomeInvalid,
    TextRefused,
    TextTooLong,
    Transient,
    WinnowError,
)
from winnow.pipeline.recognition import require_same_model
from winnow.providers.base import fingerprint_of
from winnow.providers.instrumentation import Took, accounted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.spaces import Space
    from winnow.pipeline.heartbeat import Hold
    from winnow.providers.base import Embedder, EmbeddingResult
    from winnow.storage.embedding_records import EmbeddableText

# A server that is away for a moment is asked again with the rows in hand; the whole stays below a lease and the grace
# of a shutdown, together with as much again that a line waits for a limited rate.
PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class Found:
    """What the model has said so far, good and bad, by row id; `stopped` is why it was not asked further.

    Attributes:
        vectors: float32, one dimension.
        characters: how much of a text its vector is of, where that is not all.
        refused: the texts at fault.
        withheld: texts that may not leave any more.
        stopped: the weather or the set-up.
        requests: that the server answered, well or badly.
        texts: that were in them.
        tokens: of the texts it did not refuse; `estimated` says that it did not count all of them itself.
    """

    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    characters: dict[int, int] = field(default_factory=dict)
    refused: dict[int, WinnowError] = field(default_factory=dict)
    withheld: set[int] = field(default_factory=set)
    stopped: Transient | SetupFault | None = None
    requests: int = 0
    texts: int = 0
    tokens: int = 0
    estimated: bool = False


class _HoldOver(Exception):
    """The rows may be another worker's by now."""


class _SomeWithheld(Exception):
    """Some of the texts may not leave any more; they are `Found.withheld`."""


class Inquiry:
    """One batch's questions to the model, and its answers in `found`.

    Args:
        embedder: asked.
        space: what its vectors must belong to.
        patience_seconds: how long bad weather is waited out with the rows in hand.
        suspicious: the rows have met bad weather before: if the server is well but for them, one of them makes it.
        hold: on the rows; once it is over nothing more is asked, for another worker may be asking.
        screen: says, before each request, which of the rows' texts may not leave; None: all may.
    """

    def __init__(
        self,
        embedder: Embedder,
        space: Space,
        *,
        patience_seconds: float,
        suspicious: bool = False,
        hold: Hold | None = None,
        screen: Callable[[Sequence[int]], Awaitable[set[int]]] | None = None,
    ) -> None:
        self.found = Found()
        self._screen = screen
        self._hold = hold
        self._suspicious = suspicious
        self._embedder = embedder
        self._space = space
        self._patience_seconds = patience_seconds
        self._deadline: float | None = None
        self._is_well = False

    def remember(self, rows: Iterable[EmbeddableText]) -> None:
        """Takes over what was answered for rows before, and could not be stored."""
        for row in rows:
            if row.paid is not None and len(row.paid) == self._space.dimensions:
                self.found.vectors[row.id] = row.paid
                if row.paid_characters is not None:
                    self.found.characters[row.id] = row.paid_characters

    async def ask(self, rows: Sequence[EmbeddableText]) -> None:
        """Asks for the rows, unless an earlier answer was reason to stop; a batch it refuses is halved."""
        with suppress(_HoldOver):
            await self._ask(rows)

    async def _ask(self, rows: Sequence[EmbeddableText]) -> None:
        if not rows or self.found.stopped:
            return
        try:
            result = await self._embed([row.text for row in rows], rows)
        except _SomeWithheld:
            await self._ask([row for row in rows if row.id not in self.found.withheld])
        except SomeInvalid as error:
            await self._keep(rows, error.good, error.characters)
            if error.good:
                await self._ask([rows[place] for place in sorted(error.bad)])
            else:
                await self._halve(rows, error)
        except (TextRefused, AnswerInvalid) as error:
            await self._halve(rows, error)
        except Transient as error:
            if self._suspicious:
                self._is_well = False  # it was before this
                await self._halve(rows, error)
            self.found.stopped = self.found.stopped or (None if self._suspicious else error)
        except SetupFault as error:
            self.found.stopped = error
        else:
            await self._keep(rows, dict(enumerate(result.vectors)), result.characters)

    async def look(self) -> None:
        """Asks for one word: is the server there, is it well, is it still the same model? Else `found.stopped`."""
        with accounted() as took:
            try:
                require_same_model(self._space, await fingerprint_of(self._embedder))
            except (Transient, SetupFault) as error:
                self.found.stopped = error
                return
            finally:
                self._count(took)
        self._is_well = True

    async def _halve(self, rows: Sequence[EmbeddableText], error: WinnowError) -> None:
        """Towards the culprit. A server that cannot embed a plain word either is at fault itself, and no text is."""
        if not self._is_well:
            await self.look()
        if self.found.stopped:
            return
        if len(rows) == 1:
            await self._ask_alone(rows[0], error)
            return
        middle = len(rows) // 2
        await self._ask(rows[:middle])
        await self._ask(rows[middle:])

    async def _ask_alone(self, row: EmbeddableText, error: WinnowError) -> None:
        with suppress(_SomeWithheld):
            await self._ask_patiently(row, error)

    async def _ask_patiently(self, row: EmbeddableText, error: WinnowError) -> None:
        """The culprit is asked for once more, for servers err; if it is too long, for as much of it as is taken."""
        text: str | None = row.text
        while text is not None:
            try:
                result = await self._embed([text], [row])
            except TextTooLong as again:
                error, text = again, shortened(text[: again.characters])
            except (TextRefused, AnswerInvalid) as again:
                error, text = again, None
            except Transient as away:
                self._is_well = False
                await self.look()
                if self.found.stopped or not self._suspicious:
                    self.found.stopped = self.found.stopped or away
                    return
                error, text = away, None
            except SetupFault as wrong:
                self.found.stopped = wrong
                return
            else:
                vector, characters = result.vectors[0], result.characters.get(0, len(text))
                if len(vector) != self._space.dimensions:
                    error, text = AnswerInvalid(f"the model's vector for this text has {len(vector)} numbers"), None
                    continue
                self.found.vectors[row.id] = vector
                if characters < len(row.text):
                    self.found.characters[row.id] = characters
                return
        self.found.refused[row.id] = error

    async def _embed(self, texts: Sequence[str], rows: Sequence[EmbeddableText]) -> EmbeddingResult:
        """One answer; through short spells of bad weather, with full jitter and the server's own wish kept."""
        tries = 0
        while True:
            if self._hold is not None and not self._hold.lasts:
                raise _HoldOver
            if self._screen is not None and (private := await self._screen([row.id for row in rows])):
                self.found.withheld |= private
                raise _SomeWithheld
            try:
                return await self._embed_once(texts)
            except Transient as error:
                if self._deadline is None:  # not before: a batch may have waited long for its turn
                    self._deadline = time.monotonic() + self._patience_seconds
                pause = backoff_seconds(tries, at_least=error.retry_after_seconds)
                tries += 1
                if time.monotonic() + pause > self._deadline:
                    raise
                await asyncio.sleep(pause)

    async def _embed_once(self, texts: Sequence[str]) -> EmbeddingResult:
        """Counts what the server answered to: one request with all of the texts, where nothing else is told."""
        one = Took(requests=1, texts=len(texts))
        untold = partial(tokens_by_bytes, texts, prefix=self._space.identity.document_prefix)
        with accounted() as took:
            try:
                result = await self._embedder.embed(texts, input_type="document")
            except (TextRefused, AnswerInvalid) as error:
                if isinstance(error, AnswerInvalid):
                    one.untold = untold()
                self._count(took if took.is_exact else one)
                raise
            except WinnowError:
                self._count(took)
                raise
        one.requests, one.texts, one.tokens = result.requests or 1, result.texts or len(texts), result.tokens
        if result.tokens is None:
            one.untold = untold()
        self._count(took if took.is_exact else one)
        return result

    def _count(self, took: Took) -> None:
        self.found.requests += took.requests
        self.found.texts += took.texts
        self.found.tokens += (took.tokens or 0) + took.untold
        self.found.estimated = self.found.estimated or took.untold > 0

    async def _keep(
        self, rows: Sequence[EmbeddableText], vectors: Mapping[int, NDArray[np.float32]], characters: Mapping[int, int]
    ) -> None:
        """Takes the vectors of the space's own length; others are a text's fault only while a plain word has it.

        Args:
            rows: all that were asked for.
            vectors: by place.
            characters: of the texts that the embedder has cut, by place.
        """
        strange = [place for place, vector in vectors.items() if len(vector) != self._space.dimensions]
        if strange:
            await self.look()
            if self.found.stopped:
                return
        for place, vector in vectors.items():
            if len(vector) == self._space.dimensions:
                self.found.vectors[rows[place].id] = vector
                if place in characters:
                    self.found.characters[rows[place].id] = characters[place]
        for place in strange:
            if not self.found.stopped:
                await self._ask_alone(rows[place], AnswerInvalid())
