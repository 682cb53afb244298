"""Any number of texts in requests of a size the server takes, each text sent once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from winnow.errors import SomeInvalid
from winnow.providers.checking import checked_vectors, utf8_sizes
from winnow.providers.line import Line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

KEPT_VECTORS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """The most that goes into one request: number of texts, and their sum in bytes of UTF-8."""

    texts: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One server's answer: float32 vectors of shape (texts, dimensions), and the tokens it counted, if it told."""

    vectors: NDArray[np.float32]
    tokens: int | None = None


class BatchRefused(Exception):
    """The server takes at most `cap` texts in a request; raised by an `ask`, never seen outside `PortionedRequests`."""

    def __init__(self, cap: int) -> None:
        super().__init__(cap)
        self.cap = cap


def first_portion(sizes: Sequence[int], limits: RequestLimits) -> int:
    """How many of the leading texts, `sizes` bytes each, make one request: as many as fit, and at least one.

    A text that is too large alone is still sent: only the server knows for certain, and its refusal names the reason.
    """
    total = 0
    for count, size in enumerate(sizes[: limits.texts]):
        total += size
        if count and total > limits.size_bytes:
            return count
    return min(len(sizes), limits.texts)


class PortionedRequests:
    """Sends texts in portions through `ask`, one after the other, each when it is the batch's turn in the line.

    Equal texts are sent once. When a later portion fails, the good vectors of the earlier ones are kept (the latest
    4,096) for the call that tries again: a text is paid for once even though the caller gets all or nothing.
    """

    def __init__(
        self, ask: Callable[[list[str]], Awaitable[Answer]], *, limits: RequestLimits, line: Line | None = None
    ) -> None:
        self._ask = ask
        self._line = line or Line()
        self._kept: dict[str, NDArray[np.float32]] = {}
        self.limits = limits

    async def answer(self, texts: Sequence[str], *, is_patient: bool = True) -> Answer:
        """Vectors for `texts`, in their order.

        Args:
            texts: any number of them.
            is_patient: wait while the server limits the rate, and do not rather go without.

        Raises:
            SomeInvalid: some texts got no usable vector, or two portions came back with vectors of different lengths.
            WinnowError: whatever `ask` raises.
        """
        sizes = dict(zip(texts, utf8_sizes(texts), strict=True))
        found = {text: self._kept.pop(text) for text in sizes if text in self._kept}
        useless: dict[str, str] = {}
        counted: list[int | None] = []
        place = self._line.place(len(sizes))
        try:
            while missing := [text for text in sizes if text not in found and text not in useless]:
                request = partial(self._ask_portion, missing, [sizes[text] for text in missing])
                portion, answer = await self._line.ask(place, request, is_patient=is_patient)
                if isinstance(answer, SomeInvalid):
                    found.update({portion[at]: vector for at, vector in answer.good.items()})
                    useless.update({portion[at]: what for at, what in answer.bad.items()})
                elif answer is not None:
                    found.update(zip(portion, answer.vectors, strict=True))
                    counted.append(answer.tokens)
        except BaseException:  # a cancelled call has paid for its portions, too
            self._keep(found)
            raise
        told = [tokens for tokens in counted if tokens is not None]
        if useless:
            raise _some_invalid(texts, found, useless)
        vectors = checked_vectors([found[text] for text in texts], expected=len(texts))
        return Answer(vectors=vectors, tokens=sum(told) if told else None)

    async def _ask_portion(
        self, missing: Sequence[str], sizes: Sequence[int]
    ) -> tuple[Sequence[str], Answer | SomeInvalid | None]:
        """A portion of the size that is known to be taken when its turn has come; None: it was still too large."""
        portion = list(missing[: first_portion(sizes, self.limits)])
        try:
            return portion, await self._ask(portion)
        except SomeInvalid as error:
            return portion, error
        except BatchRefused as refusal:
            most = min(self.limits.texts, refusal.cap, len(portion) - 1)
            self.limits = replace(self.limits, texts=max(1, most))
            return portion, None

    def _keep(self, found: dict[str, NDArray[np.float32]]) -> None:
        self._kept.update(found)
        for text in list(self._kept)[: max(0, len(self._kept) - KEPT_VECTORS)]:
            del self._kept[text]


def _some_invalid(
    texts: Sequence[str], found: Mapping[str, NDArray[np.float32]], useless: Mapping[str, str]
) -> SomeInvalid:
    bad = {place: useless[text] for place, text in enumerate(texts) if text in useless}
    first = min(bad)
    return SomeInvalid(
        f"the model's vector for text {first + 1} of {len(texts)} {bad[first]}",
        good={place: found[text] for place, text in enumerate(texts) if text in found},
        bad=bad,
    )
