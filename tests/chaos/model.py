"""Model servers that misbehave by a seeded plan, and keep the record of what was paid for.

A text is paid for when an answer with status 200, sent to its last byte, held a valid vector that can be told to be its
own. Whoever asks names itself by its credentials, so that each payment has a payer: the API key for OpenAI, the user of
the address for Ollama.
"""

from __future__ import annotations

import base64
import bisect
import functools
import itertools
import math
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal, cast

from typing_extensions import override

from plugins._wire import Handle, Listener, Reply, _Handler
from plugins.misbehaviour import Behaviour, Misbehaviour
from plugins.model_servers import ModelServer, OllamaServer, OpenAIServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Mishap = Literal[
    "429",  # without Retry-After
    "429 after",  # with it, in seconds
    "429 date",  # with it, as a date
    "503",
    "500",
    "404",  # the model is missing
    "400",  # of the whole request, for no text's fault
    "NaN",  # in the last vector
    "EOF",  # half of the answer, then the end
    "short",  # one vector too few
    "order",  # the last first, told by `index`: OpenAI's protocol only
    "hang",  # no answer at all
    "slow",  # a good answer, late
    "dimension",  # vectors of another length
]
CONTROL_WORD = "dimension"
RETRY_AFTER_SECONDS = 1
# A server refuses a text that holds REFUSED whenever it comes, and computes NaN for one that holds NAN.
REFUSED, NAN = "refusedword", "nanword"


@dataclass(frozen=True)
class Plan:
    """Which requests go wrong, and how: for each request number the same with the same seed."""

    seed: int
    weights: Mapping[Mishap, float]
    share: float

    def mishap(self, number: int) -> Mishap | None:
        """What befalls the request of this number; None: nothing."""
        chance = random.Random(f"{self.seed}:{number}")
        if chance.random() >= self.share:
            return None
        names, sums = list(self.weights), list(itertools.accumulate(self.weights.values()))
        return names[bisect.bisect(sums, chance.random() * sums[-1])]


@dataclass
class Asked:
    """One request: who asked, for what, and what came of it. Times are those of `time.time`."""

    number: int
    asker: str
    texts: tuple[str, ...]
    received: float
    answer: str = "well"
    valid: tuple[str, ...] = ()
    sent: float | None = None

    @property
    def paid(self) -> tuple[str, ...]:
        """The texts that were paid for, each as often as it was answered."""
        return self.valid if self.sent is not None else ()


