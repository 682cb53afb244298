"""Embeddings from an Ollama server, through its official client (`/api/embed`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from winnow.errors import AnswerInvalid
from winnow.providers.batching import RequestLimits
from winnow.providers.checking import checked_vectors
from winnow.providers.endpoint import Answer, Endpoint
from winnow.providers.ollama_client import KEEP_ALIVE
from winnow.providers.patience import Patience

if TYPE_CHECKING:
    from winnow.providers.address import ServerName
    from winnow.providers.ollama_client import OllamaServer

# Ollama works the texts of a request one by one. Small requests cost it nothing, and on a slow machine they are
# answered within the timeout where one of hundreds of texts never would be. 64 KiB of text.
LIMITS = RequestLimits(texts=32, tokens=16 * 1024)


# Ollama loads a model with 2,048 or 4,096 tokens of context unless told, however much the model could read, and refuses
# longer texts. Another size than before has it load the model again, so it is told only where it must be; and memory
# grows with it, so not all of what a model with 32k could read.
LEAST_CONTEXT = 2048
MOST_CONTEXT = 8192


class OllamaEndpoint(Endpoint):
    """A model of an Ollama server. Texts are never cut silently: `truncate` is off, so too long ones are refused.

    Args:
        server: asked, and closed with the endpoint.
        model: as `ollama list` names it.
        first_timeout_seconds: for one answer while the model may have to be loaded.
        timeout_seconds: for one answer otherwise.
        context: tokens that a text may have; None: as many as the server happens to take.

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
        server: OllamaServer,
        model: str,
        first_timeout_seconds: float,
        timeout_seconds: float,
        context: int | None = None,
    ) -> None:
        self._server = server
        self._model = model
        self._patience = Patience(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
        self._options = {"options": {"num_ctx": context}} if context and context > LEAST_CONTEXT else {}

    @property
    @override
    def shown(self) -> str:
        """`Ollama at` its URL."""
        return self._server.name.shown

    @override
    async def ask(self, texts: list[str]) -> Answer:
        """One vector for each text, as the server gives it (unit length with current versions)."""
        body: dict[str, object] = {"model": self._model, "input": texts, "truncate": False, "keep_alive": KEEP_ALIVE}
        body |= self._options
        content = await self._server.post("/api/embed", body, patience=self._patience, texts=texts)
        answer = decode_answer(content, expected=len(texts), server=self._server.name)
        self._patience.answered()
        return answer

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._server.close()


def decode_answer(content: bytes, *, expected: int, server: ServerName) -> Answer:
    """The vectors in the body of an answer, in the order of the texts.

    Raises:
        AnswerInvalid: there are no vectors in it, or another number of them than texts.
        SomeInvalid: some texts got no usable vector.
    """
    try:
        body = _json(content)
        vectors, tokens = body["embeddings"], body.get("prompt_eval_count")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        vectors = tokens = None
    if not isinstance(vectors, list):  # raised out here, for a cause would carry what the server wrote into the log
        raise AnswerInvalid(f"{server.shown} gave an answer without readable vectors")
    checked = checked_vectors(vectors, expected=expected)
    return Answer(vectors=checked, tokens=tokens if type(tokens) is int else None)


def _json(content: bytes) -> Any:
    """NaN and Infinity are no JSON, but servers that take Ollama's place write them, and the other vectors are good."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)
