"""Embeddings from OpenAI and the servers that speak its protocol, through the official client (`/v1/embeddings`)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

import numpy as np
import orjson
from typing_extensions import override

from winnow.domain.spaces import EmbedderIdentity
from winnow.errors import (
    AnswerInvalid,
    WinnowError,
)
from winnow.providers.base import Embedder, EmbeddingResult, InputType
from winnow.providers.checking import checked_vectors
from winnow.providers.models import with_prefix
from winnow.providers.patience import Patience
from winnow.providers.portions import Answer, PortionedRequests, RequestLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from winnow.providers.openai_client import OpenAIServer

# OpenAI takes 2,048 texts and 300,000 tokens in a request, and judges the tokens by about a quarter of the bytes.
LIMITS = RequestLimits(texts=2048, size_bytes=4 * 300_000)


class OpenAIEmbedder(Embedder):
    """Embeds with a model of OpenAI or a compatible server (vLLM, llama.cpp, text-embeddings-inference, LM Studio).

    Vectors travel as base64 and are decoded here; from a server that sends numbers all the same they are read, too.
    A server that takes fewer texts in a request than OpenAI says so once; the number is remembered.

    Args:
        server: asked, and closed with the embedder.
        model: as the server names it.
        first_timeout_seconds: for one answer while the model may have to be loaded.
        timeout_seconds: for one answer otherwise.

    Raises:
        ProviderUnavailable: no connection, no answer in time, or a server error.
        ProviderBusy: the rate is limited for longer than moments; `retry_after_seconds` is the server's wish.
        QuotaExhausted, KeyRefused, ModelNotFound: the account, the key, the model.
        TextTooLong, TextRefused: (at least) one of the texts is at fault.
        AnswerInvalid: what came back is not one vector for each text.
    """

    def __init__(
        self,
        *,
        server: OpenAIServer,
        model: str,
        document_prefix: str,
        query_prefix: str,
        first_timeout_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._server = server
        self._identity = EmbedderIdentity(
            provider="openai", model=model, document_prefix=document_prefix, query_prefix=query_prefix
        )
        self._patience = Patience(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
        self._requests = PortionedRequests(self._ask, limits=LIMITS)
        self._format: Literal["base64", "float"] = "base64"

    @property
    @override
    def identity(self) -> EmbedderIdentity:
        """The model and the prefixes in use."""
        return self._identity

    @override
    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        """One vector for each text, as the server gives it."""
        prefixed = with_prefix(texts, self._identity, input_type)
        answer = await self._requests.answer(prefixed, is_patient=input_type != "query")
        return EmbeddingResult(vectors=answer.vectors, model=self._identity.model, tokens=answer.tokens)

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._server.close()

    async def _ask(self, texts: list[str]) -> Answer:
        form = self._format
        try:
            raw = await self._server.ask(
                lambda client: client.embeddings.with_raw_response.create(
                    model=self._identity.model, input=texts, encoding_format=form
                ),
                patience=self._patience,
                model=self._identity.model,
                texts=texts,
            )
        except WinnowError as error:
            if form == "base64" and "encoding_format" in str(error):
                self._format = "float"
                return await self._ask(texts)
            raise
        answer = decode_answer(raw.content, expected=len(texts))
        self._patience.answered()
        return answer


def decode_answer(content: bytes, *, expected: int) -> Answer:
    """The vectors in the body of an answer, in the order of the texts, whether sent as base64 or as numbers.

    Raises:
        AnswerInvalid: not JSON (NaN is none), no vectors, or indexes that do not tell the texts apart.
        SomeInvalid: some texts got no usable vector.
    """
    try:
        body = orjson.loads(content)
        items = body["data"]
        places = [item["index"] for item in items]
        vectors = [_numbers(item["embedding"]) for item in items]
    except (ValueError, KeyError, TypeError):  # the cause would carry what the server wrote into the log
        raise AnswerInvalid("the model server gave an answer without readable vectors") from None
    known = all(type(place) is int and 0 <= place < expected for place in places)
    if not known or len(set(places)) != len(places):
        raise AnswerInvalid("the model's answer does not say which vector belongs to which text")
    checked = checked_vectors(dict(zip(places, vectors, strict=True)), expected=expected)
    usage = body.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return Answer(vectors=checked, tokens=tokens if type(tokens) is int else None)


def _numbers(embedding: str | list[float]) -> NDArray[np.float32] | list[float]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return embedding
