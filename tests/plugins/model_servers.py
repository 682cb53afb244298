"""Model servers that speak Ollama's and OpenAI's real protocols on loopback, and misbehave on demand.

    async def test_something(ollama_server):
        ollama_server.fail_next("busy", "eof")            # the next two requests; then well again
        ollama_server.behave("slow", delay_seconds=5)     # from now on, until behave(None)
        ollama_server.poison("🐉", "nan")                 # whenever a text holds this

They are plain threads and sockets, so any process on this machine can use them by `.url`. Vectors come from
`vector_of`: the same text always has the same one, and texts that share words are near each other.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from typing_extensions import override

from plugins._wire import Listener, Reply, json_reply
from plugins.misbehaviour import REFUSALS, Behaviour, RecordedRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from plugins.misbehaviour import Misbehaviour


class ModelServer:
    """What both servers share: they listen, record, and do as they are told.

    Attributes:
        url: what the setting wants (`WINNOW_OLLAMA_URL`, `WINNOW_OPENAI_URL`).
        dimensions: length of the vectors; may be changed at any time.
        models: names that exist; None: every name does.
        delay_seconds: every answer takes so long.
        max_texts: more texts in one request are refused as text-embeddings-inference does (413).
        max_characters: a longer text is refused as too long.
        api_key: if set, another one is refused.
        requests: every embedding request, in order of arrival.
        answered: how often a good answer held a valid vector of a text: what has been paid for.
        in_flight_most: the most requests that were worked at once.
    """

    def __init__(self, *, dimensions: int = 64) -> None:
        self.dimensions = dimensions
        self.models: set[str] | None = None
        self.delay_seconds = 0.0
        self.max_texts: int | None = None
        self.max_characters: int | None = None
        self.api_key: str | None = None
        self.requests: list[RecordedRequest] = []
        self.answered: Counter[str] = Counter()
        self.in_flight_most = 0
        self._in_flight = 0
        self._next: list[Behaviour] = []
        self._always: Behaviour | None = None
        self._poisons: dict[str, Behaviour] = {}
        self._lock = threading.Lock()
        self._server: Listener | None = None
        self._port = 0

    # telling it what to do
    def fail_next(self, *names: Misbehaviour, **details: Any) -> None:
        """Each of the next embedding requests misbehaves once, in this order."""
        with self._lock:
            self._next.extend(Behaviour(name, **details) for name in names)

    def behave(self, name: Misbehaviour | None, **details: Any) -> None:
        """All requests misbehave so from now on; None: well again."""
        with self._lock:
            self._next.clear()
            self._always = None if name is None else Behaviour(name, **details)

    def poison(self, words: str, name: Misbehaviour, **details: Any) -> None:
        """Requests with a text that holds `words` misbehave so, always."""
        with self._lock:
            self._poisons[words] = Behaviour(name, poison=words, **details)

    @property
    def texts(self) -> list[str]:
        """All texts of all requests, in order of arrival."""
        return [text for request in list(self.requests) for text in request.texts]

    def vector(self, text: str) -> NDArray[np.float32]:
        """What this server answers for the text."""
        return vector_of(text, self.dimensions)

    # being there
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listens; on the same port as before when it was stopped."""
        self._server = Listener(("127.0.0.1", self._port), self.handle)
        self._port = self._server.server_address[1]
        serve = functools.partial(self._server.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, name=f"model-server-{self._port}", daemon=True).start()

    def stop(self) -> None:
        """Refuses connections and cuts the open ones, as a killed server does; `start` brings it back."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut_connections()
            self._server = None

    # working
    def handle(self, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        """The reply to one request."""
        if not self._embeds(path):
            return self._about(path, body)
        texts = body.get("input", [])
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        return self._work(RecordedRequest(method, path, headers, body, texts))

    def _work(self, request: RecordedRequest) -> Reply:
        with self._lock:
            self.requests.append(request)
            behaviour = self._behaviour_for(request.texts)
            self._in_flight += 1
            self.in_flight_most = max(self.in_flight_most, self._in_flight)
        try:
            time.sleep(self.delay_seconds + (behaviour.delay_seconds if behaviour and behaviour.name == "slow" else 0))
            return self._reply(request.texts, request.headers, request.body, behaviour)
        finally:
            with self._lock:
                self._in_flight -= 1

    def _behaviour_for(self, texts: Sequence[str]) -> Behaviour | None:
        if self._next:
            return self._next.pop(0)
        for words, behaviour in self._poisons.items():
            if any(words in text for text in texts):
                return behaviour
        return self._always

    def _reply(
        self, texts: Sequence[str], headers: Mapping[str, str], body: dict[str, Any], behaviour: Behaviour | None
    ) -> Reply:
        name = behaviour.name if behaviour else self._own_refusal(texts, headers, body)
        refused = REFUSALS.get(name) if name else None
        if name and refused:
            status, words = refused
            words = (behaviour.words if behaviour else None) or words.format(model=body.get("model"), count=len(texts))
            extra = {"retry-after": "7"} if name == "rate_limited" else {}
            return self._error(status, words, name, extra | (behaviour.headers if behaviour else {}))
        if name == "redirect":
            location = {"location": "http://127.0.0.1:9/elsewhere"}
            return Reply(307, b"", headers=location | (behaviour.headers if behaviour else {}))
        if name == "web_page":
            return Reply(200, b"<!doctype html><title>Sign in</title>", headers={"content-type": "text/html"})
        if name == "dropped":
            return Reply(0, b"")
        spoiled = behaviour.spoiled(texts) if behaviour else 0
        vectors = self._vectors(texts, name, spoiled)
        reply = self._answer(texts, vectors, body, name)
        if name == "cut":
            return Reply(reply.status, reply.content, cut=True)
        with self._lock:
            self.answered.update(self._paid(texts, name, spoiled))
        return reply

    def _paid(self, texts: Sequence[str], name: Misbehaviour | None, spoiled: int) -> Sequence[str]:
        """The texts that got a valid vector which can be told to be theirs."""
        if name in ("nan", "zero", "wrong_dimension"):
            return [*texts[:spoiled], *texts[spoiled + 1 :]]
        return () if name in ("wrong_count", "same_index") else texts

    def _own_refusal(
        self, texts: Sequence[str], headers: Mapping[str, str], body: dict[str, Any]
    ) -> Misbehaviour | None:
        if self.api_key is not None and headers.get("authorization") != f"Bearer {self.api_key}":
            return "key_refused"
        if self.models is not None and body.get("model") not in self.models:
            return "model_missing"
        if self.max_texts is not None and len(texts) > self.max_texts:
            return "too_large"
        if self.max_characters is not None and any(len(text) > self.max_characters for text in texts):
            return "too_long"
        return None

    def _vectors(self, texts: Sequence[str], name: Misbehaviour | None, spoiled: int) -> list[list[float]]:
        vectors = [self.vector(text).tolist() for text in texts]
        if name == "nan":
            vectors[spoiled][0] = float("nan")
        elif name == "zero":
            vectors[spoiled] = [0.0] * self.dimensions
        elif name == "wrong_count":
            vectors.pop()
        elif name == "wrong_dimension":
            vectors[spoiled].pop()
        return vectors

    # the two protocols
    def _embeds(self, path: str) -> bool:
        raise NotImplementedError

    def _about(self, path: str, body: dict[str, Any]) -> Reply:
        raise NotImplementedError

    def _answer(
        self, texts: Sequence[str], vectors: list[list[float]], body: dict[str, Any], name: Misbehaviour | None
    ) -> Reply:
        raise NotImplementedError

    def _error(self, status: int, words: str, name: Misbehaviour, headers: dict[str, str]) -> Reply:
        raise NotImplementedError


class OllamaServer(ModelServer):
    """Ollama as it is: embeds blank texts without a word, answers in order, knows `:latest`."""

    @override
    def _embeds(self, path: str) -> bool:
        return path == "/api/embed"

    @override
    def _about(self, path: str, body: dict[str, Any]) -> Reply:
        names = sorted(self.models or {"nomic-embed-text"})
        if path == "/api/version":
            return json_reply({"version": "0.12.0"})
        if path == "/api/tags":
            return json_reply({"models": [{"name": f"{name}:latest", "model": f"{name}:latest"} for name in names]})
        if path == "/api/show" and self.models is not None and body.get("model") not in self.models:
            return self._error(404, f"model '{body.get('model')}' not found", "model_missing", {})
        if path == "/api/show":
            return json_reply({"capabilities": ["embedding"], "model_info": {"x.embedding_length": self.dimensions}})
        return Reply(404, b"404 page not found", headers={"content-type": "text/plain"})

    @override
    def _answer(
        self, texts: Sequence[str], vectors: list[list[float]], body: dict[str, Any], name: Misbehaviour | None
    ) -> Reply:
        tokens = sum(_tokens(text) for text in texts)
        return json_reply({"model": body.get("model"), "embeddings": vectors, "prompt_eval_count": tokens})

    @override
    def _error(self, status: int, words: str, name: Misbehaviour, headers: dict[str, str]) -> Reply:
        if name == "not_found":
            return Reply(404, words.encode(), headers={"content-type": "text/plain"})
        return json_reply({"error": words}, status=status, headers=headers)


class OpenAIServer(ModelServer):
    """OpenAI as it is: base64 when wished for, an `index` beside each vector, no empty strings."""

    @property
    @override
    def url(self) -> str:
        return f"{super().url}/v1"

    @override
    def _embeds(self, path: str) -> bool:
        return path == "/v1/embeddings"

    @override
    def _about(self, path: str, body: dict[str, Any]) -> Reply:
        if path == "/v1/models":
            names = sorted(self.models or {"text-embedding-3-small"})
            return json_reply({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        return json_reply({"error": {"message": f"Invalid URL (POST {path})"}}, status=404)

    @override
    def _own_refusal(
        self, texts: Sequence[str], headers: Mapping[str, str], body: dict[str, Any]
    ) -> Misbehaviour | None:
        if any(not text for text in texts):
            return "refused"
        return super()._own_refusal(texts, headers, body)

    @override
    def _paid(self, texts: Sequence[str], name: Misbehaviour | None, spoiled: int) -> Sequence[str]:
        return texts[:-1] if name == "wrong_count" else super()._paid(texts, name, spoiled)

    @override
    def _answer(
        self, texts: Sequence[str], vectors: list[list[float]], body: dict[str, Any], name: Misbehaviour | None
    ) -> Reply:
        as_base64 = body.get("encoding_format") == "base64" and name != "floats"
        data = [
            {
                "object": "embedding",
                "index": 0 if name == "same_index" else index,
                "embedding": base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
                if as_base64
                else vector,
            }
            for index, vector in enumerate(vectors)
        ]
        if name == "shuffled":
            data.reverse()
        tokens = sum(_tokens(text) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json_reply({"object": "list", "data": data, "model": body.get("model"), "usage": usage})

    @override
    def _error(self, status: int, words: str, name: Misbehaviour, headers: dict[str, str]) -> Reply:
        codes = {
            "no_quota": "insufficient_quota",
            "rate_limited": "rate_limit_exceeded",
            "key_refused": "invalid_api_key",
            "model_missing": "model_not_found",
        }
        error = {"message": words, "type": codes.get(name, "invalid_request_error"), "code": codes.get(name)}
        return json_reply({"error": error}, status=status, headers=headers)


def vector_of(text: str, dimensions: int) -> NDArray[np.float32]:
    """The fake models' vector: the mean of its words' (repeatable, random) directions, of length 1."""
    words = re.findall(r"\w+", text.lower()) or [text]
    total = np.sum([_direction(word, dimensions) for word in words], axis=0)
    return cast("NDArray[np.float32]", (total / np.linalg.norm(total)).astype(np.float32))


@functools.lru_cache(maxsize=100_000)
def _direction(word: str, dimensions: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
    return np.random.default_rng(seed).standard_normal(dimensions)


def _tokens(text: str) -> int:
    return len(text.split()) + 1


@pytest.fixture
def ollama_server() -> Iterator[OllamaServer]:
    """A fake Ollama on a free port of 127.0.0.1."""
    server = OllamaServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    """A fake OpenAI-compatible server on a free port of 127.0.0.1."""
    server = OpenAIServer()
    server.start()
    yield server
    server.stop()
