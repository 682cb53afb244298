"""Any number of texts in requests of a size the server takes, each text sent once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from winnow.errors import ProviderTimeout, SomeInvalid, TextTooLong
from winnow.providers.batching import AdaptiveLimits, first_portion, request_tokens
from winnow.providers.checking import checked_vectors, utf8_sizes
from winnow.providers.endpoint import BatchRefused
from winnow.providers.line import Line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.pacing import RateLimits
    from winnow.providers.batching import RequestLimits
    from winnow.providers.endpoint import Endpoint

KEPT_VECTORS = 4096


class PortionedRequests:
    """Sends texts to an endpoint in portions, one after the other, each when it is the batch's turn in the line.

    Equal texts are sent once. When a later portion fails, the good vectors of the earlier ones are kept (the latest
    4,096) for the call that tries again: a text is paid for once even though the caller gets all or nothing.
    """

    def __init__(self, endpoint: Endpoint, *, limits: RequestLimits, line: Line | None = None) -> None:
        self._endpoint = endpoint
        self._line = line or Line()
        self._kept: dict[str, NDArray[np.float32]] = {}
        self._limits = AdaptiveLimits(limits)

    async def vectors(self, texts: Sequence[str], *, is_patient: bool = True) -> NDArray[np.float32]:
        """Vectors for `texts`, in their order.

        Args:
            texts: any number of them.
            is_patient: wait while the server limits the rate, and do not rather go without.

        Raises:
            SomeInvalid: some texts got no usable vector, or two portions came back with vectors of different lengths.
            WinnowError: whatever the endpoint raises.
        """
        tokens = {text: request_tokens(size) for text, size in zip(texts, utf8_sizes(texts), strict=True)}
        found = {text: self._kept.pop(text) for text in tokens if text in self._kept}
        useless: dict[str, str] = {}
        place = self._line.place(len(tokens))
        try:
            while missing := [text for text in tokens if text not in found and text not in useless]:
                sizes = [tokens[text] for text in missing]
                request = partial(self._ask_portion, missing, sizes, found, useless)
                about = sum(sizes[: first_portion(sizes, self._now())])
                await self._line.ask(place, request, tokens=about, is_patient=is_patient)
        except BaseException:  # a cancelled call has paid for its portions, too
            self._keep(found)
            raise
        if useless:
            raise _some_invalid(texts, found, useless)
        try:
            return checked_vectors([found[text] for text in texts], expected=len(texts))
        except SomeInvalid as error:
            # Another portion's vectors may be the odd ones: what is asked for again is not paid for again.
            self._keep({texts[place]: found[texts[place]] for place in error.bad})
            raise

    async def _ask_portion(
        self,
        missing: Sequence[str],
        tokens: Sequence[int],
        found: dict[str, NDArray[np.float32]],
        useless: dict[str, str],
    ) -> None:
        """A portion of the size that is known to be taken when its turn has come; nothing if it was still too large.

        What was paid for is in `found` before anything else is waited for.
        """
        count = first_portion(tokens, self._now())
        portion, sizes = list(missing[:count]), tokens[:count]
        told: RateLimits | None = None
        try:
            answer = await self._endpoint.ask(portion)
            found.update(zip(portion, answer.vectors, strict=True))
            told = answer.limits
        except SomeInvalid as error:
            found.update({portion[at]: vector for at, vector in error.good.items()})
            useless.update({portion[at]: what for at, what in error.bad.items()})
        except BatchRefused as refusal:
            if count == 1:
                raise TextTooLong from refusal
            self._limits.refused(sizes, named=refusal.cap)
            return
        except ProviderTimeout:
            self._limits.unanswered(sizes)
            raise
        self._limits.answered(was_full=count < len(missing))
        if told is not None:
            await self._line.told(told)

    def _now(self) -> RequestLimits:
        limits, most = self._limits.now, self._line.most_tokens
        return limits if most is None else replace(limits, tokens=min(limits.tokens, int(most)))

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
