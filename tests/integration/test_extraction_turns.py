"""While a model reads for minutes, what is quick goes on beside it in the same lane."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from plugins.jetstream import eventually
from plugins.pipeline import SteeredEmbedder, SteeredExtractor, add_messages, serving, winnow_over
from winnow.domain.jobs import EmbedJob, ExtractJob, Kind, Lane
from winnow.pipeline.extract import always

if TYPE_CHECKING:
    import asyncpg
    import pytest

    from plugins.nats import NatsServer
    from winnow.domain.knowledge import Window


async def test_slow_extractions_leave_room_to_embed_and_all_have_their_turn(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winnow.pipeline.turns.AGAIN_SECONDS", 0.2)
    ids = [(await add_messages(sql, ["text"], channel=f"#{number}"))[0] for number in range(6)]
    answered = asyncio.Event()

    async def think(_window: Window) -> None:
        await answered.wait()

    extractor = SteeredExtractor(during=think)
    async with winnow_over(
        database_url, nats_server.url, model=SteeredEmbedder(), started=False, extractor="ollama:slow"
    ) as winnow:
        for broker in winnow.brokers.values():
            tools = broker.state.tools
            broker.state.tools = replace(tools, extracting=replace(tools.extracting, extractor_for=always(extractor)))
        async with serving(winnow, Lane.BULK):
            await eventually(lambda: winnow.brokers[Lane.BULK].client.is_connected)
            await winnow.dispatcher.dispatch([ExtractJob((row,)) for row in ids], Lane.BULK)
            await eventually(lambda: len(extractor.windows) == 2)
            await winnow.dispatcher.dispatch([EmbedJob(Kind.MESSAGES, tuple(ids))], Lane.BULK)

            async def embedded() -> bool:
                return not await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NULL")

            await eventually(embedded)
            assert len(extractor.windows) == 2, "half of the lane"
            answered.set()

            async def extracted() -> bool:
                return not await sql.fetchval("SELECT count(*) FROM extraction_queue")

            await eventually(extracted)
    assert sorted(window.messages[0].id for window in extractor.windows) == ids
