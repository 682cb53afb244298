"""An embedder of models that a server serves: prefix, cutting at the context, portions; requests are an endpoint's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from winnow.domain.truncation import cut_to
from winnow.errors import SomeInvalid, TextTooLong
from winnow.providers.base import Embedder, EmbeddingResult, InputType
from winnow.providers.batching import estimated_tokens, surely_fits
from winnow.providers.instrumentation import accounted
from winnow.providers.models import with_prefix
from winnow.providers.portions import PortionedRequests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.spaces import EmbedderIdentity
    from winnow.providers.batching import RequestLimits
    from winnow.providers.endpoint import Endpoint
    from winnow.providers.line import Line

# What models put around a text (BERT: [CLS] and [SEP]).
SPECIAL_TOKENS = 2


class ServedEmbedder(Embedder):
    """Embeds through an endpoint: any number of texts of any length, each in the form its model wants.

    A text that is longer than the model's context, where that is known, is cut at a sentence before it is sent, and
    the result says so. A context that the server names in a refusal is learned, and the texts are cut and sent again.

    Args:
        identity: with the prefixes to put before texts.
        endpoint: asked, and closed with the embedder.
        limits: the most that goes into one request.
        line: where requests wait for their turn.
        context: tokens that the model reads at once; None: unknown.

    Raises:
        WinnowError: as `Embedder` says.
    """

    def __init__(
        self,
        *,
        identity: EmbedderIdentity,
        endpoint: Endpoint,
        limits: RequestLimits,
        line: Line,
        context: int | None = None,
    ) -> None:
        self._identity = identity
        self._endpoint = endpoint
        self._requests = PortionedRequests(endpoint, limits=limits, line=line)
        self._context = context

    @property
    @override
    def identity(self) -> EmbedderIdentity:
        """The protocol, the model, and the prefixes in use."""
        return self._identity

    @override
    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        """One vector for each text, as the server gives it; searches do not wait for a limited rate."""
        with accounted() as took:
            took.is_exact = True
            vectors, characters = await self._embed(texts, input_type)
        return EmbeddingResult(
            vectors=vectors,
            model=self._identity.model,
            tokens=None if took.untold else took.tokens,
            characters=characters,
            requests=took.requests,
            texts=took.texts,
            seconds=took.seconds,
        )

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._endpoint.close()

    async def _embed(
        self, texts: Sequence[str], input_type: InputType
    ) -> tuple[NDArray[np.float32], Mapping[int, int]]:
        while True:
            context = self._context
            prepared, characters = self._prepared(texts, input_type, context)
            try:
                return await self._requests.vectors(prepared, is_patient=input_type != "query"), characters
            except TextTooLong as error:
                self._learn(error.context_tokens)
                if self._context == context:
                    error.characters = characters.get(0) if len(texts) == 1 else None
                    raise
            except SomeInvalid as error:
                error.characters = characters
                raise

    def _learn(self, context: int | None) -> None:
        if context is not None and (self._context is None or context < self._context):
            self._context = context

    def _prepared(
        self, texts: Sequence[str], input_type: InputType, context: int | None
    ) -> tuple[list[str], dict[int, int]]:
        """The texts as they are sent, and how much is left of those that were cut, by place."""
        prefixed = with_prefix(texts, self._identity, input_type)
        characters: dict[int, int] = {}
        if context is None:
            return prefixed, characters
        budget = context - SPECIAL_TOKENS
        for place, text in enumerate(prefixed):
            if not surely_fits(text, budget):
                prefix = len(text) - len(texts[place])
                room = max(1, budget - estimated_tokens(text[:prefix]))
                kept = cut_to(texts[place], room, tokens=estimated_tokens)
                if len(kept) < len(texts[place]):
                    prefixed[place] = text[:prefix] + kept
                    characters[place] = len(kept)
        return prefixed, characters
