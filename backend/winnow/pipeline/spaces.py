"""Which vector space rows are embedded into, and who makes its vectors."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

import structlog

from winnow.domain.spaces import Role, Wish
from winnow.errors import DatabaseBusy, SetupFault, SpaceMismatch, Transient
from winnow.pipeline.recognition import Recognised
from winnow.providers.base import fingerprint_of
from winnow.storage.spaces import any_vector_stored, create_space, lock_spaces, note_unprobed, read_spaces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from winnow.domain.spaces import EmbedderIdentity, Space
    from winnow.providers.base import Embedder
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

# An open transaction of somebody else keeps us from the tables; after so many tries it is the caller who waits.
MAKE_TRIES = 5
MAKE_PAUSE_SECONDS = 0.2


class EmbedderSource(Protocol):
    """Where the embedders of stored spaces come from."""

    async def of(self, space: Space) -> Embedder:
        """One whose identity is the space's; it stays the source's to close.

        Raises:
            SetupFault: its provider is gone, switched off, or its key cannot be read.
        """
        ...

    async def is_remote(self, kind: str, provider_id: UUID | None) -> bool:
        """Whether a provider (None: the settings' own) is elsewhere. Raises as `of` does."""
        ...

    async def close(self) -> None:
        """Closes all that were given out."""
        ...


class Spaces:
    """The stored spaces, as far as this process may use them.

    Args:
        database: where.
        embedder: with which the first space is made.
        wish: what the settings insist on; None: exactly `embedder`.
        source: of the embedders of other spaces; None: there is only `embedder`.
    """

    def __init__(
        self, database: Database, embedder: Embedder, *, wish: Wish | None = None, source: EmbedderSource | None = None
    ) -> None:
        self._database = database
        self.embedder = embedder
        self._wish = wish or Wish.for_exactly(embedder.identity)
        self._source = source
        self._known: Space | None = None
        self._told = False
        self._recognised: dict[int, Recognised] = {}

    async def all(self) -> Mapping[Role, Space]:
        """The spaces that have a column, by role."""
        async with self._database.autocommit() as connection:
            return await read_spaces(connection)

    async def current(self) -> Space | None:
        """The active space, whosever it is; None before the first model was used."""
        return (await self.all()).get(Role.ACTIVE)

    async def ours(self) -> Space:
        """The active space, to write into; made to the measure of the probed model when no vector is stored yet.

        Raises:
            SpaceMismatch: the stored vectors are of another model than the one the settings insist on.
            Transient: the model cannot be probed, or the tables not be had for a moment, just now.
            SetupFault: the model is missing, or refuses the key.
        """
        if self._known is None:
            stored = await self.all()
            space = stored.get(Role.ACTIVE)
            if space is None or not self._may_use(stored):
                space = await self._make()
            self._known = space
        return self._known

    async def of_task(self, provider_id: str | None, space_id: int | None) -> Space:
        """The space a task is for: the one of this id, else the one its provider embeds for, else the active one.

        Raises:
            SpaceMismatch: there is no such space any more, or the provider embeds for none.
            WinnowError: as `ours` does.
        """
        if provider_id is None and space_id is None:
            return await self.ours()
        stored = await self.all()
        for role in (Role.ACTIVE, Role.BUILDING):
            space = stored.get(role)
            if space is None or (space_id is not None and space.id != space_id):
                continue
            if provider_id in {None, str(space.provider_id), str(space.identity)}:
                return space
        raise SpaceMismatch(
            f"the task is for the space {space_id}, which is neither the active one nor being built"
            if space_id is not None
            else f"the task asks for {provider_id}, which embeds for no space; `winnow model use` changes the model"
        )

    async def embedder_of(self, space: Space) -> Embedder:
        """Who makes the vectors of a space; a server is asked for them only while it has the space's model.

        Raises:
            SpaceMismatch: nobody this process knows.
            SetupFault: its provider is gone, switched off, or its key cannot be read.
        """
        if self._is_of_settings(space):
            embedder, is_held = self.embedder, False
        elif self._source is None:
            raise self._mismatch(space)
        else:
            embedder, is_held = await self._source.of(space), space.fingerprint is not None
        known = self._recognised.get(space.id)
        if not space.identity.is_served or (is_held and known is None):
            return embedder
        if known is None or known.embedder is not embedder:
            known = self._recognised[space.id] = Recognised(embedder, space, database=self._database)
        return known

    async def is_remote(self, space: Space | None) -> bool:
        """Whether the texts of a space (None: of the first one to be) are sent elsewhere. Raises as `embedder_of`."""
        if self._source is None:
            return False
        identity = space.identity if space else self.embedder.identity
        return await self._source.is_remote(identity.provider, space.provider_id if space else None)

    def forget(self) -> None:
        """The space may have changed: ask the database again."""
        self._known = None

    async def check(self) -> None:
        """Raises `SpaceMismatch` when the settings insist on another model than the stored vectors'; asks no model."""
        stored = await self.all()
        if Role.ACTIVE in stored and not self._may_use(stored):
            async with self._database.autocommit() as connection:
                if await any_vector_stored(connection):
                    raise self._mismatch(stored[Role.ACTIVE])

    async def close(self) -> None:
        """Closes the embedders."""
        for recognised in self._recognised.values():
            await recognised.close()
        await self.embedder.close()
        if self._source is not None:
            await self._source.close()

    def _is_of_settings(self, space: Space) -> bool:
        return space.provider_id is None and space.identity == self.embedder.identity

    def _may_use(self, stored: Mapping[Role, Space]) -> bool:
        """Whether the active space is what the settings insist on, or what a person has chosen since."""
        active = stored[Role.ACTIVE]
        if self._wish.fits(active.identity):
            return True
        others = [stored[role] for role in (Role.PREVIOUS, Role.BUILDING) if role in stored]
        chosen_since = self._source is not None and any(self._wish.fits(other.identity) for other in others)
        if chosen_since and not self._told:
            self._told = True
            log.warning("space.chosen_since", embedder=str(active.identity), setting=str(self.embedder.identity))
        return chosen_since

    async def _make(self) -> Space:
        await self.check()
        identity = self.embedder.identity
        try:
            fingerprint = await fingerprint_of(self.embedder)  # before the transaction: a model may take its time
        except (Transient, SetupFault) as error:
            async with self._database.autocommit() as connection:
                await note_unprobed(connection, error)
            raise
        space = await self._make_patiently(identity, fingerprint)
        if self._is_of_settings(space) and space.fingerprint == tuple(fingerprint):
            self._recognised[space.id] = Recognised(self.embedder, space, database=self._database, is_known=True)
        return space

    async def _make_patiently(self, identity: EmbedderIdentity, fingerprint: Sequence[float]) -> Space:
        for _ in range(MAKE_TRIES - 1):
            with contextlib.suppress(DatabaseBusy):
                return await self._make_now(identity, fingerprint)
            await asyncio.sleep(MAKE_PAUSE_SECONDS)
        return await self._make_now(identity, fingerprint)

    async def _make_now(self, identity: EmbedderIdentity, fingerprint: Sequence[float]) -> Space:
        async with self._database.transaction() as connection:
            await lock_spaces(connection)
            stored = await read_spaces(connection)  # another process may have been first
            space = stored.get(Role.ACTIVE)
            if space and self._may_use(stored):
                return space
            if space and await any_vector_stored(connection):
                raise self._mismatch(space)
            return await create_space(connection, identity, fingerprint)

    def _mismatch(self, space: Space) -> SpaceMismatch:
        ours = self.embedder.identity
        if (ours.provider, ours.model) == (space.identity.provider, space.identity.model):
            document, query = space.identity.document_prefix, space.identity.query_prefix
            return SpaceMismatch(
                f"the stored vectors of {ours} were made with the prefixes {document!r} and {query!r}; set "
                "WINNOW_DOCUMENT_PREFIX and WINNOW_QUERY_PREFIX to these"
            )
        return SpaceMismatch(
            f"the stored vectors were made by {space.name} ({space.dimensions} dimensions), and WINNOW_EMBEDDER is "
            f"{ours}; unset it or set it to {space.identity}, and to change over run: winnow model use {ours}"
        )
