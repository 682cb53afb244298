"""Another model: everything is embedded again beside the old vectors, and then the columns change places."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from winnow.domain.spaces import Role
from winnow.errors import ChangeRefused, DatabaseBusy, SetupFault
from winnow.pipeline.indexing import build_missing
from winnow.pipeline.recognition import require_same_model
from winnow.providers.base import fingerprint_of
from winnow.storage.refusals import sqlstate
from winnow.storage.rotation import (
    begin_building,
    change_provider,
    clear_vectors,
    failed_in,
    left_in,
    make_small_indexes,
    refuse_views,
    retire,
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

# So many rows that were written since may be without a vector when the new space takes over: under a steady stream of
# messages there is always somebody. They are pending then, and found by their words meanwhile.
MOST_NEW = 200
# More texts than these, and more than this share, do not fail of themselves.
MOST_FAILED = 20
MOST_FAILED_SHARE = 0.01
# The tables are needed for a moment, and are somebody else's for a moment again and again.
SWAP_TRIES = 40
SWAP_PAUSE_SECONDS = 0.25
PATIENT_EVERY = 4
# PostgreSQL's code for a row that refers to one which is not there.
MISSING_REFERENCE = "23503"


async def begin_change(database: Database, embedder: Embedder, *, provider_id: UUID | None) -> Space:
    """Begins to change over to the embedder's model, or goes on with it; returns its space, by whose role to go on.

    Where no vector is stored there is nothing to build, and it is the active space at once; where the stored vectors
    are of this model, only who embeds changes.

    Raises:
        ChangeRefused: another change is under way, or this is the model from before, which `change_back` is for.
        SpaceMismatch: the stored vectors are of another model of this name.
        Transient, SetupFault: the model cannot be asked, its provider is gone, or the tables are not to be had.
    """
    fingerprint = await fingerprint_of(embedder)  # before the transaction: a model may take its time
    try:
        return await _patiently(
            lambda patient: _begin(database, embedder.identity, fingerprint, provider_id, patient=patient)
        )
    except Exception as error:
        if sqlstate(error) == MISSING_REFERENCE:
            raise SetupFault("the provider was removed meanwhile; add it again: winnow providers add") from error
        raise


async def _begin(
    database: Database,
    identity: EmbedderIdentity,
    fingerprint: Sequence[float],
    provider_id: UUID | None,
    *,
    patient: bool,
) -> Space:
    async with _changing(database, patient=patient) as (connection, stored):
        for role in (Role.BUILDING, Role.ACTIVE):
            space = stored.get(role)
            if space is not None and space.identity == identity:
                require_same_model(space, fingerprint)
                await change_provider(connection, space, provider_id)
                return replace(space, provider_id=provider_id)
        refuse_impossible(stored, identity)
        if Role.ACTIVE not in stored or not await any_vector_stored(connection):
            return await create_space(connection, identity, fingerprint, provider_id=provider_id)
        await refuse_views(connection)
        return await begin_building(connection, identity, fingerprint, provider_id=provider_id)


def refuse_impossible(stored: Mapping[Role, Space], identity: EmbedderIdentity) -> None:
    """Raises `ChangeRefused` when no change to this model can begin: another is under way, or it is the one before."""
    building, previous = stored.get(Role.BUILDING), stored.get(Role.PREVIOUS)
    if any(identity == space.identity for role, space in stored.items() if role in {Role.BUILDING, Role.ACTIVE}):
        return
    if building is not None and (building.identity.provider, building.identity.model) == (
        identity.provider,
        identity.model,
    ):
        raise ChangeRefused(
            f"a change to {building.name} is under way, with the prefixes {building.identity.document_prefix!r} and "
            f"{building.identity.query_prefix!r}; set its provider's prefixes to these again to go on, or end it: "
            "winnow model cancel"
        )
    if building is not None:
        raise ChangeRefused(
            f"a change to {building.name} is under way; finish it: winnow model use {building.name}, or end it: "
            "winnow model cancel"
        )
    if previous is not None and previous.identity == identity:
        raise ChangeRefused(f"the vectors of {previous.name} are still there; run: winnow model back")


async def finish_building(database: Database, *, tell: Callable[[IndexBuild], None] | None = None) -> bool:
    """Puts the space that is being built in when it is full; False: it is not, or there is none.

    Safe beside itself, and to interrupt: whoever comes next goes on.

    Raises:
        SetupFault: its model has refused too many texts.
        Transient: a table was not to be had, or the database went away.
    """
    async with database.autocommit() as connection:
        stored = await read_spaces(connection)
        space = stored.get(Role.BUILDING)
        if space is None:
            return False
        left = await left_in(connection, space, most=MOST_NEW + 1)
        if left.old or left.new > MOST_NEW:
            return False
        failed = await failed_in(connection, space)
        embedded = sum(counts.embedded for counts in (await standing_in(connection, space)).values())
    if failed > max(MOST_FAILED, embedded * MOST_FAILED_SHARE):
        raise SetupFault(
            f"{space.name} has refused {failed:,} texts for good and made vectors of {embedded:,}; try these again "
            "with the same `winnow model use`, or end the change: winnow model cancel"
        )
    if not await make_small_indexes(database, space):
        return False
    await build_missing(database, tell=tell or _silent, role=Role.BUILDING)
    if Role.PREVIOUS in stored:
        await forget_earlier(database)
    return await _patiently(lambda patient: _put_in(database, space, patient=patient))


async def _put_in(database: Database, space: Space, *, patient: bool) -> bool:
    async with _changing(database, patient=patient) as (connection, stored):
        now = stored.get(Role.BUILDING)
        return now is not None and now.id == space.id and await swap_in(connection, most_new=MOST_NEW)


async def change_back(database: Database) -> Space:
    """Makes the previous space the active one again, and the active one the previous; returns the active one.

    Rows written since are pending in it. Done twice, it changes nothing.

    Raises:
        ChangeRefused: there is none, or a change is under way.
        DatabaseBusy: the tables are not to be had.
    """
    return await _patiently(lambda patient: _back(database, patient=patient))


async def _back(database: Database, *, patient: bool) -> Space:
    async with _changing(database, patient=patient) as (connection, stored):
        if Role.BUILDING in stored:
            raise ChangeRefused(
                f"a change to {stored[Role.BUILDING].name} is under way; end it first: winnow model cancel"
            )
        if Role.PREVIOUS not in stored:
            raise ChangeRefused("there are no vectors of an earlier model to go back to")
        await swap_back(connection)
        return replace(stored[Role.PREVIOUS], role=Role.ACTIVE)


async def cancel_change(database: Database) -> Space:
    """Gives up the space that is being built, with its vectors; returns it. Raises `ChangeRefused` if there is none."""
    return await _give_up(database, Role.BUILDING, "no change of the model is under way")


async def forget_earlier(database: Database) -> Space:
    """Gives up the vectors of the model before, for the room they take; returns their space. Raises `ChangeRefused`."""
    return await _give_up(database, Role.PREVIOUS, "there are no vectors of an earlier model")


async def _give_up(database: Database, role: Role, otherwise: str) -> Space:
    """The room is PostgreSQL's to use again once it has vacuumed."""
    space = await _patiently(lambda patient: _retire(database, role, otherwise, patient=patient))
    await clear_vectors(database, role)
    return space


async def _retire(database: Database, role: Role, otherwise: str, *, patient: bool) -> Space:
    async with _changing(database, patient=patient) as (connection, stored):
        if role not in stored:
            raise ChangeRefused(otherwise)
        await retire(connection, role)
        return stored[role]


def _silent(_build: IndexBuild) -> None:
    pass


@asynccontextmanager
async def _changing(database: Database, *, patient: bool) -> AsyncIterator[tuple[Any, Mapping[Role, Space]]]:
    """A short transaction in which nobody else changes a space or writes a vector, with the spaces as they stand."""
    async with database.transaction() as connection:
        await lock_spaces(connection, patient=patient)
        yield connection, await read_spaces(connection)


async def _patiently(work: Callable[[bool], Awaitable[Result]]) -> Result:
    """Does it again while somebody's open transaction keeps us from the tables: for ten seconds and more.

    A try waits half a second, for whoever comes meanwhile waits behind it; now and then one is patient, for that is
    what it takes to have an autovacuum ended that is in the way.
    """
    for number in range(SWAP_TRIES):
        with suppress(DatabaseBusy):
            return await work(number % PATIENT_EVERY == PATIENT_EVERY - 1)
        await asyncio.sleep(SWAP_PAUSE_SECONDS)
    return await work(True)
