"""Telegram's updates: how many a second, each stored before its answer, against the least endpoint for that row."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import TYPE_CHECKING

from bench.ingest import Load, bare, post, row
from bench.stage import chat_files, messages_of, stage
from bench.tables import Table, say

from winnow.sources.telegram import WEBHOOK_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.tables import Options

    from winnow.domain.messages import IncomingMessage

# Telegram itself opens 40 connections at most, unless it is told otherwise.
AT_ONCE = (1, 16, 40)
SECRET = "of-the-benchmark"
HEAD = (
    f"POST {WEBHOOK_PATH} HTTP/1.1\r\nHost: bot.example\r\nContent-Type: application/json\r\n"
    f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\nContent-Length: %d\r\n\r\n"
).encode()


async def run(options: Options) -> list[Table]:
    """Both endpoints in turn, the same updates, several connections at once."""
    messages = messages_of(chat_files(options.data))
    table = Table(
        title="webhook: updates of Telegram, against a bare FastAPI + asyncpg endpoint inserting the same row",
        columns=("connections", "requests", "bare: requests/s", "p99, ms", "Winnow: requests/s", "p99, ms", "ratio"),
        notes=[
            (
                "Ratio: Winnow's requests a second by the bare one's, medians of rounds taken in turn. Both answer "
                "after the commit. The bare one checks no secret and only inserts; Winnow's also scores, logs, queues "
                "for extraction, and sends two tasks over NATS."
            ),
        ],
    )
    rounds, seconds = options.count(5, 2), options.count(2, 1)
    settings = {"log_level": "info", "telegram_secret": SECRET}
    async with stage(("api",), **settings) as made, bare(made.servers.database_url) as bare_url:
        for at_once in AT_ONCE:
            urls = (bare_url, made.api_url)
            pairs = [[await _load(url, messages, at_once, seconds) for url in urls] for _ in range(rounds)]
            table.rows.append(row(str(at_once), pairs))
            say(f"webhook: {table.rows[-1]}")
    return [table]


async def _load(url: str, messages: Sequence[IncomingMessage], at_once: int, seconds: float) -> Load:
    """So many connections, each with one update at a time, for so long."""
    waits: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            following = _updates(messages)
            group.create_task(post(url, following, started + seconds, waits, status=200), name=f"client {number}")
    return Load(rate=len(waits) / (time.perf_counter() - started), waits=waits)


def _updates(messages: Sequence[IncomingMessage]) -> Callable[[], bytes]:
    """Gives the next request of a chat of its own."""
    chat, number = random.randrange(10**12, 10**13), 0
    bodies = [
        json.dumps(
            {
                "update_id": 1,
                "message": {
                    "message_id": "%s",
                    "date": int(item.sent_at.timestamp()),
                    "chat": {"id": -chat, "title": item.channel, "type": "supergroup"},
                    "from": {"id": 42, "is_bot": False, "first_name": item.author or "somebody"},
                    "text": item.text,
                },
            }
        ).encode()
        for item in messages[:500]
    ]

    def following() -> bytes:
        nonlocal number
        number += 1
        body = bodies[number % len(bodies)].replace(b'"%s"', str(number).encode())
        return HEAD % len(body) + body

    return following