class ChaosServer(ModelServer):
    """A model server with a plan and a record.

    Attributes:
        asked: every embedding request, in order of arrival.
        delay_seconds: what every answer takes, but that to the control word.
        plan: what goes wrong by itself; None: nothing.
        hang_seconds: how long a request that hangs is held before its connection is closed.
        slow_seconds: what a slow answer takes longer.
        on_asked: called with each request before it is answered, in its own thread.
    """

    def __init__(self, *, dimensions: int = 32) -> None:
        super().__init__(dimensions=dimensions)
        self.asked: list[Asked] = []
        self.plan: Plan | None = None
        self.hang_seconds = 6.0
        self.slow_seconds = 0.7
        self.on_asked: Callable[[Asked], None] | None = None
        self._soon: list[Mishap] = []
        self._mine = threading.local()

    def next(self, *mishaps: Mishap) -> None:
        """Each of the next requests goes wrong so, whatever the plan says."""
        with self._lock:
            self._soon.extend(mishaps)

    @property
    def paid(self) -> Counter[str]:
        """How often each text was paid for; the control word does not count."""
        paid = Counter(text for asked in list(self.asked) for text in asked.paid)
        del paid[CONTROL_WORD]
        return paid

    @property
    def answers(self) -> Counter[str]:
        """How many requests were answered how."""
        return Counter(asked.answer for asked in list(self.asked))

    def asked_by(self, asker: str) -> list[Asked]:
        """The requests of one process; the control word is none."""
        return [asked for asked in list(self.asked) if asked.asker == asker and asked.texts != (CONTROL_WORD,)]

    def variables(self, asker: str) -> dict[str, str]:
        """The settings by which a process asks this server, under its own name."""
        raise NotImplementedError

    @override
    def start(self) -> None:
        self._server = _Recorder(("127.0.0.1", self._port), self.handle, self._sent)
        self._port = self._server.server_address[1]
        serve = functools.partial(self._server.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, name=f"chaos-model-server-{self._port}", daemon=True).start()

    @override
    def handle(self, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        self._mine.asked = None
        if not self._embeds(path):
            return self._about(path, body)
        asked, mishap = self._note(headers, body)
        if self.on_asked is not None:
            self.on_asked(asked)
        thinks = 0.0 if asked.texts == (CONTROL_WORD,) else self.delay_seconds
        time.sleep(thinks + (self.slow_seconds if mishap == "slow" else 0))
        self._mine.asked = asked
        return self._embed(asked, mishap, headers, body)

    def _note(self, headers: Mapping[str, str], body: dict[str, Any]) -> tuple[Asked, Mishap | None]:
        texts = body.get("input", [])
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        with self._lock:
            asked = Asked(len(self.asked), _asker(headers), texts, time.time())
            self.asked.append(asked)
            mishap = self._soon.pop(0) if self._soon else self.plan.mishap(asked.number) if self.plan else None
        return asked, mishap

    def _embed(self, asked: Asked, mishap: Mishap | None, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        refused = next((text for text in asked.texts if REFUSED in text), None)
        if refused is not None and mishap in (None, "slow", "order", "NaN", "short"):
            asked.answer = "refused"
            return self._error(400, "'$.input' is invalid.", "refused", {})
        asked.answer = mishap or "well"
        match mishap:
            case "429" | "429 after" | "429 date":
                return self._error(429, "Rate limit reached", "rate_limited", _wish(mishap))
            case "503" | "500" | "404" | "400":
                return self._reply(asked.texts, headers, body, Behaviour(_REFUSALS[mishap]))
            case "hang":
                time.sleep(self.hang_seconds)
                return Reply(0, b"")
            case _:
                return self._vectors_for(asked, mishap, body)

    def _vectors_for(self, asked: Asked, mishap: Mishap | None, body: dict[str, Any]) -> Reply:
        longer = 8 if mishap == "dimension" else 0
        vectors = [_vector(self, text, longer) for text in asked.texts]
        if mishap == "NaN":
            vectors[-1][0] = float("nan")
        told = self._told_apart(asked.texts) if mishap == "short" else asked.texts
        valid = tuple(text for text, vector in zip(told, vectors, strict=False) if not math.isnan(vector[0]))
        asked.valid = () if mishap in ("dimension", "EOF") else valid
        if mishap == "short":
            vectors.pop()
        reply = self._answer(asked.texts, vectors, body, "shuffled" if mishap == "order" else None)
        return Reply(reply.status, reply.content, reply.headers, cut=mishap == "EOF")

    def _told_apart(self, texts: Sequence[str]) -> Sequence[str]:
        """The texts whose vectors can be told, when the last one is missing from the answer."""
        raise NotImplementedError

    def _sent(self) -> None:
        """The answer of this thread's request has left to its last byte."""
        asked: Asked | None = getattr(self._mine, "asked", None)
        if asked is not None:
            asked.sent = time.time()


_REFUSALS: dict[str, Misbehaviour] = {"503": "busy", "500": "broken", "404": "model_missing", "400": "refused"}


def _wish(mishap: Mishap) -> dict[str, str]:
    if mishap == "429 date":
        return {"retry-after": formatdate(time.time() + RETRY_AFTER_SECONDS, usegmt=True)}
    return {"retry-after": str(RETRY_AFTER_SECONDS)} if mishap == "429 after" else {}


def _vector(server: ChaosServer, text: str, longer: int) -> list[float]:
    vector = [float(number) for number in server.vector(text)] + [1.0] * longer
    if NAN in text:
        vector[0] = float("nan")
    return vector


def _asker(headers: Mapping[str, str]) -> str:
    """Whose request it is: the user of `Basic`, or the key of `Bearer`."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme == "Basic":
        return base64.b64decode(rest).decode().partition(":")[0]
    return rest


class ChaosOllama(OllamaServer, ChaosServer):
    """Ollama. Nothing in its answer but the order says which vector is whose."""

    @override
    def variables(self, asker: str) -> dict[str, str]:
        return {"WINNOW_EMBEDDER": "ollama:all-minilm", "WINNOW_OLLAMA_URL": f"http://{asker}:x@127.0.0.1:{self._port}"}

    @override
    def _told_apart(self, texts: Sequence[str]) -> Sequence[str]:
        return ()


class ChaosOpenAI(OpenAIServer, ChaosServer):
    """OpenAI. An `index` stands beside each vector."""

    tells_order = True

    @override
    def variables(self, asker: str) -> dict[str, str]:
        return {
            "WINNOW_EMBEDDER": "openai:text-embedding-3-small",
            "WINNOW_OPENAI_URL": self.url,
            "WINNOW_OPENAI_API_KEY": asker,
        }

    @override
    def _told_apart(self, texts: Sequence[str]) -> Sequence[str]:
        return texts[:-1]


class _Recorder(Listener):
    """Tells when an answer has been handed to the network whole."""

    def __init__(self, address: tuple[str, int], handle: Handle, sent: Callable[[], None]) -> None:
        self.sent = sent
        super().__init__(address, handle)
        self.RequestHandlerClass = _RecordingHandler


class _RecordingHandler(_Handler):
    @override
    def _handle(self, body: dict[str, Any]) -> None:
        super()._handle(body)
        self.wfile.flush()
        cast("_Recorder", self.server).sent()
