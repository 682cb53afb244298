"""A model is known by its fingerprint, never by its name: before its vectors go beside stored ones, or search them."""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import override

from winnow.errors import ProviderTimeout, ProviderUnavailable, SetupFault, SpaceMismatch
from winnow.providers.base import FINGERPRINT_TEXT, RECOGNISED_SECONDS, Embedder, difference, fingerprint_of
from winnow.storage.spaces import keep_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from winnow.domain.spaces import EmbedderIdentity, Space
    from winnow.providers.base import EmbeddingResult, InputType
    from winnow.storage.engine import Database


# The first search waits no longer, either; those after it are not to wait again for the same answer.
PATIENCE_SECONDS = 5.0


def require_same_model(space: Space, fingerprint: Sequence[float]) -> None:
    """Raises `SpaceMismatch` if a fingerprint is not the space's own: another model goes by the name of its model.

    A space that has none is known by its dimensions alone.
    """
    if len(fingerprint) != space.dimensions:
        raise SpaceMismatch(
            f"{space.name} now makes vectors of {len(fingerprint)} dimensions; the stored ones have "
            f"{space.dimensions}: another model has taken its name on the server; pull the old one again under that "
            "name, or use another database or --data-dir"
        )
    if space.fingerprint is not None and difference(space.fingerprint, fingerprint) is not None:
        raise SpaceMismatch(
            f"this server has another model by the name of {space.name} than the one that made the stored vectors; "
            "pull the old one again under that name, or change over to this one under another"
        )


class Recognised(Embedder):
    """An embedder that is asked for texts only while its model is known to be the one of the space.

    It is asked for a word first: before its first texts, after it was away or its set-up was wrong, and each hour. No
    call is charged for that, and all who ask at the same time wait for the same answer; once that has been waited for
    for some seconds, searches do without. A look at the server, which asks for the same word, is as good.

    Args:
        embedder: of the space's identity; it stays its owner's to close.
        space: one without a fingerprint gets that of the first good answer.
        database: where that is written down.
        is_known: this process has just made the space with it.
        clock: seconds.
    """

    def __init__(
        self,
        embedder: Embedder,
        space: Space,
        *,
        database: Database,
        is_known: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.embedder = embedder
        self._space = space
        self._database = database
        self._clock = clock
        self._known_until = clock() + RECOGNISED_SECONDS if is_known else float("-inf")
        self._recognition: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")

    @property
    @override
    def identity(self) -> EmbedderIdentity:
        return self.embedder.identity

    @override
    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        """The embedder's own answer.

        Raises:
            SpaceMismatch: its model is another one than the space's; it was not asked for these texts.
            ProviderTimeout: a query, and the server leaves the word unanswered.
            WinnowError: as the embedder does.
        """
        is_word = input_type == "document" and list(texts) == [FINGERPRINT_TEXT]
        if not is_word and self._clock() >= self._known_until:
            await self._recognised(is_patient=input_type != "query")
        try:
            result = await self.embedder.embed(texts, input_type=input_type)
            if is_word:
                await self._compare(result.vectors[0].tolist())
        except (ProviderUnavailable, SetupFault):
            self._known_until = float("-inf")
            raise
        return result

    @override
    async def close(self) -> None:
        """Ends what it has begun; the embedder inside is somebody else's."""
        if self._recognition is not None:
            self._recognition.cancel()
            await asyncio.gather(self._recognition, return_exceptions=True)

    async def _recognised(self, *, is_patient: bool) -> None:
        if self._recognition is None:
            self._asked_at = self._clock()
            name = f"recognise {self.identity}"
            # In a context of its own: no call is charged for it.
            self._recognition = asyncio.create_task(self._recognise(), name=name, context=Context())
            self._recognition.add_done_callback(self._end_recognition)
        elif not is_patient and self._clock() - self._asked_at >= PATIENCE_SECONDS:
            raise ProviderTimeout(f"{self.identity} has not answered for {self._clock() - self._asked_at:.0f} s")
        await asyncio.shield(self._recognition)

    async def _recognise(self) -> None:
        await self._compare(await fingerprint_of(self.embedder))

    def _end_recognition(self, recognition: asyncio.Task[None]) -> None:
        self._recognition = None
        if not recognition.cancelled():
            recognition.exception()  # whoever asked has seen it, unless all were cancelled

    async def _compare(self, found: Sequence[float]) -> None:
        require_same_model(self._space, found)
        if self._space.fingerprint is None:
            async with self._database.autocommit() as connection:
                kept = await keep_fingerprint(connection, self._space, found)  # another process may have been first
            self._space = replace(self._space, fingerprint=tuple(kept))
            require_same_model(self._space, found)
        self._known_until = self._clock() + RECOGNISED_SECONDS
