"""Several servers of one model as one endpoint: the first healthy one is asked, and none of another vector space."""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog
from typing_extensions import override

from winnow.errors import (
    AnswerInvalid,
    ProviderTimeout,
    ProviderUnavailable,
    SetupFault,
    SpaceMismatch,
    TextRefused,
    Transient,
)
from winnow.providers.base import RECOGNISED_SECONDS, difference
from winnow.providers.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from winnow.providers.endpoint import Answer

log = structlog.get_logger(__name__)

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 60.0


@dataclass(slots=True)
class _Member:
    """An endpoint and how it fares.

    Attributes:
        endpoint: asked.
        known_until: by the clock; its vectors were found to be of the space, and nothing has happened to it since.
        is_away: it has failed, and is asked for texts only when no other one can be.
        failures: since it last answered texts.
        failed_at, rests_until: by the clock.
        told: the fault in its set-up that a warning was written about.
        look: at whether it is well again, while one is under way.
        recognition: for those who want to ask it, while it is under way.
    """

    endpoint: Endpoint
    known_until: float = float("-inf")
    is_away: bool = False
    failures: int = 0
    failed_at: float = float("-inf")
    rests_until: float = float("-inf")
    told: str | None = None
    look: asyncio.Task[None] | None = None
    recognition: asyncio.Task[None] | None = None


