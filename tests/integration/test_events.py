"""Whoever is subscribed on NATS hears how each batch ended; nobody has to be, and nothing waits for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nats

from plugins.jetstream import eventually
from plugins.pipeline import SteeredEmbedder, add_messages, serving, vector_in, winnow_over
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.errors import TextRefused
from winnow.pipeline.embed import Embedded, embed_rows

if TYPE_CHECKING:
    import asyncpg

    from plugins.nats import NatsServer

M = Kind.MESSAGES


async def test_each_batch_of_a_worker_is_told_on_nats(
    database_url: str, nats_url: str, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "culprit", "one"])
    embedder = SteeredEmbedder(refusals={"culprit": TextRefused("culprit is odd")})
    heard: dict[str, Any] = {}
    listener = await nats.connect(nats_url)

    async def hear(message: Any) -> None:
        heard[message.subject] = json.loads(message.data)

    await listener.subscribe("events.>", cb=hear)
    await listener.flush()
    async with winnow_over(database_url, nats_url) as sender:
        await sender.dispatcher.dispatch([EmbedJob(M, tuple(ids))], Lane.LIVE)
    async with winnow_over(database_url, nats_url, model=embedder, started=False) as winnow, serving(winnow):
        await eventually(lambda: len(heard) == 2)
    complete, failed = heard["events.embed_complete"], heard["events.embed_failed"]
    assert (complete["kind"], complete["ids"], complete["embedded"], complete["saved"]) == (
        "messages",
        [ids[0], ids[2]],
        2,
        1,
    )
    assert (failed["ids"], failed["waiting"], failed["failed"]) == ([ids[1]], 1, 0)
    assert "culprit" not in str(heard)
    await listener.close()


async def test_without_nats_the_batch_is_done_all_the_same(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection
) -> None:
    (row_id,) = await add_messages(sql, ["one"])
    async with winnow_over(database_url, nats_server.url, model=SteeredEmbedder()) as winnow:
        await nats_server.stop()
        assert await embed_rows(winnow.embedding(), M, [row_id]) == Embedded(embedded=1)
        assert await vector_in(sql, M, row_id) is not None
        await nats_server.start()
