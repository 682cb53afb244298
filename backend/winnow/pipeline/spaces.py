"""Which vector space the rows and this process's embedder share."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from winnow.errors import DatabaseBusy, SetupFault, SpaceMismatch, Transient
from winnow.providers.base import probe_dimensions
from winnow.storage.spaces import active_space, any_vector_stored, create_space, lock_spaces, note_unprobed

if TYPE_CHECKING:
    from winnow.domain.spaces import EmbedderIdentity, Space
    from winnow.providers.base import Embedder
    from winnow.storage.engine import Database

# An open transaction of somebody else keeps us from the tables; after so many tries it is the caller who waits.
MAKE_TRIES = 5
MAKE_PAUSE_SECONDS = 0.2


class Spaces:
    """The active space, as far as it is the embedder's own."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self.embedder = embedder
        self._known: Space | None = None

    async def current(self) -> Space | None:
        """The stored space, whosever it is; None before the first model was used."""
        async with self._database.autocommit() as connection:
            return await active_space(connection)

    async def ours(self) -> Space:
        """The space to write into; made to the measure of the probed model when no vector is stored yet.

        Raises:
            SpaceMismatch: the stored vectors are another embedder's.
            Transient: the model cannot be probed, or the tables not be had for a moment, just now.
            SetupFault: the model is missing, or refuses the key.
        """
        if self._known is None:
            space = await self.current()
            if space is None or space.identity != self.embedder.identity:
                space = await self._make()
            self._known = space
        return self._known

    def forget(self) -> None:
        """The space may have changed: ask the database again."""
        self._known = None

    async def check(self) -> None:
        """Raises `SpaceMismatch` when the stored vectors are another embedder's; asks no model."""
        async with self._database.autocommit() as connection:
            space = await active_space(connection)
            if space and space.identity != self.embedder.identity and await any_vector_stored(connection):
                raise self._mismatch(space)

    async def _make(self) -> Space:
        await self.check()
        identity = self.embedder.identity
        try:
            dimensions = await probe_dimensions(self.embedder)  # before the transaction: a model may take its time
        except (Transient, SetupFault) as error:
            async with self._database.autocommit() as connection:
                await note_unprobed(connection, error)
            raise
        for _ in range(MAKE_TRIES - 1):
            with contextlib.suppress(DatabaseBusy):
                return await self._make_now(identity, dimensions)
            await asyncio.sleep(MAKE_PAUSE_SECONDS)
        return await self._make_now(identity, dimensions)

    async def _make_now(self, identity: EmbedderIdentity, dimensions: int) -> Space:
        async with self._database.transaction() as connection:
            await lock_spaces(connection)
            space = await active_space(connection)  # another process may have been first
            if space and space.identity == identity:
                return space
            if space and await any_vector_stored(connection):
                raise self._mismatch(space)
            return await create_space(connection, identity, dimensions)

    def _mismatch(self, space: Space) -> SpaceMismatch:
        ours = self.embedder.identity
        if (ours.provider, ours.model) == (space.identity.provider, space.identity.model):
            document, query = space.identity.document_prefix, space.identity.query_prefix
            return SpaceMismatch(
                f"the stored vectors of {ours} were made with the prefixes {document!r} and {query!r}; set "
                "WINNOW_DOCUMENT_PREFIX and WINNOW_QUERY_PREFIX to these"
            )
        return SpaceMismatch(
            f"the stored vectors were made by {space.identity} ({space.dimensions} dimensions); {ours} makes others; "
            f"set WINNOW_EMBEDDER={space.identity}, or keep {ours} and use another database or --data-dir"
        )
