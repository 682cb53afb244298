"""A language model reads a window, in three steps down: by schema, mended, asked again with half of it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from winnow.domain.knowledge import ExtractionFailed, ModelUse
from winnow.domain.masking import Masking
from winnow.domain.usage import NOTHING, tokens_by_bytes
from winnow.errors import AnswerInvalid, TextRefused, TextTooLong
from winnow.pipeline.extract_answer import NotUsable, read_answer
from winnow.pipeline.extract_grounding import ground_answer, joined, proven_in
from winnow.pipeline.extract_prompt import MESSAGE_TOKENS, SCHEMA, prompt_version, system_prompt, write_sheet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from winnow.domain.knowledge import Extraction, Window
    from winnow.pipeline.extract_prompt import Sheet
    from winnow.providers.base import Completion, LanguageModel

log = structlog.get_logger(__name__)

MOST_REQUESTS = 8
"""For one window: as many as it takes to find one bad message among sixteen, or to give up."""
CUT_SHORT = "it was cut off, for it was too long; be brief, and keep to the few that matter"
_LEAST_MESSAGE_TOKENS = 100
_LEAST_CONTEXT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelExtractor:
    """Asks a language model.

    Attributes:
        model: asked, and closed by whoever made it.
        is_remote: it is elsewhere, so secrets are masked.
        mask_contacts: telephone numbers and e-mail addresses are masked there, too.
        price_usd: of so many tokens in and out; None: nobody knows.
        may_leave: gives a window without what may not leave this machine by now, and raises Transient where its
            messages may not; None: all may, or stays here anyway.
    """

    model: LanguageModel
    is_remote: bool
    mask_contacts: bool = False
    price_usd: Callable[[int, int], Decimal | None] = lambda _in, _out: None
    may_leave: Callable[[Window], Awaitable[Window]] | None = None

    @property
    def name(self) -> str:
        """As stored with each run: `ollama:qwen3:8b`."""
        return self.model.name

    @property
    def version(self) -> str:
        """Of the prompt and its schema."""
        return prompt_version()

    @property
    def wants_known(self) -> bool:
        """Whether stored atoms and topics are to be offered with a window."""
        return True

    async def extract(self, window: Window) -> Extraction:
        """Everything found in `window.messages` that the model said in a form that can be used.

        Raises:
            Transient: the server is away or busy; what was asked before is lost.
            SetupFault: the model is missing, the key refused, the quota gone.
            ExtractionFailed: none of its answers could be used; the last one and what they took are in it.
        """
        masking = Masking(contacts=self.mask_contacts) if self.is_remote else None
        return await _Reading(extractor=self, window=window, masking=masking).read()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some of a window's messages, from `start` on; `trouble` is what was wrong with the answer before."""

    start: int
    window: Window
    trouble: str = ""
    message_tokens: int = MESSAGE_TOKENS
    is_repeated: bool = False
    salvaged: Extraction | None = None

    def smaller(self, trouble: str, salvaged: Extraction | None, *, is_too_long: bool = False) -> list[_Part]:
        """What to ask instead: both halves; of one message half the text, alone and once; then nothing more.

        One that is too long is halved as often as it takes.
        """
        messages, middle = self.window.messages, (len(self.window.messages) + 1) // 2
        salvaged = salvaged or self.salvaged
        if len(messages) == 1:
            if self.is_repeated and not (is_too_long and self.message_tokens > _LEAST_MESSAGE_TOKENS):
                return []
            tokens = max(self.message_tokens // 2, _LEAST_MESSAGE_TOKENS)
            alone = replace(self.window, context=())  # it may be what was said before that a server refuses
            return [
                replace(self, window=alone, trouble=trouble, message_tokens=tokens, is_repeated=True, salvaged=salvaged)
            ]
        length = max(len(self.window.context), _LEAST_CONTEXT)
        before = (*self.window.context, *messages[:middle])[-length:]
        halves = (
            (self.start, replace(self.window, messages=messages[:middle])),
            (self.start + middle, replace(self.window, messages=messages[middle:], context=before)),
        )
        return [
            replace(self, start=start, window=half, trouble=trouble, salvaged=_in(salvaged, half))
            for start, half in halves
        ]


def _in(salvaged: Extraction | None, window: Window) -> Extraction | None:
    return None if salvaged is None else proven_in(salvaged, [message.id for message in window.messages])


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of one request: what was found, or the trouble, and what there is all the same.

    `told` is the trouble as the model is told it; empty: it would be of no use to it.
    """

    found: Extraction | None = None
    trouble: str = ""
    told: str = ""
    salvaged: Extraction | None = None
    is_too_long: bool = False


@dataclass(slots=True, kw_only=True)
class _Reading:
    """One window on its way through the model."""

    extractor: ModelExtractor
    window: Window
    masking: Masking | None
    use: ModelUse = field(default_factory=lambda: ModelUse(cost_usd=NOTHING))
    most_requests: int = MOST_REQUESTS
    answer: str = ""
    trouble: str = ""
    dropped: Counter[str] = field(default_factory=Counter)

    async def read(self) -> Extraction:
        """The whole window, or as much as the model can read of it."""
        parts = deque([_Part(start=0, window=self.window)])
        found: list[tuple[int, Extraction]] = []
        unread = 0
        while parts:
            part = parts.popleft()
            smaller: list[_Part] = []
            if self.use.requests < self.most_requests:
                attempt = await self._ask(part)
                if attempt.found is not None:
                    found.append((part.start, attempt.found))
                    continue
                self.trouble = attempt.trouble
                smaller = part.smaller(attempt.told, attempt.salvaged, is_too_long=attempt.is_too_long)
                part = replace(part, salvaged=attempt.salvaged or part.salvaged)
            parts.extend(smaller)
            if not smaller:
                unread += len(part.window.messages)
                if part.salvaged is not None and part.salvaged.atoms:
                    found.append((part.start, part.salvaged))
        return self._result(found, unread)

    def _result(self, found: list[tuple[int, Extraction]], unread: int) -> Extraction:
        name = self.extractor.name
        if not found:
            raise ExtractionFailed(
                f"{name} gave no answer that can be used, asked {self.use.requests} times; the last time: "
                f"{self.trouble}",
                answer=_storable(self.answer),
                use=self.use,
            )
        extraction = joined([part for _, part in sorted(found, key=lambda one: one[0])])
        return replace(extraction, use=self.use, trouble=self._said_of(unread))

    def _said_of(self, unread: int) -> str:
        """What of the window was not read, and what of the answers not used."""
        said = [f"{count} × {why}" for why, count in sorted(self.dropped.items()) if count]
        if unread:
            said.insert(0, f"{unread} of {len(self.window.messages)} messages could not be read ({self.trouble})")
        if said:
            log.warning("extract.partly_used", model=self.extractor.name, reason="; ".join(said))
        return "; ".join(said)

    async def _ask(self, part: _Part) -> _Attempt:
        may_leave = self.extractor.may_leave
        # before each request, for somebody may have marked a channel since the window was cut
        window = part.window if may_leave is None else await may_leave(part.window)
        sheet = await asyncio.to_thread(
            write_sheet, window, masking=self.masking, message_tokens=part.message_tokens, trouble=part.trouble
        )
        system = system_prompt()
        try:
            completion = await self.extractor.model.complete(
                system=system, prompt=sheet.prompt, schema=SCHEMA, max_output_tokens=sheet.answer_tokens
            )
        except TextTooLong as error:  # nothing was read, so nothing is paid; two are to be asked now instead of one
            self.most_requests += 1
            return _Attempt(trouble=str(error), is_too_long=True)
        except TextRefused as error:  # it may take one half of the messages, and not the other
            self._count()
            return _Attempt(trouble=str(error))
        except AnswerInvalid as error:  # which has been paid for
            self._count(price=self.extractor.price_usd(tokens_by_bytes([system, sheet.prompt]), 0))
            self.answer = ""
            return _Attempt(trouble=str(error), told="it was empty")
        self._account(completion, system + sheet.prompt)
        self.answer = completion.text
        return await asyncio.to_thread(self._read, completion, sheet)

    def _read(self, completion: Completion, sheet: Sheet) -> _Attempt:
        try:
            given = read_answer(completion.text)
        except NotUsable as error:
            told = CUT_SHORT if completion.truncated else str(error)
            return _Attempt(trouble=told, told=told)
        grounded = ground_answer(given, sheet)
        if completion.truncated or given.cut:
            proven = proven_in(grounded.extraction, [one.message.id for one in sheet.new.values()])
            return _Attempt(trouble=CUT_SHORT, told=CUT_SHORT, salvaged=proven)
        self.dropped += grounded.dropped
        return _Attempt(found=grounded.extraction)

    def _account(self, completion: Completion, said: str) -> None:
        told, written = completion.input_tokens, completion.output_tokens
        self._count(
            price=self.extractor.price_usd(
                tokens_by_bytes([said]) if told is None else told,
                tokens_by_bytes([completion.text]) if written is None else written,
            ),
            input_tokens=told or 0,
            output_tokens=written or 0,
            seconds=completion.seconds,
        )

    def _count(
        self, *, price: Decimal | None = NOTHING, input_tokens: int = 0, output_tokens: int = 0, seconds: float = 0.0
    ) -> None:
        """One more request."""
        cost = self.use.cost_usd
        self.use = ModelUse(
            requests=self.use.requests + 1,
            input_tokens=self.use.input_tokens + input_tokens,
            output_tokens=self.use.output_tokens + output_tokens,
            cost_usd=None if cost is None or price is None else cost + price,
            seconds=self.use.seconds + seconds,
        )


def _storable(answer: str) -> str:
    """The answer without what PostgreSQL cannot hold."""
    return answer.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