class FailOver(Endpoint):
    """Endpoints that serve one model, the preferred one first.

    One that does not answer, or whose set-up is wrong, is set aside and the next one asked at once. It rests, longer
    each time up to a minute; then a look in the background, at which no batch waits, brings it back. A busy server and
    a refused text are no reason to ask another one.

    Before an endpoint's vectors are used, and each hour, it must embed the fixed sentence like the `fingerprint`;
    without one, like the first endpoint that answered.

    Args:
        endpoints: at least one. A single one is asked each time, however often it has failed.
        sentence: the text of the fingerprint, with the prefix of documents.
        fingerprint: its vector in the space that the endpoints must be of.
        clock: seconds.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        sentence: str,
        fingerprint: Sequence[float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._members = [_Member(endpoint) for endpoint in endpoints]
        self._sentence = sentence
        self._fingerprint = None if fingerprint is None else np.asarray(fingerprint, dtype=np.float32)
        self._clock = clock
        self._in_use = self._members[0]

    @property
    @override
    def shown(self) -> str:
        """The one in use."""
        return self._in_use.endpoint.shown

    @override
    async def ask(self, texts: list[str]) -> Answer:
        """The answer of the first endpoint that can give one.

        Raises:
            ProviderTimeout: one has not answered to several texts in time, and is set aside.
            ProviderUnavailable: none answers; the message names each.
            SetupFault: the set-up of each is wrong.
            WinnowError: whatever else the endpoint in use raises.
        """
        self._look_at_the_rested()
        failed: list[ProviderUnavailable | SetupFault] = []
        for member in sorted(self._members, key=_preference):
            sent_at = self._clock()
            try:
                if member.known_until <= sent_at:
                    await self._recognised(member)
                answer = await member.endpoint.ask(texts)
            except (ProviderUnavailable, SetupFault) as error:
                is_of_texts = member.known_until > sent_at
                self._set_aside(member, error, sent_at)
                if isinstance(error, ProviderTimeout) and is_of_texts and len(texts) > 1:
                    raise  # the request may have been too large for it; the next one goes to another
                failed.append(error)
            else:
                self._use(member)
                return answer
        if len(failed) == 1:
            raise failed[0]
        raise _none_of(failed) from failed[0]

    @override
    async def close(self) -> None:
        """Ends the looks and closes all endpoints."""
        tasks = [task for member in self._members for task in (member.look, member.recognition) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(member.endpoint.close() for member in self._members))

    async def _recognised(self, member: _Member) -> None:
        """One recognition for all who ask at the same time; no call is charged for it. Raises as `_recognise` does."""
        if member.recognition is None:
            name = f"recognise {member.endpoint.shown}"
            member.recognition = asyncio.create_task(self._recognise(member), name=name, context=Context())
            member.recognition.add_done_callback(lambda _: self._end_recognition(member))
        await asyncio.shield(member.recognition)

    @staticmethod
    def _end_recognition(member: _Member) -> None:
        recognition, member.recognition = member.recognition, None
        if recognition is not None and not recognition.cancelled():
            recognition.exception()  # whoever asked has seen it, unless all were cancelled

    async def _recognise(self, member: _Member) -> None:
        """Has it embed the sentence; its vector must be the space's.

        Raises:
            SpaceMismatch: it is not.
            SetupFault: it cannot embed a plain sentence.
            Transient: it is away or busy.
        """
        shown = member.endpoint.shown
        try:
            vector = (await member.endpoint.ask([self._sentence])).vectors[0]
        except (TextRefused, AnswerInvalid) as error:
            raise SetupFault(f"{shown} cannot embed even a plain sentence ({error}); mend the model server") from error
        if self._fingerprint is None:
            self._fingerprint = vector
        elif (unlike := difference(self._fingerprint, vector)) is not None:
            raise SpaceMismatch(
                f"{shown} serves another model under this name ({unlike}), and its vectors are not used; have it "
                "serve the same model as before"
            )
        member.known_until = self._clock() + RECOGNISED_SECONDS

    def _set_aside(self, member: _Member, error: Exception, sent_at: float) -> None:
        """It rests, unless it does already for a request that was sent before this one's failure was known."""
        member.known_until = float("-inf")
        member.is_away = True
        if sent_at <= member.failed_at:
            return
        member.failures += 1
        member.failed_at = self._clock()
        rest = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(member.failures - 1, 10))
        member.rests_until = member.failed_at + rest
        if isinstance(error, SetupFault) and member.told != str(error) and len(self._members) > 1:
            member.told = str(error)
            log.warning("provider.endpoint_unusable", endpoint=member.endpoint.shown, because=member.told)

    def _use(self, member: _Member) -> None:
        """It has answered texts."""
        member.is_away = False
        member.failures = 0
        member.told = None
        before, self._in_use = self._in_use, member
        if member is not before:
            is_back = self._members.index(member) < self._members.index(before)
            tell, event = (log.info, "provider.failed_back") if is_back else (log.warning, "provider.failed_over")
            tell(event, endpoint=member.endpoint.shown, before=before.endpoint.shown)

    def _look_at_the_rested(self) -> None:
        """Starts a look at each endpoint that is preferred to the healthy ones and has rested."""
        for member in self._members if any(not member.is_away for member in self._members) else ():
            if not member.is_away:
                return
            if member.look is None and self._clock() >= member.rests_until:
                name = f"look at {member.endpoint.shown}"
                # In a context of its own: no call is charged for it.
                member.look = asyncio.create_task(self._look(member), name=name, context=Context())

    async def _look(self, member: _Member) -> None:
        sent_at = self._clock()
        try:
            await self._recognise(member)
        except (Transient, SetupFault) as error:
            self._set_aside(member, error, sent_at)
        else:
            member.is_away = False
        finally:
            member.look = None


def _preference(member: _Member) -> tuple[bool, float]:
    """The healthy ones in their order, then the one whose rest ends first: a server that hangs is not asked first."""
    return member.is_away, member.rests_until if member.is_away else 0.0


def _none_of(failed: Sequence[ProviderUnavailable | SetupFault]) -> ProviderUnavailable | SetupFault:
    """One error for all: weather if any of them is, for then the others may do once it is over."""
    message = f"none of {len(failed)} model servers can be used: " + "; ".join(str(error) for error in failed)
    if any(isinstance(error, ProviderTimeout) for error in failed):
        return ProviderTimeout(message)
    if any(isinstance(error, ProviderUnavailable) for error in failed):
        return ProviderUnavailable(message)
    return type(failed[0])(message)
