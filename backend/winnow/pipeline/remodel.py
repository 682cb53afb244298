"""Another model: everything is embedded again beside the old vectors, and then the columns change places."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from winnow.domain.spaces import Role
from winnow.errors import DatabaseBusy, InvalidInput, SpaceMismatch
from winnow.pipeline.indexing import build_missing
from winnow.providers.base import fingerprint_of, same_model
from winnow.storage.rotation import (
    begin_building,
    change_provider,
    forget_previous,
    give_up_building,
    make_small_indexes,
    standing_in,
    swap_back,
    swap_in,
)
from winnow.storage.spaces import any_vector_stored, create_space, lock_spaces, read_spaces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from uuid import UUID

    from winnow.domain.spaces import EmbedderIdentity, Space
    from winnow.pipeline.indexing import IndexBuild
    from winnow.providers.base import Embedder
    from winnow.storage.engine import Database

Result = TypeVar("Result")

log = structlog.get_logger(__name__)

# So many rows may be without a vector when the new space takes over: under a steady stream of messages there is always
# somebody. They are pending then, and found by their words meanwhile.
MOST_LEFT = 200
# The tables are needed for a moment, and are somebody else's for a moment again and again.
SWAP_TRIES = 40
SWAP_PAUSE_SECONDS = 0.25


async def begin_change(database: Database, embedder: Embedder, *, provider_id: UUID | None) -> Space:
    """Begins to change over to the embedder's model, or goes on with it; returns its space, by whose role to go on.

    Where no vector is stored there is nothing to build, and it is the active space at once; where the stored vectors
    are of this model, only who embeds changes.

    Raises:
        InvalidInput: another change is under way, or this is the model from before, which `change_back` is for.
        SpaceMismatch: the stored vectors are of another model of this name.
        Transient, SetupFault: the model cannot be asked, or the tables are not to be had.
    """
    fingerprint = await fingerprint_of(embedder)  # before the transaction: a model may take its time
    return await _patiently(lambda: _begin(database, embedder.identity, fingerprint, provider_id))


async def _begin(
    database: Database, identity: EmbedderIdentity, fingerprint: Sequence[float], provider_id: UUID | None
) -> Space:
    async with _changing(database) as (connection, stored):
        for role in (Role.BUILDING, Role.ACTIVE):
            space = stored.get(role)
            if space is not None and space.identity == identity:
                require_same_model(space, fingerprint)
                await change_provider(connection, space, provider_id)
                return replace(space, provider_id=provider_id)
        if Role.BUILDING in stored:
            raise InvalidInput(
                f"a change to {stored[Role.BUILDING].identity} is under way; finish it with `winnow model use`, or end "
                "it with `winnow model cancel`"
            )
        if Role.PREVIOUS in stored and stored[Role.PREVIOUS].identity == identity:
            raise InvalidInput(f"the vectors of {identity} are still there; run: winnow model back")
        if Role.ACTIVE not in stored or not await any_vector_stored(connection):
            return await create_space(connection, identity, fingerprint, provider_id=provider_id)
        return await begin_building(connection, identity, fingerprint, provider_id=provider_id)


async def prepare_building(database: Database, space: Space) -> None:
    """Returns when the columns that are to be filled have the indexes that filling needs."""
    made = await make_small_indexes(database, space)
    while not made:
        await asyncio.sleep(SWAP_PAUSE_SECONDS)
        made = await make_small_indexes(database, space)


async def finish_building(database: Database, *, tell: Callable[[IndexBuild], None] | None = None) -> bool:
    """Does what can be done for the space that is being built, and puts it in when it is full; False: not yet.

    Safe beside itself, and to interrupt: whoever comes next goes on.

    Raises:
        Transient: a table was not to be had, or the database went away.
    """
    async with database.autocommit() as connection:
        space = (await read_spaces(connection)).get(Role.BUILDING)
    if space is None or not await make_small_indexes(database, space):
        return False
    if await _left(database, space) > MOST_LEFT:
        return False
    await build_missing(database, tell=tell or _silent, role=Role.BUILDING)
    return await _patiently(lambda: _put_in(database, space))


async def _put_in(database: Database, space: Space) -> bool:
    async with _changing(database) as (connection, stored):
        now = stored.get(Role.BUILDING)
        return now is not None and now.id == space.id and await swap_in(connection, most_left=MOST_LEFT)


async def change_back(database: Database) -> Space:
    """Makes the previous space the active one again, and the active one the previous; returns the active one.

    Rows written since are pending in it. Done twice, it changes nothing.

    Raises:
        InvalidInput: there is none, or a change is under way.
        DatabaseBusy: the tables are not to be had.
    """
    return await _patiently(lambda: _back(database))


async def _back(database: Database) -> Space:
    async with _changing(database) as (connection, stored):
        if Role.BUILDING in stored:
            raise InvalidInput(
                f"a change to {stored[Role.BUILDING].identity} is under way; end it first: winnow model cancel"
            )
        if Role.PREVIOUS not in stored:
            raise InvalidInput("there are no vectors of an earlier model to go back to")
        await swap_back(connection)
        return replace(stored[Role.PREVIOUS], role=Role.ACTIVE)


async def cancel_change(database: Database) -> Space:
    """Gives up the space that is being built, with its vectors; returns it. Raises `InvalidInput` if there is none."""
    return await _patiently(lambda: _cancel(database))


async def _cancel(database: Database) -> Space:
    async with _changing(database) as (connection, stored):
        if Role.BUILDING not in stored:
            raise InvalidInput("no change of the model is under way")
        await give_up_building(connection)
        return stored[Role.BUILDING]


async def forget_earlier(database: Database) -> Space:
    """Gives up the vectors of the model before, for the room they take; returns their space. Raises `InvalidInput`."""
    return await _patiently(lambda: _forget(database))


async def _forget(database: Database) -> Space:
    async with _changing(database) as (connection, stored):
        if Role.PREVIOUS not in stored:
            raise InvalidInput("there are no vectors of an earlier model")
        await forget_previous(connection)
        return stored[Role.PREVIOUS]


def require_same_model(space: Space, fingerprint: Sequence[float]) -> None:
    """Raises `SpaceMismatch` if a fingerprint is not the space's own: another model goes by the name of its model."""
    if not same_model(space.fingerprint, fingerprint, dimensions=space.dimensions):
        raise SpaceMismatch(
            f"this server has another model by the name of {space.identity} than the one that made the stored vectors; "
            "pull the old one again under that name, or change over to this one under another"
        )


async def _left(database: Database, space: Space) -> int:
    async with database.autocommit() as connection:
        return sum(counts.left for counts in (await standing_in(connection, space)).values())


def _silent(_build: IndexBuild) -> None:
    pass


@asynccontextmanager
async def _changing(database: Database) -> AsyncIterator[tuple[Any, Mapping[Role, Space]]]:
    """A short transaction in which nobody else changes a space or writes a vector, with the spaces as they stand."""
    async with database.transaction() as connection:
        await lock_spaces(connection)
        yield connection, await read_spaces(connection)


async def _patiently(work: Callable[[], Awaitable[Result]]) -> Result:
    """Does it again while somebody's open transaction keeps us from the tables: for ten seconds and more.

    Each try waits half a second at most, for whoever comes meanwhile waits behind it.
    """
    for _ in range(SWAP_TRIES):
        with suppress(DatabaseBusy):
            return await work()
        await asyncio.sleep(SWAP_PAUSE_SECONDS)
    return await work()
