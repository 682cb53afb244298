"""How a model server can go wrong, in the words of the real ones, and what it notes of each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Misbehaviour = Literal[
    "busy",  # 503
    "rate_limited",  # 429 with headers
    "no_quota",  # 429 insufficient_quota
    "key_refused",  # 401
    "model_missing",  # 404, as the protocol says it
    "not_found",  # 404, as a server says that has no such path
    "refused",  # 400
    "too_long",  # 400 about the context length
    "too_large",  # 413
    "eof",  # 500, as Ollama says that its runner died
    "broken",  # 500
    "nan_refused",  # 400 about NaN
    "redirect",  # 307 to a place where nobody listens
    "web_page",  # 200, HTML
    "slow",  # answers well, after `delay_seconds`
    "dropped",  # closes the connection instead of answering
    "cut",  # closes it in the middle of the answer
    "nan",  # one vector holds NaN
    "zero",  # one vector is zeros only
    "wrong_count",  # one vector too few
    "wrong_dimension",  # one vector shorter than the others
    "shuffled",  # OpenAI: another order, told by `index`
    "same_index",  # OpenAI: every index is 0
    "floats",  # OpenAI: numbers although base64 was wished
]


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it came in; `texts` is what was to be embedded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Behaviour:
    """A misbehaviour with what belongs to it."""

    name: Misbehaviour
    delay_seconds: float = 1
    headers: dict[str, str] = field(default_factory=dict)
    words: str | None = None
    poison: str | None = None

    def spoiled(self, texts: Sequence[str]) -> int:
        """The place of the text whose vector is the bad one: the poisoned one's, or the last."""
        return next((place for place, text in enumerate(texts) if self.poison and self.poison in text), len(texts) - 1)


REFUSALS: dict[str, tuple[int, str]] = {
    "busy": (503, "server busy, please try again.  maximum pending requests exceeded"),
    "rate_limited": (429, "Rate limit reached for {model}"),
    "no_quota": (429, "You exceeded your current quota, please check your plan and billing details."),
    "key_refused": (401, "Incorrect API key provided."),
    "model_missing": (404, 'model "{model}" not found, try pulling it first'),
    "not_found": (404, "404 page not found"),
    "refused": (400, "'$.input' is invalid."),
    "too_long": (400, "the input length exceeds the context length"),
    "too_large": (413, "batch size {count} > maximum allowed batch size 32"),
    "eof": (500, 'do embedding request: Post "http://127.0.0.1:33967/embedding": EOF'),
    "broken": (500, "internal server error"),
    "nan_refused": (400, "failed to encode response: json: unsupported value: NaN"),
}
