"""Embeddings from an Ollama server, through its official client (`/api/embed`)."""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus as Status
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import orjson
from typing_extensions import override

from winnow.domain.spaces import EmbedderIdentity
from winnow.errors import (
    AnswerInvalid,
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    SetupFault,
    TextTooLong,
    WinnowError,
)
from winnow.providers.base import Embedder, EmbeddingResult, InputType
from winnow.providers.checking import checked_vectors
from winnow.providers.line import Line
from winnow.providers.models import with_prefix
from winnow.providers.patience import Patience, no_answer_within
from winnow.providers.portions import Answer, PortionedRequests, RequestLimits
from winnow.providers.refusals import server_words, translate_common

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from winnow.providers.address import ServerAddress

# Ollama works the texts of a request one by one. Small requests cost it nothing, and on a slow machine they are
# answered within the timeout where one of hundreds of texts never would be.
LIMITS = RequestLimits(texts=32, size_bytes=64 * 1024)
REQUESTS_IN_FLIGHT = 2
CONNECT_SECONDS = 10
KEEP_ALIVE = "30m"

_RUNNER_DIED = re.compile(r"\bEOF\b")  # do embedding request: Post "http://127.0.0.1:33967/embedding": EOF


class OllamaEmbedder(Embedder):
    """Embeds with a model of an Ollama server; at most two requests are in flight, each of up to 32 texts.

    Texts are never cut silently: `truncate` is off, so one that is too long is refused by the server.

    Args:
        address: of the server; the environment's `OLLAMA_HOST` and `OLLAMA_API_KEY` are not read.
        model: as `ollama list` names it.
        first_timeout_seconds: for one answer while the model may have to be loaded.
        timeout_seconds: for one answer otherwise.

    Raises:
        ProviderUnavailable: no connection, no answer in time, or a server error.
        ProviderBusy: the server's queue is full.
        ModelNotFound: the model was not pulled.
        TextTooLong: a text is longer than the model's context (or a runner died, which Ollama shows as EOF).
        TextRefused: the model computes NaN for a text, or the server refuses it otherwise.
        AnswerInvalid: what came back is not one vector for each text.
    """

    def __init__(
        self,
        *,
        address: ServerAddress,
        model: str,
        document_prefix: str,
        query_prefix: str,
        first_timeout_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._address = address
        self._identity = EmbedderIdentity(
            provider="ollama",
            model=model.removesuffix(":latest"),  # Ollama's own default: one model, one vector space
            document_prefix=document_prefix,
            query_prefix=query_prefix,
        )
        self._patience = Patience(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
        self._requests = PortionedRequests(self._ask, limits=LIMITS, line=Line(at_once=REQUESTS_IN_FLIGHT))
        self._client = _RawClient(
            host=address.url,
            auth=_OnlyTheseCredentials(address),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # the whole answer's time is kept in _ask
            trust_env=not address.is_loopback,  # a proxy cannot reach this machine's own loopback
            follow_redirects=False,  # texts go to the server that was chosen, to no other
        )

    @property
    @override
    def identity(self) -> EmbedderIdentity:
        """The model without `:latest`, and the prefixes in use."""
        return self._identity

    @override
    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        """One vector for each text, as the server gives it (unit length with current versions)."""
        prefixed = with_prefix(texts, self._identity, input_type)
        answer = await self._requests.answer(prefixed, is_patient=input_type != "query")
        return EmbeddingResult(vectors=answer.vectors, model=self._identity.model, tokens=answer.tokens)

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def _ask(self, texts: list[str]) -> Answer:
        seconds = self._patience.seconds
        try:
            async with asyncio.timeout(seconds):
                content = await self._client.embed_raw(
                    {"model": self._identity.model, "input": texts, "truncate": False, "keep_alive": KEEP_ALIVE}
                )
        except ollama.ResponseError as error:
            raise self._refusal(error, texts) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            self._patience.unanswered()
            raise ProviderUnavailable(no_answer_within(seconds, shown=self._shown)) from error
        except (ConnectionError, httpx.HTTPError, AttributeError) as error:
            # AttributeError: the client trips over an error whose body is JSON but no object; a gateway's, then.
            self._patience.unanswered()
            raise ProviderUnavailable(f"{self._shown} does not answer; start it with: ollama serve") from error
        answer = decode_answer(content, expected=len(texts), shown=self._shown)
        self._patience.answered()
        return answer

    @property
    def _shown(self) -> str:
        return f"Ollama at {self._address.shown}"

    def _refusal(self, error: ollama.ResponseError, texts: Sequence[str]) -> WinnowError:
        words = server_words(error.error, texts=texts)
        refused = translate_refusal(error.status_code, words, shown=self._shown, model=self._identity.model)
        if isinstance(refused, ProviderUnavailable):
            self._patience.unanswered()
        return refused


def decode_answer(content: bytes, *, expected: int, shown: str) -> Answer:
    """The vectors in the body of an answer, in the order of the texts.

    Raises:
        SetupFault: it is a web page.
        AnswerInvalid: there are no vectors in it, or another number of them than texts.
        SomeInvalid: some texts got no usable vector.
    """
    if content.lstrip().startswith(b"<"):
        raise SetupFault(f"{shown} answers with a web page; set WINNOW_OLLAMA_URL to an Ollama server")
    try:
        body = _json(content)
        vectors, tokens = body["embeddings"], body.get("prompt_eval_count")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        vectors = tokens = None
    if not isinstance(vectors, list):  # raised out here, for a cause would carry what the server wrote into the log
        raise AnswerInvalid(f"{shown} gave an answer without readable vectors")
    checked = checked_vectors(vectors, expected=expected)
    return Answer(vectors=checked, tokens=tokens if type(tokens) is int else None)


def _json(content: bytes) -> Any:
    """NaN and Infinity are no JSON, but servers that take Ollama's place write them, and the other vectors are good."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


class _RawClient(ollama.AsyncClient):
    """The client, but for its reading of answers: numbers by way of json and pydantic take three times as long."""

    async def embed_raw(self, body: Mapping[str, object]) -> bytes:
        """The body of the answer of `/api/embed`; raises as the client's own methods do."""
        response: httpx.Response = await self._request_raw("POST", "/api/embed", json=body)  # type: ignore[no-untyped-call]
        return response.content


class _OnlyTheseCredentials(httpx.Auth):
    """Sends the address's own credentials or none: the client would add `OLLAMA_API_KEY` of the environment."""

    def __init__(self, address: ServerAddress) -> None:
        self._basic_auth = address.basic_auth

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.pop("Authorization", None)
        if self._basic_auth is not None:
            request.headers["Authorization"] = self._basic_auth.get_secret_value()
        yield request


def translate_refusal(status: int, words: str, *, shown: str, model: str) -> WinnowError:
    """What an error answer of Ollama means. `words` is the server's own sentence, `shown` its name in messages."""
    if status in (Status.SERVICE_UNAVAILABLE, Status.TOO_MANY_REQUESTS):
        return ProviderBusy(f"{shown} is busy: {words or status}")
    if status in (Status.UNAUTHORIZED, Status.FORBIDDEN):
        return KeyRefused(f"{shown} refuses the credentials; put them in WINNOW_OLLAMA_URL: http://user:password@host")
    if status == Status.NOT_FOUND and "model" in words.lower():
        return ModelNotFound(f"{shown} does not have the model {model}; run: ollama pull {model}")
    if status == Status.NOT_FOUND:
        return SetupFault(
            f"{shown} has no /api/embed: it is no Ollama server, or one older than 0.3; check WINNOW_OLLAMA_URL, or "
            "update Ollama"
        )
    if status == Status.INTERNAL_SERVER_ERROR and _RUNNER_DIED.search(words):
        return TextTooLong(f"{shown}: the model's process died of this text, as it does when one is too long")
    return translate_common(status, words, shown=shown)
