"""The sweeper's look at what waits for extraction."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Asked, Lane
from winnow.pipeline.request_extraction import LIVE_AT_MOST, request_extraction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.jobs import Dispatcher
    from winnow.pipeline.sweep import Backlog
    from winnow.storage.extraction import ExtractionStore, WaitingConversation

log = structlog.get_logger(__name__)

# Of the messages that wait for extraction so many are looked at, and the latest ones, so that a look at a great
# backlog costs no more than one at a small one.
PAGE = 4_000
PAGE_OF_LATEST = 2_000
# As much as the bulk lane is given at a time to be extracted: what is embedded meanwhile must not wait behind all.
MOST_AHEAD = 2_000
# What was sent and is still in nobody's hand is sent again after so long; NATS may lose it. Not so soon while the lanes
# hold anything: a model takes hours for what was sent at once, and what is sent twice keeps embedding waiting.
PROMISED_SECONDS = 120.0
PROMISED_AT_MOST_SECONDS = 1800.0
FAILED_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class ExtractionSweep:
    """Sends conversations that hold enough, or are quiet, to the workers; remembers what it has sent."""

    store: ExtractionStore
    dispatcher: Dispatcher
    backlog: Backlog
    threshold: int
    quiet_seconds: float
    _promised: dict[int, float] = field(default_factory=dict)  # when it was sent
    _after: int = 0

    async def sweep(self) -> int:
        """Sends what is due: of a page of the queue, and of what came last, so that a backlog is in nobody's way.

        Says how many tasks it sent. Raises as `request_extraction` does.
        """
        dead = await self.store.fail_dead_runs()
        if dead:
            log.warning("sweep.dead_runs", runs=dead)
        await self._forget_promises()
        sent, next_after = 0, await self.store.next_page(after=self._after, most=PAGE)
        if (room := MOST_AHEAD - len(self._promised)) > 0:
            sent, room = await self._send(await self._due(self._after), room)
        if next_after is not None and (latest := await self.store.latest_page(most=PAGE_OF_LATEST)) >= next_after:
            more, _ = await self._send(await self._due(latest), 0)
            sent += more
        if room > 0:  # else this page still holds what there was no room for
            self._after = next_after or 0
        return sent

    async def _forget_promises(self) -> None:
        """Of what somebody has in hand by now, or has done, or has had time enough for."""
        if not self._promised:
            return
        waiting = await self.store.still_waiting(list(self._promised))
        since = time.monotonic() - PROMISED_SECONDS
        if min(self._promised.values()) < since and await self._lanes_hold_something():
            since = time.monotonic() - PROMISED_AT_MOST_SECONDS
        self._promised = {row: at for row, at in self._promised.items() if at > since and row in waiting}

    async def _lanes_hold_something(self) -> bool:
        return any([await self.backlog.depth(lane) for lane in Lane])

    async def _due(self, after: int) -> list[WaitingConversation]:
        return await self.store.due(
            threshold=self.threshold,
            quiet_seconds=self.quiet_seconds,
            failed_pause_seconds=FAILED_PAUSE_SECONDS,
            after=after,
            most=PAGE,
        )

    async def _send(self, due: Sequence[WaitingConversation], room: int) -> tuple[int, int]:
        """Sends what was not sent a moment ago, channel by channel; says how many tasks, and what room is left.

        What is much goes over the bulk lane, where there is room for so many messages; the rest of it waits.
        """
        sent = 0
        for (_, channel), group in groupby(due, key=lambda one: (one.source, one.channel)):
            for asked, fresh in self._fresh(list(group)):
                chosen = fresh
                if (much := _messages(fresh)) > LIVE_AT_MOST:
                    chosen, room = _at_most(fresh, room), room - much
                if not chosen:
                    continue
                sent += await request_extraction(self.dispatcher, chosen, asked=asked)
                now = time.monotonic()
                self._promised |= {row: now for one in chosen for row in one.ids}
                log.info("sweep.extraction", channel=channel, messages=_messages(chosen), asked=asked.value)
        return sent, room

    def _fresh(self, due: Sequence[WaitingConversation]) -> list[tuple[Asked, list[WaitingConversation]]]:
        """Those of the conversations that were not sent a moment ago, by why they are."""
        found: dict[Asked, list[WaitingConversation]] = {Asked.THRESHOLD: [], Asked.QUIET: []}
        for one in due:
            fresh = tuple(row for row in one.ids if row not in self._promised)
            few_more = len(fresh) < min(len(one.ids), self.threshold)
            if fresh and not few_more:  # a few more than were promised wait for company, as any few do
                found[Asked.THRESHOLD if one.many else Asked.QUIET].append(replace(one, ids=fresh))
        return [(asked, fresh) for asked, fresh in found.items() if fresh]


def _messages(conversations: Sequence[WaitingConversation]) -> int:
    return sum(len(one.ids) for one in conversations)


def _at_most(conversations: Sequence[WaitingConversation], room: int) -> list[WaitingConversation]:
    """The first of them that there is room for; of the one that there is not, a part."""
    found = []
    for one in conversations:
        if room <= 0:
            break
        found.append(replace(one, ids=one.ids[:room]))
        room -= len(one.ids)
    return found
