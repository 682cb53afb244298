"""While a model server is away or wrongly set up nobody asks it, but for one worker now and then: docs/adr/0013."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from winnow.domain.backoff import LONGEST_SECONDS, backoff_seconds
from winnow.errors import SetupFault, Transient, WinnowError
from winnow.pipeline.asking import Inquiry

if TYPE_CHECKING:
    from winnow.domain.spaces import Space
    from winnow.providers.base import Embedder
    from winnow.storage.embeddings import EmbeddingStore

log = structlog.get_logger(__name__)

# One word is asked, ever more seldom: it costs nothing, so nobody need wait for long.
LONGEST_PAUSE_SECONDS = 60.0


async def look_if_due(store: EmbeddingStore, embedder: Embedder, space: Space, *, looker_seconds: float) -> bool:
    """Whether the server is well again after a pause: one worker finds out for all, and only when it is time.

    A looker that dies is replaced after `looker_seconds`.
    """
    pauses = await store.begin_look(space, seconds=looker_seconds)
    if pauses is None:
        return False
    inquiry = Inquiry(embedder, space, patience_seconds=0)
    try:
        await inquiry.look()
    except asyncio.CancelledError:
        with suppress(WinnowError):
            await asyncio.shield(store.end_look(space))
        raise
    if inquiry.found.stopped:
        await pause_space(store, space, inquiry.found.stopped, pauses)
        return False
    await store.resume(space)
    log.info("embed.resumed", embedder=str(space.identity))
    return True


async def pause_space(store: EmbeddingStore, space: Space, reason: Transient | SetupFault, pauses: int) -> None:
    """Nobody asks the server for a while: with full jitter after bad weather, without while a person is needed."""
    weather = isinstance(reason, Transient)
    seconds = backoff_seconds(pauses, at_least=wish_seconds(reason), random_share=None if weather else 1.0)
    seconds = min(seconds, max(LONGEST_PAUSE_SECONDS, wish_seconds(reason)))
    log.warning("embed.paused", embedder=str(space.identity), seconds=round(seconds, 1), reason=str(reason))
    wish = wish_seconds(reason)
    because = f"{reason}; the server asks to be left alone for {wish:,.0f} s" if wish >= 1 else str(reason)
    await store.begin_pause(space, seconds=seconds, error_kind=type(reason).__name__, because=because, pauses=pauses)


def wish_seconds(reason: Transient | SetupFault) -> float:
    """The server's own wish; nobody is sent away for longer than ten minutes."""
    wish = reason.retry_after_seconds if isinstance(reason, Transient) else None
    return min(wish or 0.0, LONGEST_SECONDS)
