"""Embeddings from OpenAI and the servers that speak its protocol, through the official client (`/v1/embeddings`)."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import orjson
from typing_extensions import override

from winnow.errors import AnswerInvalid, WinnowError
from winnow.providers.batching import RequestLimits
from winnow.providers.checking import checked_vectors
from winnow.providers.endpoint import Answer, Endpoint
from winnow.providers.patience import Patience
from winnow.providers.refusals import rate_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from winnow.providers.openai_client import OpenAIServer

# What OpenAI takes in a request; a server that takes fewer texts says so once.
LIMITS = RequestLimits(texts=2048, tokens=300_000)


class OpenAIEndpoint(Endpoint):
    """A model of OpenAI or a compatible server (vLLM, llama.cpp, text-embeddings-inference, LM Studio).

    Vectors travel as base64 and are decoded here; from a server that sends numbers all the same they are read, too.

    Args:
        server: asked, and closed with the endpoint.
        model: as the server names it.
        first_timeout_seconds: for one answer while the model may have to be loaded.
        timeout_seconds: for one answer otherwise.

    Raises:
        ProviderUnavailable: no connection, no answer in time, or a server error.
        ProviderBusy: the rate is limited; `retry_after_seconds` is the server's wish.
        QuotaExhausted, KeyRefused, ModelNotFound: the account, the key, the model.
        TextTooLong, TextRefused: (at least) one of the texts is at fault.
        AnswerInvalid: what came back is not one vector for each text.
    """

    def __init__(
        self, *, server: OpenAIServer, model: str, first_timeout_seconds: float, timeout_seconds: float
    ) -> None:
        self._server = server
        self._model = model
        self._patience = Patience(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
        self._format: Literal["base64", "float"] = "base64"

    @property
    @override
    def shown(self) -> str:
        """Its URL."""
        return self._server.name.shown

    @override
    async def ask(self, texts: list[str]) -> Answer:
        """One vector for each text, as the server gives it."""
        form = self._format
        try:
            raw = await self._server.ask(
                # The texts as `extra_body`, for else the client walks over each of them, which takes longer than all
                # that is done here.
                lambda client: client.embeddings.with_raw_response.create(
                    model=self._model, input="", encoding_format=form, extra_body={"input": texts}
                ),
                patience=self._patience,
                model=self._model,
                texts=texts,
            )
        except WinnowError as error:
            if form == "base64" and "encoding_format" in str(error):
                self._format = "float"
                return await self.ask(texts)
            raise
        answer = decode_answer(raw.content, expected=len(texts))
        self._patience.answered()
        return replace(answer, limits=rate_limits(raw.headers))

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._server.close()


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
