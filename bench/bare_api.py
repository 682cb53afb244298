"""The least that stores a message over HTTP: FastAPI, asyncpg, one INSERT. What Winnow's own endpoint is held against.

    python -m bench.bare_api DATABASE_URL PORT

Same server, same row, same pool size; no log, no queue, no authentication.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel

from winnow.sources.telegram import WEBHOOK_PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INSERT = """
INSERT INTO messages (source, channel, external_id, author, text, sent_at) VALUES ('bare', $1, $2, $3, $4, $5)
ON CONFLICT (source, channel, external_id) DO NOTHING RETURNING id
"""


class MessageIn(BaseModel):
    """The same fields."""

    channel: str
    external_id: str
    author: str
    text: str
    sent_at: datetime


def bare_app(url: str) -> FastAPI:
    """The application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, min_size=10, max_size=20) as pool:
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/api/v1/messages", status_code=201)
    async def store(body: MessageIn) -> dict[str, int | None]:
        values = (body.channel, body.external_id, body.author, body.text, body.sent_at)
        return {"id": await app.state.pool.fetchval(INSERT, *values)}

    @app.post(WEBHOOK_PATH)
    async def webhook(request: Request) -> dict[str, int | None]:
        said = (await request.json())["message"]
        sent_at = datetime.fromtimestamp(said["date"], UTC)
        values = (str(said["chat"]["id"]), str(said["message_id"]), said["from"]["first_name"], said["text"], sent_at)
        return {"id": await app.state.pool.fetchval(INSERT, *values)}

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    uvicorn.run(bare_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
