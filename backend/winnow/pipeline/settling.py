"""A batch leaves our hand: vectors are stored, and for every row without one it is noted why."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from winnow.domain.backoff import backoff_seconds
from winnow.pipeline.pausing import pause_space, wish_seconds
from winnow.storage.embedding_records import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.pipeline.asking import Found
    from winnow.storage.embedding_records import Claimed, EmbeddableText, Lease
    from winnow.storage.embeddings import EmbeddingStore

log = structlog.get_logger(__name__)

# Before each try to write rows that somebody has locked: mostly the scoring of the same message, over in a moment.
WRITE_PAUSES_SECONDS = (0.0, 0.005, 0.02, 0.1, 0.3)
BLANK = Outcome(state="skipped", error_kind="blank", error="the text is blank")
LOCAL_ONLY = Outcome(
    state="skipped", error_kind="local_only", error="its channel is local-only, and the model's server is elsewhere"
)
LOCKED = Outcome(state="waiting", error_kind="locked", error="somebody else has the row locked, or changed it")


@dataclass(slots=True)
class Settlement:
    """What becomes of the rows of a batch. `settle` may be done again after a failure: what is done stays done.

    Attributes:
        store: where.
        lease: by which the rows are held.
        claimed: all of them, as they were taken.
        rows: those that still had no vector when they were read; the others have left our hand by themselves.
        found: what the model said, for every row of a text.
        max_attempts: for a text at fault.
        copied, written, skipped, failed, waiting, given_back: the rows by what became of them.
    """

    store: EmbeddingStore
    lease: Lease
    claimed: Mapping[int, Claimed]
    rows: Sequence[EmbeddableText]
    found: Found
    max_attempts: int
    copied: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)
    skipped: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    given_back: set[int] = field(default_factory=set)

    async def settle(self) -> None:
        """Returns once none of the rows is in our hand."""
        blank = [row for row in self.rows if not row.text.strip() and row.id not in self.skipped]
        if blank:
            self.skipped |= await self.store.judge(self.lease, blank, BLANK)
        if private := self._private():
            self.skipped |= await self.store.judge(self.lease, private, LOCAL_ONLY)
        await self._copy()
        await self._write()
        await self._judge_refused()
        await self._wait()
        await self._give_back()

    @property
    def saved(self) -> int:
        """Rows with a vector beyond the first of their text."""
        texts = {row.text for row in self.rows if row.id in self.written}
        return len(self.copied) + len(self.written) - len(texts)

    @property
    def _open(self) -> set[int]:
        return set(self.claimed) - self.copied - self.written - self.skipped - self.failed - self.waiting

    def _private(self) -> list[EmbeddableText]:
        """What may not be sent, and has no vector by other means."""
        return [
            row
            for row in self.rows
            if (row.private or row.id in self.found.withheld)
            and row.text.strip()
            and not row.known
            and row.id not in self.found.vectors
            and row.id not in self.skipped
        ]

    async def _copy(self) -> None:
        """The vectors of texts that have been embedded before, at no cost."""
        for pause in WRITE_PAUSES_SECONDS:
            known = [row.id for row in self.rows if row.known and row.id in self._open]
            known = [row_id for row_id in known if row_id not in self.found.vectors]
            if not known:
                return
            await asyncio.sleep(pause)
            self.copied |= await self.store.copy(self.lease, known)

    async def _write(self) -> None:
        for pause in WRITE_PAUSES_SECONDS:
            ready = [row for row in self.rows if row.id in self.found.vectors and row.id in self._open]
            if not ready:
                return
            if pause:
                await asyncio.sleep(pause)
            self.written |= await self.store.write(
                self.lease, ready, self.found.vectors, characters=self.found.characters
            )

    async def _judge_refused(self) -> None:
        """Notes the culprits: another try later, or failed for good."""
        for row in self.rows:
            if row.id not in self.found.refused or row.id not in self._open:
                continue
            error, attempts = self.found.refused[row.id], self.claimed[row.id].attempts
            final = attempts + 1 >= self.max_attempts
            outcome = Outcome(
                state="failed" if final else "waiting",
                error_kind=type(error).__name__,
                error=str(error),
                wait_seconds=0 if final else backoff_seconds(attempts),
                fault=True,
            )
            log.warning("embed.refused", kind=self.lease.kind.value, id=row.id, reason=str(error), final=final)
            noted = await self.store.judge(self.lease, [row], outcome)
            if final:
                self.failed |= noted
            else:
                self.waiting |= noted

    async def _wait(self) -> None:
        """Notes that the rest waits for better weather or a mended set-up; costs no row an attempt.

        The server is not asked by anybody for as long as a first pause lasts. These rows may wait longer: what a server
        fails at again and again (a batch it takes too long for), it is not asked for as often as what it has not seen.
        """
        reason = self.found.stopped
        if reason is None:
            return
        answered = self.found.vectors.keys() | self.found.refused.keys()
        waiting = {row.id for row in self.rows if row.text.strip() and not row.known} & self._open - answered
        await pause_space(self.store, self.lease.space, reason, 0)
        waits = max((self.claimed[row_id].waits for row_id in waiting), default=0)
        outcome = Outcome(
            state="waiting",
            error_kind=type(reason).__name__,
            error=str(reason),
            wait_seconds=backoff_seconds(waits, at_least=wish_seconds(reason)),
            weather=True,
        )
        await self.store.record(self.lease, waiting, outcome)
        self.waiting |= waiting

    async def _give_back(self) -> None:
        """What is left was changed or deleted under us: pending again, or gone. Or it stays locked, and waits for that.

        A row that is still as it was read keeps its vector until then.
        """
        left = self._open - self.given_back
        if not left:
            return
        locked = [row for row in self.rows if row.id in left and row.id in self.found.vectors]
        if locked:
            await self.store.keep(self.lease, locked, self.found.vectors, characters=self.found.characters)
        # Within four seconds: with its vector kept, another look costs nothing.
        await self.store.record(self.lease, left, replace(LOCKED, wait_seconds=backoff_seconds(1)))
        await self.store.release(self.lease, left)
        self.given_back |= left
