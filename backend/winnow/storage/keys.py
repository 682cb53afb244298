"""API keys as stored: made, listed, revoked, recognised."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - read at run time by pydantic users of the records
from typing import TYPE_CHECKING

from winnow.domain.keys import Caller, Scope, WrittenKey, hash_of, new_secret
from winnow.errors import InvalidInput
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Collection

    from winnow.storage.engine import Database

MAX_NAME_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key without its secret, which nobody has but its owner."""

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key in force: whose it is, and what its secret must hash to."""

    caller: Caller
    secret_hash: bytes


class KeyStore:
    """The keys of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, scopes: Collection[Scope]) -> WrittenKey:
        """A new key; its secret is told this once and stored nowhere.

        Raises:
            InvalidInput: the name is empty, too long, a number, unprintable, or that of a key in force.
        """
        if name.isdigit():
            raise InvalidInput("a key's name is no number: `winnow keys revoke` takes names and numbers")
        if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
            raise InvalidInput(f"a key's name has 1 to {MAX_NAME_CHARACTERS} printable characters")
        secret = new_secret()
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "create_key", name, hash_of(secret), sorted(scopes))
        if not rows:
            raise InvalidInput(f"there is a key named {name!r} already; choose another name, or revoke that one")
        return WrittenKey(rows[0].id, secret)

    async def all(self) -> list[KeyRecord]:
        """Every key there has been, oldest first."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "list_keys")
        return [KeyRecord(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name

    async def revoke(self, name_or_id: str) -> list[str]:
        """Ends the key of that name or id; returns the names of those it ended.

        Raises:
            InvalidInput: no key in force is called so.
        """
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "revoke_key", name_or_id)
        if not rows:
            raise InvalidInput(f"no key in force is called {name_or_id!r}; see: winnow keys list")
        return [row.name for row in rows]

    async def in_force(self) -> dict[int, StoredKey]:
        """Every key that is good, by its id; there are few."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "keys_in_force")
        return {
            row.id: StoredKey(Caller(row.id, row.name, frozenset(Scope(name) for name in row.scopes)), row.secret_hash)
            for row in rows
        }

    async def mark_used(self, key_id: int) -> None:
        """Notes that the key was used, to the minute."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "mark_key_used", key_id)
