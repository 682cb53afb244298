"""Updates of a Telegram bot: stored, deleted or counted, whichever way they come in (webhook, polling)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import structlog

from winnow.domain.jobs import Lane
from winnow.domain.messages import IncomingMessage, still_to_come
from winnow.pipeline.counting import GatheredCounts
from winnow.pipeline.forget import forget_identities
from winnow.pipeline.intake import Intake
from winnow.sources.telegram import SOURCE, Deleted, Ignored, Read, Reason, read_update
from winnow.storage.channels import follow_channel
from winnow.storage.messages import Fate
from winnow.storage.refusals import refuses_the_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)

DELETED: Final = "deleted"
IGNORED = "telegram.ignored."
LEFT_OUT = frozenset({Fate.OFF, Fate.FORGOTTEN, Fate.DIFFERS})

Outcome = Fate | Reason | Literal["deleted"]
"""What became of an update: of its message, or why it gave none, or that it told of deletions."""


class TelegramUpdates:
    """Takes updates in.

    What is left out is counted, as `telegram.ignored.REASON`. Close it at the end.

    Args:
        units: for the transactions.
        database: where.
        chats: the chats that are read; none: all are.
        intake: stores messages, those of others among them; None: one of its own.
    """

    def __init__(
        self, *, units: UnitsOfWork, database: Database, chats: frozenset[int], intake: Intake | None = None
    ) -> None:
        self._units = units
        self._database = database
        self._intake = intake or Intake(units, Lane.LIVE)
        self._counts = GatheredCounts(database)
        self._chats = chats

    async def take(self, updates: Sequence[object]) -> list[Outcome]:
        """What became of each. When this returns, all that they bring is committed; taking them again is harmless.

        Raises:
            Transient: the database is away or busy; nothing was counted, and the same updates may come again.
        """
        read = [self._read(update) for update in updates]
        fates = iter(await self._store([one for one in read if isinstance(one, IncomingMessage)]))
        outcomes: list[Outcome] = []
        for one in read:
            match one:
                case IncomingMessage():
                    outcomes.append(next(fates))
                case Deleted():
                    await self._forget_deleted(one)
                    outcomes.append(DELETED)
                case Ignored(reason=reason, moved=moved):
                    outcomes.append(reason)
                    await self._follow(moved)
        for outcome in outcomes:
            if isinstance(outcome, Reason) or outcome in LEFT_OUT:
                self._counts.add(f"{IGNORED}{outcome}")
        return outcomes

    async def close(self) -> None:
        """Writes down what was counted."""
        await self._counts.close()

    def _read(self, update: object) -> Read:
        read = read_update(update, chats=self._chats)
        if isinstance(read, IncomingMessage) and (
            ahead := still_to_come(datetime.now(UTC), sent_at=read.sent_at, edited_at=read.edited_at)
        ):
            log.warning("telegram.still_to_come", chat=read.channel, message=read.external_id, reason=ahead)
            return Ignored(reason=Reason.STILL_TO_COME)
        return read

    async def _store(self, messages: Sequence[IncomingMessage]) -> list[Fate | Reason]:
        """Each by itself, so that one which cannot be stored keeps no other out; the intake puts them together."""
        if len(messages) == 1:
            return [await self._store_one(messages[0])]
        done = await asyncio.gather(*map(self._store_one, messages), return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return [one for one in done if not isinstance(one, BaseException)]

    async def _store_one(self, message: IncomingMessage) -> Fate | Reason:
        """What the database refuses for its content would be refused for ever, and all behind it would wait."""
        try:
            return (await self._intake.store([message])).messages[0].fate
        except Exception as error:
            if not refuses_the_row(error):
                raise
            log.exception("telegram.refused_by_database", chat=message.channel, message=message.external_id)
            return Reason.REFUSED

    async def _forget_deleted(self, deleted: Deleted) -> None:
        """Removes what was deleted in a chat, with all that came of it. Raises as `ingest` does."""
        await forget_identities(self._units, self._database, deleted.source, deleted.channel, deleted.external_ids)

    async def _follow(self, moved: tuple[int, int] | None) -> None:
        """A group goes on as a supergroup, under another id: what was chosen for it holds there, and it is read on."""
        if not moved:
            return
        old, new = moved
        await follow_channel(self._database, SOURCE, str(old), now=str(new))
        log.warning("telegram.chat_moved", chat=old, now=new, reason=self._read_on(new))

    def _read_on(self, chat: int) -> str:
        """What is to be done for a chat that was not listed, which this process reads from now on."""
        if not self._chats or chat in self._chats:
            return "its messages are stored under the new id from now on"
        self._chats |= {chat}
        return f"this process reads on; for others and the next start WINNOW_TELEGRAM_CHATS needs {chat} as well"
