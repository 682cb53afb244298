"""What is too old goes: messages by their channel's time to keep, answers to repeated requests after a day."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from winnow.errors import SetupFault, Transient
from winnow.pipeline.forget import forget, older_than
from winnow.storage.channels import overdue_channels
from winnow.storage.idempotency import tidy_answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)

# A look costs a step into an index for each channel with a time to keep; so a change is heard of soon.
LOOK_EVERY_SECONDS = 30.0
TROUBLE_PAUSE_SECONDS = 60.0


async def remove_overdue(units: UnitsOfWork, database: Database) -> int:
    """Removes what is older than its channel keeps it, and says how many messages."""
    removed = 0
    for due in await overdue_channels(database):
        chosen = older_than(due.source, due.channel, days=due.days)
        receipt = await forget(units, database, chosen, for_ever=False)
        log.info("channel.too_old_removed", source=due.source, messages=receipt.removed.messages, days=due.days)
        removed += receipt.removed.messages
    return removed


async def keep_house(units: UnitsOfWork, database: Database) -> None:
    """Looks again and again, until cancelled; what is in the way is said and waited for."""

    async def tidy() -> None:
        await remove_overdue(units, database)
        await tidy_answers(database)

    await again_and_again(tidy, chore="housekeeping", every_seconds=LOOK_EVERY_SECONDS)


async def again_and_again(look: Callable[[], Awaitable[object]], *, chore: str, every_seconds: float) -> None:
    """Looks, and looks again, until cancelled; what is in the way is said by the chore's name and waited for."""
    while True:
        pause = every_seconds
        try:
            await look()
        except (Transient, SetupFault) as error:
            log.warning("chore.waiting", chore=chore, reason=str(error))
            pause = TROUBLE_PAUSE_SECONDS
        except Exception:
            log.exception("chore.failed", chore=chore)
            pause = TROUBLE_PAUSE_SECONDS
        await asyncio.sleep(pause)
