"""Keys are read again when they are old; a database that does not answer is waited for once, not by each in turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from winnow.api import guard
from winnow.api.guard import KeyRing
from winnow.domain.keys import Scope, WrittenKey, new_secret
from winnow.errors import DatabaseUnavailable
from winnow.storage import engine
from winnow.storage.engine import Database
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    import pytest


async def test_all_who_wait_for_a_dead_database_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 1)
    callers: list[asyncio.StreamWriter] = []

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        database = Database(f"postgresql://ann@127.0.0.1:{port}/nope?sslmode=disable")
        ring = KeyRing(KeyStore(database))
        async with asyncio.timeout(10):
            asking = [ring.recognise(WrittenKey(1, new_secret())) for _ in range(20)]
            told = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(one) for one in told} == {DatabaseUnavailable}
        assert len(callers) <= 3
        for writer in callers:
            writer.close()
        await database.close()


async def test_a_new_key_is_good_at_once_and_a_revoked_one_for_a_moment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "NEW_SECONDS", 0.0)
    monkeypatch.setattr(guard, "KNOWN_SECONDS", 0.3)
    store = KeyStore(database)
    ring = KeyRing(store)
    assert await ring.recognise(WrittenKey(1, new_secret())) is None
    key = await store.create("ana", {Scope.READ})
    caller = await ring.recognise(key)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("ana", frozenset({Scope.READ}))
    assert await ring.recognise(WrittenKey(key.id, new_secret())) is None
    await store.revoke("ana")
    await asyncio.sleep(0.4)
    assert await ring.recognise(key) is None
    await asyncio.gather(*ring._noting)
