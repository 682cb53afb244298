"""Embeddings from OpenAI and the servers that speak its protocol, through the official client (`/v1/embeddings`)."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from http import HTTPStatus as Status
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import openai
import orjson
from typing_extensions import override

from winnow.domain.spaces import EmbedderIdentity
from winnow.errors import (
    AnswerInvalid,
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    QuotaExhausted,
    SetupFault,
    WinnowError,
)
from winnow.providers.base import Embedder, EmbeddingResult, InputType
from winnow.providers.checking import checked_vectors
from winnow.providers.models import with_prefix
from winnow.providers.patience import Patience, no_answer_within
from winnow.providers.portions import Answer, BatchRefused, PortionedRequests, RequestLimits
from winnow.providers.refusals import batch_cap, retry_after_seconds, server_words, translate_common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pydantic import SecretStr

    from winnow.providers.address import ServerAddress

# OpenAI takes 2,048 texts and 300,000 tokens in a request, and judges the tokens by about a quarter of the bytes.
LIMITS = RequestLimits(texts=2048, size_bytes=4 * 300_000)
CONNECT_SECONDS = 10

# What the client would add to a request from the environment (OPENAI_API_KEY, OPENAI_ORG_ID, OPENAI_PROJECT_ID).
_ACCOUNT_HEADERS = ("Authorization", "OpenAI-Organization", "OpenAI-Project")

# Google's compatible endpoint answers 400 to a wrong key.
_BAD_KEY = "API key not valid"
_ABOUT_THE_BATCH = (Status.BAD_REQUEST, Status.REQUEST_ENTITY_TOO_LARGE, Status.UNPROCESSABLE_ENTITY)


class OpenAIEmbedder(Embedder):
    """Embeds with a model of OpenAI or a compatible server (vLLM, llama.cpp, text-embeddings-inference, LM Studio).

    Vectors travel as base64 and are decoded here; from a server that sends numbers all the same they are read, too.
    A server that takes fewer texts in a request than OpenAI says so once; the number is remembered.

    Args:
        address: of the server, up to and with `/v1`; the environment's `OPENAI_BASE_URL` is not read.
        model: as the server names it.
        api_key: sent to this address only; None sends none.
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
        address: ServerAddress,
        model: str,
        api_key: SecretStr | None,
        document_prefix: str,
        query_prefix: str,
        first_timeout_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._address = address
        self._api_key = api_key
        self._identity = EmbedderIdentity(
            provider="openai", model=model, document_prefix=document_prefix, query_prefix=query_prefix
        )
        self._patience = Patience(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
        self._requests = PortionedRequests(self._ask, limits=LIMITS)
        self._format: Literal["base64", "float"] = "base64"
        timeout = openai.Timeout(None, connect=CONNECT_SECONDS)  # the whole answer's time is kept in _ask
        self._client = openai.AsyncOpenAI(
            api_key="set by _set_account",  # never None: the client would look for one in the environment
            base_url=address.url,
            max_retries=0,  # retries have one owner, and it is not the client
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=timeout,
                trust_env=not address.is_loopback,  # a proxy cannot reach this machine's own loopback
                follow_redirects=False,  # texts go to the server that was chosen, to no other
                event_hooks={"request": [self._set_account]},
            ),
        )

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
        await self._client.close()

    async def _set_account(self, request: Any) -> None:
        for name in _ACCOUNT_HEADERS:
            request.headers.pop(name, None)
        if self._api_key is not None:
            request.headers["Authorization"] = f"Bearer {self._api_key.get_secret_value()}"
        elif self._address.basic_auth is not None:
            request.headers["Authorization"] = self._address.basic_auth.get_secret_value()

    async def _ask(self, texts: list[str]) -> Answer:
        seconds = self._patience.seconds
        try:
            async with asyncio.timeout(seconds):
                raw = await self._client.embeddings.with_raw_response.create(
                    model=self._identity.model, input=texts, encoding_format=self._format
                )
        except openai.APIStatusError as error:
            if self._format == "base64" and "encoding_format" in error.message:
                self._format = "float"
                return await self._ask(texts)
            refused = self._refusal(error, texts)
            raise refused from (None if self._shows_key(error) else error)
        except (TimeoutError, openai.APITimeoutError) as error:
            self._patience.unanswered()
            raise ProviderUnavailable(no_answer_within(seconds, shown=self._address.shown)) from error
        except openai.OpenAIError as error:
            self._patience.unanswered()
            raise ProviderUnavailable(
                f"the model server {self._address.shown} does not answer; start it, or check WINNOW_OPENAI_URL"
            ) from error
        if "html" in raw.headers.get("content-type", ""):
            raise SetupFault(f"{self._address.shown} answers with a web page; does WINNOW_OPENAI_URL end in /v1?")
        answer = decode_answer(raw.content, expected=len(texts))
        self._patience.answered()
        return answer

    def _refusal(self, error: openai.APIStatusError, texts: Sequence[str]) -> Exception:
        secrets = [self._api_key.get_secret_value()] if self._api_key else []
        words = server_words(error.body, secrets=secrets, texts=texts)
        if error.status_code in _ABOUT_THE_BATCH and (cap := batch_cap(words, sent=len(texts))):
            return BatchRefused(cap)
        refused = translate_refusal(
            error.status_code,
            words,
            codes=f"{error.code} {error.type}",
            shown=self._address.shown,
            model=self._identity.model,
            retry_after=retry_after_seconds(error.response.headers, now=datetime.now(UTC)),
        )
        if isinstance(refused, ProviderUnavailable):
            self._patience.unanswered()
        return refused

    def _shows_key(self, error: openai.APIStatusError) -> bool:
        return self._api_key is not None and self._api_key.get_secret_value() in f"{error} {error.body}"


def translate_refusal(
    status: int, words: str, *, codes: str, shown: str, model: str, retry_after: float | None
) -> WinnowError:
    """What an error answer of an OpenAI-compatible server means.

    Args:
        status: HTTP status.
        words: the server's own sentence, without secrets.
        codes: the error's `code` and `type`, as far as there are any.
        shown: the server's URL as messages may show it.
        model: the one asked for.
        retry_after: the server's wish in seconds.
    """
    if status == Status.PAYMENT_REQUIRED or "insufficient_quota" in codes:
        return QuotaExhausted(f"the account at {shown} has no quota left; add credit there")
    if status in (Status.TOO_MANY_REQUESTS, Status.SERVICE_UNAVAILABLE):
        return ProviderBusy(f"{shown} is busy or limits the rate: {words or status}", retry_after_seconds=retry_after)
    if status in (Status.UNAUTHORIZED, Status.FORBIDDEN) or "invalid_api_key" in codes or _BAD_KEY in words:
        return KeyRefused(f"{shown} refuses the API key ({status}); check WINNOW_OPENAI_API_KEY")
    if status == Status.NOT_FOUND or "model_not_found" in codes:
        hint = f"check the model's name ({model}) and that WINNOW_OPENAI_URL ends in /v1"
        return ModelNotFound(f"{shown} does not have this: {words or status}; {hint}")
    return translate_common(status, words, shown=shown)


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
