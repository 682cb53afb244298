"""What requests were answered, for whoever sends one again with its key within a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from winnow.storage.named import fetch

if TYPE_CHECKING:
    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """An answer as it was sent, and the hash of the request it was to; `media_type` is the body's."""

    request_hash: bytes
    status: int
    body: str
    media_type: str


class AnswerStore:
    """The answers of one database, by caller and key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, caller: str, key: str) -> StoredAnswer | None:
        """What the first request with this key was answered; None: nothing yet, or more than a day ago."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "read_answer", caller, key)
        if not rows:
            return None
        body, media_type = orjson.loads(rows[0].answer) if isinstance(rows[0].answer, str) else rows[0].answer
        return StoredAnswer(request_hash=rows[0].request_hash, status=rows[0].status, body=body, media_type=media_type)

    async def note(self, caller: str, key: str, answer: StoredAnswer) -> None:
        """Notes an answer, unless another process has noted one."""
        written = orjson.dumps([answer.body, answer.media_type]).decode()
        async with self._database.autocommit() as connection:
            await fetch(connection, "note_answer", caller, key, answer.request_hash, answer.status, written)


async def tidy_answers(database: Database) -> None:
    """Removes those that are older than a day."""
    async with database.autocommit() as connection:
        await fetch(connection, "tidy_idempotency_keys")
