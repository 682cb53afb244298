"""Providers as stored: how to reach them, and their keys in encrypted form; clear ones are never seen here."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from winnow.domain.providers import ProviderKind
from winnow.domain.spaces import Role
from winnow.errors import ProviderConflict, ProviderInUse, ProviderNotFound
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSetup:
    """What a person says of a provider; as in `winnow.domain.providers.Provider`, but for the key."""

    name: str
    kind: ProviderKind
    urls: tuple[str, ...] = ()
    embedding_model: str | None = None
    chat_model: str | None = None
    active: bool = True
    document_prefix: str | None = None
    query_prefix: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    at_once: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProvider(ProviderSetup):
    """A row. `api_key` is encrypted; `check_passed` and what it said are of the set-up as it is, or None."""

    id: UUID
    created_at: datetime
    changed_at: datetime
    api_key: bytes | None = field(default=None, repr=False)
    checked_at: datetime | None = None
    check_passed: bool | None = None
    check_said: str | None = None

    @property
    def setup(self) -> ProviderSetup:
        """What a person said of it."""
        return ProviderSetup(**{each.name: getattr(self, each.name) for each in fields(ProviderSetup)})

    @property
    def has_key(self) -> bool:
        """Whether a key is stored."""
        return self.api_key is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedKey:
    """The encrypted key of a provider."""

    id: UUID
    name: str
    api_key: bytes


class ProviderStore:
    """The providers of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, setup: ProviderSetup, encrypt: Callable[[], bytes] | None = None) -> StoredProvider:
        """A new one; `encrypt` makes its encrypted key, while no exchange of secrets is under way.

        Raises:
            ProviderConflict: the name is taken.
        """
        async with self._database.transaction() as connection:
            await fetch(connection, "share_provider_keys")
            name, *others = _columns(setup, encrypt() if encrypt else None)
            rows = await fetch(connection, "create_provider", name, setup.kind.value, *others)
        if not rows:
            raise _taken(setup.name)
        return _stored(rows[0])

    async def all(self) -> list[StoredProvider]:
        """Every one, by name."""
        async with self._database.autocommit() as connection:
            return [_stored(row) for row in await fetch(connection, "list_providers")]

    async def get(self, name_or_id: str | UUID) -> StoredProvider:
        """The one of that id, or of that name.

        Raises:
            ProviderNotFound: there is none.
        """
        statement = "provider_by_id" if isinstance(name_or_id, UUID) else "provider_by_name"
        async with self._database.autocommit() as connection:
            return _only(await fetch(connection, statement, name_or_id), name_or_id)

    async def change(
        self, provider_id: UUID, change: Callable[[StoredProvider], tuple[ProviderSetup, bytes | None]]
    ) -> StoredProvider:
        """Replaces a set-up and an encrypted key by what `change` makes of the stored ones; the kind stays.

        What was the same before is left as it is, with the moment of its last change and its last check.

        Raises:
            ProviderNotFound: there is none.
            ProviderInUse: it would not be active, and vectors are made or searched with it.
            ProviderConflict: the new name is taken.
        """
        async with self._database.transaction() as connection:
            await fetch(connection, "share_provider_keys")
            stored = _only(await fetch(connection, "provider_to_change", provider_id), provider_id)
            setup, api_key = change(stored)
            if (setup, api_key) == (stored.setup, stored.api_key):
                return stored
            if stored.active and not setup.active:
                await _require_unused(connection, stored, "be switched off")
            try:
                rows = await fetch(connection, "update_provider", provider_id, *_columns(setup, api_key))
            except IntegrityError as error:
                raise _taken(setup.name) from error
        return _stored(rows[0])

    async def delete(self, provider_id: UUID) -> StoredProvider:
        """Deletes it; returns what it was.

        Raises:
            ProviderNotFound: there is none.
            ProviderInUse: vectors are made or searched with it.
        """
        async with self._database.transaction() as connection:
            stored = _only(await fetch(connection, "provider_to_change", provider_id), provider_id)
            await _require_unused(connection, stored, "be removed")
            await fetch(connection, "delete_provider", provider_id)
        return stored

    async def note_check(self, checked: StoredProvider, *, passed: bool, said: str) -> None:
        """Notes what a check found, if the set-up is still the one that was checked."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "note_provider_check", checked.id, passed, said, checked.changed_at)

    async def exchange_keys(self, exchange: Callable[[Sequence[EncryptedKey]], Mapping[UUID, bytes]]) -> int:
        """Replaces encrypted keys by what `exchange` makes of all of them, while nobody else writes any.

        In one transaction: an error of `exchange` leaves all as they were. Returns how many were replaced.
        """
        async with self._database.transaction() as connection:
            await fetch(connection, "lock_provider_keys")
            rows = await fetch(connection, "provider_keys")
            new = exchange([EncryptedKey(id=row.id, name=row.name, api_key=row.api_key) for row in rows])
            for provider_id, api_key in new.items():
                await fetch(connection, "exchange_provider_key", provider_id, api_key)
        return len(new)


def _columns(setup: ProviderSetup, api_key: bytes | None) -> list[Any]:
    """The values of create_provider and update_provider, without the kind."""
    return [
        setup.name,
        list(setup.urls),
        setup.embedding_model,
        setup.chat_model,
        api_key,
        setup.active,
        setup.document_prefix,
        setup.query_prefix,
        setup.requests_per_minute,
        setup.tokens_per_minute,
        setup.at_once,
    ]


def _stored(row: Row[Any]) -> StoredProvider:
    values = {each.name: getattr(row, each.name) for each in fields(StoredProvider)}
    return StoredProvider(**values | {"kind": ProviderKind(row.kind), "urls": tuple(row.urls)})


def _only(rows: Sequence[Row[Any]], name_or_id: str | UUID) -> StoredProvider:
    if not rows:
        raise ProviderNotFound(f"there is no provider {name_or_id}; see: winnow providers list")
    return _stored(rows[0])


USES = {
    Role.ACTIVE: "serves the searches",
    Role.BUILDING: "is being changed to",
    Role.PREVIOUS: "is what `winnow model back` goes back to",
}
WAYS_OUT = {
    Role.ACTIVE: "winnow model use PROVIDER:MODEL",
    Role.BUILDING: "winnow model cancel",
    Role.PREVIOUS: "winnow model forget",
}


async def _require_unused(connection: AsyncConnection, stored: StoredProvider, what: str) -> None:
    rows = await fetch(connection, "spaces_of_provider", stored.id)
    if rows:
        uses = " and ".join(f"{row.model} {USES[Role(row.status)]}" for row in rows)
        ways = " and ".join(WAYS_OUT[Role(row.status)] for row in rows)
        raise ProviderInUse(f"{stored.name} cannot {what}: its {uses}; first run: {ways}")


def _taken(name: str) -> ProviderConflict:
    return ProviderConflict(f"there is a provider named {name} already; choose another name, or edit that one")
