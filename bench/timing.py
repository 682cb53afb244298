"""The product's own parts with a clock around them."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.unit_of_work import UnitsOfWork

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from winnow.bootstrap import Winnow
    from winnow.domain.jobs import Dispatcher, Job, Lane
    from winnow.domain.knowledge import Extraction, Extractor, Window
    from winnow.domain.spaces import EmbedderIdentity
    from winnow.providers.base import Embedder, EmbeddingResult, InputType


class Clock:
    """Seconds spent under each name."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Adds what the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started


class NowhereDispatcher:
    """Drops every job: for filling a database without setting anybody to work."""

    async def dispatch(self, jobs: Sequence[Job], lane: Lane) -> None:
        """Does nothing."""


class TimedUnits(UnitsOfWork):
    """Units of work that time the post-commit hook.

    `hooks` is how long whoever committed waits for it, `sendings` how long it then takes beside.
    """

    def __init__(self, winnow: Winnow, clock: Clock | None = None, *, dispatcher: Dispatcher | None = None) -> None:
        super().__init__(winnow.database, dispatcher or winnow.dispatcher, batch_size=winnow.settings.batch_size)
        self.clock = clock or Clock()
        self.committed_at = 0.0
        self.hooks: list[float] = []
        self.sendings: list[float] = []

    @override
    async def _hand_over(self, promised: Sequence[tuple[Job, Lane]]) -> None:
        self.committed_at = time.perf_counter()
        await super()._hand_over(promised)
        self.hooks.append(time.perf_counter() - self.committed_at)

    @override
    async def _keep(self, promised: Sequence[tuple[Job, Lane]], *, commits: int) -> None:
        started = time.perf_counter()
        with self.clock.on("hook"):
            await super()._keep(promised, commits=commits)
        self.sendings.append(time.perf_counter() - started)


def silent_units(winnow: Winnow) -> UnitsOfWork:
    """Units of work whose promises go nowhere."""
    return UnitsOfWork(winnow.database, NowhereDispatcher(), batch_size=winnow.settings.batch_size)


class TimedExtractor:
    """An extractor with a clock, and with `pause_seconds` added to each window, as a language model takes them."""

    def __init__(self, inner: Extractor, clock: Clock | None = None, *, pause_seconds: float = 0) -> None:
        self._inner = inner
        self._clock = clock or Clock()
        self._pause_seconds = pause_seconds
        self.windows = 0

    @property
    def name(self) -> str:
        """The inner one's."""
        return self._inner.name

    @property
    def version(self) -> str:
        """The inner one's."""
        return self._inner.version

    @property
    def wants_known(self) -> bool:
        """The inner one's."""
        return self._inner.wants_known

    async def extract(self, window: Window) -> Extraction:
        """What the inner one finds."""
        self.windows += 1
        with self._clock.on("extractor"):
            await asyncio.sleep(self._pause_seconds)
            return await self._inner.extract(window)


class TimedEmbedder:
    """An embedder with a clock."""

    def __init__(self, inner: Embedder, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    @property
    def identity(self) -> EmbedderIdentity:
        """The inner one's."""
        return self._inner.identity

    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        """The inner one's vectors."""
        with self._clock.on("model"):
            return await self._inner.embed(texts, input_type=input_type)

    async def close(self) -> None:
        """Nothing: the inner one belongs to somebody else."""


class TimedStore(EmbeddingStore):
    """The embeddings' statements with a clock: `claim` is all that surrounds the model, `write` is the vectors."""

    def __init__(self, winnow: Winnow, clock: Clock) -> None:
        super().__init__(winnow.database)
        self._clock = clock

    @override
    async def claim(self, *given: Any, **named: Any) -> Any:
        with self._clock.on("claim"):
            return await super().claim(*given, **named)

    @override
    async def read(self, *given: Any, **named: Any) -> Any:
        with self._clock.on("claim"):
            return await super().read(*given, **named)

    @override
    async def copy(self, *given: Any, **named: Any) -> Any:
        with self._clock.on("write"):
            return await super().copy(*given, **named)

    @override
    async def write(self, *given: Any, **named: Any) -> Any:
        with self._clock.on("write"):
            return await super().write(*given, **named)
