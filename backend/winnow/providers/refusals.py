"""What servers say when they refuse, read once: pure functions over their words and headers."""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus as Status
from typing import TYPE_CHECKING

from winnow.domain.pacing import RateLimits
from winnow.errors import ProviderUnavailable, SetupFault, TextRefused, TextTooLong, WinnowError
from winnow.providers.endpoint import BatchRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

SHOWN_CHARACTERS = 200
READ_CHARACTERS = 1000
# A shorter one may be a word of the server's own, by which its sentence is understood.
LEAST_HIDDEN_CHARACTERS = 20

# Ollama: "the input length exceeds the context length".
# OpenAI and vLLM: "maximum context length is 8192 tokens"; llama.cpp: "input is too large to process";
# text-embeddings-inference: "`inputs` must have less than 512 tokens".
_TOO_LONG = re.compile(
    r"context.?length|context.?size|input length|input is too (large|long)|too many tokens|maximum input length"
    r"|max\S* \d+ tokens|must have (less|fewer) than \d+ tokens",
    re.IGNORECASE,
)
# By itself only where the request is at fault: a server that fails may have taken too long itself.
_BARE_TOO_LONG = re.compile(r"(?<!took )too long", re.IGNORECASE)
_NOT_A_NUMBER = re.compile(r"\bNaN\b")
# llama.cpp's "physical batch size" is about the tokens of one text.
_BATCH = re.compile(
    r"(?<!physical )(?<!current )batch.?size|in one batch|too many inputs|number of inputs", re.IGNORECASE
)
_CAP = re.compile(
    r"(?:batch.?size|at most|maximum\w*|larger than|less than|limit\w*|exceed)\D{0,40}?(\d+)", re.IGNORECASE
)
# OpenAI: "Requested 400000 tokens, max 300000 tokens per request".
_TOKENS_OF_REQUEST = re.compile(r"tokens per request", re.IGNORECASE)
# OpenAI: "Request too large for … on tokens per min (TPM): Limit 40000, Requested 52000."
_TOKENS_OF_MINUTE = re.compile(r"request too large\b.*\btokens per min", re.IGNORECASE)
_ABOUT_THE_BATCH = (Status.BAD_REQUEST, Status.REQUEST_ENTITY_TOO_LARGE, Status.UNPROCESSABLE_ENTITY)
# "maximum context length is 8192 tokens", "maximum input length is 8192 tokens", "must have less than 512 tokens",
# "larger than the max context size (512 tokens)", "physical batch size (current batch size: 512)".
_CONTEXT = re.compile(
    r"(?:(?:context|input) (?:length|size)(?: is| of)?|must have (?:less|fewer) than|current batch size)\W{0,3}(\d+)",
    re.IGNORECASE,
)
LEAST_CONTEXT = 32  # tokens; a smaller number means something else
_WEATHER = (Status.REQUEST_TIMEOUT, Status.CONFLICT, Status.FAILED_DEPENDENCY, Status.TOO_EARLY)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def server_words(body: object, *, secrets: Iterable[str] = (), texts: Iterable[str] = ()) -> str:
    """The server's own sentence in an error body: one line of at most 200 characters, secrets as `***`; else empty.

    Only the places where a server speaks itself are read: validation details (`detail` lists) repeat the input. Where
    it repeats 20 characters or more of the `texts` it was sent there, as they are or escaped, an ellipsis stands for
    them.
    """
    words = _without(_sentence_in(body), texts)
    for secret in secrets:
        if secret:
            words = words.replace(secret, "***")
    return words if len(words) <= SHOWN_CHARACTERS else words[: SHOWN_CHARACTERS - 1] + "…"


def repeats(said: str, *, secrets: Iterable[str] = (), texts: Iterable[str] = ()) -> bool:
    """Whether a secret, or 20 characters of a text, may be in what was said; it must not be shown as it is then."""
    if len(said) > READ_CHARACTERS or any(secret in said for secret in secrets if secret):
        return True
    return _without(said, texts) != " ".join(said.split())


def _without(said: str, texts: Iterable[str]) -> str:
    """What was said on one line, with an ellipsis for what it shares with the texts in any form servers repeat it."""
    known = "\0".join({form for text in texts for form in _forms(text)})
    words = " ".join(said.split())
    whole = known.split("\0") if len(words) > READ_CHARACTERS else []
    for form in sorted(whole, key=len, reverse=True):  # its reason may come after a long text
        if len(form) >= LEAST_HIDDEN_CHARACTERS:
            words = words.replace(form, "…")
    words = words[:READ_CHARACTERS]
    kept, at = "", 0
    while at < len(words):
        end = at + LEAST_HIDDEN_CHARACTERS
        if len(words) < end or words[at:end] not in known:
            kept, at = kept + words[at], at + 1
            continue
        while end < len(words) and words[end - LEAST_HIDDEN_CHARACTERS + 1 : end + 1] in known:
            end += 1
        kept, at = kept + "…", end
    return kept


def _forms(text: str) -> Iterable[str]:
    for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]):
        yield " ".join(form.split())


def _sentence_in(body: object) -> str:
    if isinstance(body, str):
        return body
    if isinstance(body, dict):
        for place in ("error", "message", "detail"):
            if body.get(place):
                return _sentence_in(body[place])
    return ""


def says_too_long(words: str, *, status: int = Status.BAD_REQUEST) -> bool:
    """Whether the server means that a text is longer than the model's context."""
    if _TOO_LONG.search(words):
        return True
    return status < Status.INTERNAL_SERVER_ERROR and _BARE_TOO_LONG.search(words) is not None


def says_no_embeddings(words: str) -> bool:
    """Whether the model is not one for embeddings: Ollama's "this model does not support embeddings"."""
    return "support embed" in words


def says_not_a_number(words: str) -> bool:
    """Whether the model computed NaN for a text."""
    return _NOT_A_NUMBER.search(words) is not None


def translate_common(status: int, words: str, *, shown: str) -> WinnowError:
    """What an error answer means that is not about account, model or rate: the text, the weather or the set-up.

    Args:
        status: HTTP status, 300 to 599.
        words: the server's own sentence, without secrets.
        shown: the server's name in messages.
    """
    said = f"{shown} refuses ({status}): {words or 'no reason given'}"
    about_the_text = status in (Status.BAD_REQUEST, Status.UNPROCESSABLE_ENTITY, Status.INTERNAL_SERVER_ERROR)
    if status == Status.REQUEST_ENTITY_TOO_LARGE or (about_the_text and says_too_long(words, status=status)):
        return TextTooLong(said, context_tokens=named_context(words))
    if about_the_text and says_not_a_number(words):
        return TextRefused(f"{shown}: the model computes NaN for this text")
    if status in _WEATHER or (status >= Status.INTERNAL_SERVER_ERROR and status != Status.NOT_IMPLEMENTED):
        return ProviderUnavailable(f"{shown} fails ({status}): {words or 'no reason given'}")
    if about_the_text and not says_no_embeddings(words):
        return TextRefused(said)
    if status < Status.BAD_REQUEST:
        return SetupFault(f"{shown} sends elsewhere ({status}), and texts go only to the address that was chosen")
    return SetupFault(said)


def named_context(words: str) -> int | None:
    """The tokens that a text may have by the words of a server that refused a longer one; None: it does not say."""
    named = [int(number) for number in _CONTEXT.findall(words)]
    return min((number for number in named if number >= LEAST_CONTEXT), default=None)


def batch_refused(status: int, words: str, *, sent: int) -> BatchRefused | None:
    """Whether so many texts together are refused, and each by itself might be taken; with the number that is named.

    A 413 that says nothing of a text's length may come from a gateway, and be about the whole request.
    """
    if sent < 2:  # noqa: PLR2004 - one text is not a batch
        return None
    if status == Status.TOO_MANY_REQUESTS and _TOKENS_OF_MINUTE.search(words):
        return BatchRefused(None)
    if status not in _ABOUT_THE_BATCH:
        return None
    if _BATCH.search(words):
        return BatchRefused(batch_cap(words, sent=sent))
    if _TOKENS_OF_REQUEST.search(words) or (status == Status.REQUEST_ENTITY_TOO_LARGE and not says_too_long(words)):
        return BatchRefused(None)
    return None


def batch_cap(words: str, *, sent: int) -> int | None:
    """How many texts the server takes in one request, if its words name a number smaller than the `sent` ones.

    `batch size 100 > maximum allowed batch size 32` names 32.
    """
    return min((int(number) for number in _CAP.findall(words) if 0 < int(number) < sent), default=None)


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """The server's wish for the next try, in seconds from `now`; None if it has none that can be read.

    `Retry-After-ms`, then `Retry-After` (seconds, or an HTTP date by the clock of the answer's own `Date`), then the
    reset of the exhausted `x-ratelimit-*`. Header names are looked up in lower case.
    """
    after = headers.get("retry-after", "")
    for value, unit in ((headers.get("retry-after-ms", ""), 0.001), (after, 1.0)):
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value) * unit
    if after:
        try:
            said_at = parsedate_to_datetime(headers["date"]) if headers.get("date") else now
            return max(0.0, (parsedate_to_datetime(after) - said_at).total_seconds())
        except (TypeError, ValueError):
            return None
    waits = [
        duration_seconds(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """What the `x-ratelimit-*` headers of an answer say of limits a minute; None: nothing."""
    limits = RateLimits(
        requests=_number(headers.get("x-ratelimit-limit-requests")),
        requests_left=_number(headers.get("x-ratelimit-remaining-requests")),
        tokens=_number(headers.get("x-ratelimit-limit-tokens")),
        tokens_left=_number(headers.get("x-ratelimit-remaining-tokens")),
    )
    return limits if limits.requests or limits.tokens else None


def _number(value: str | None) -> float | None:
    return float(value) if value and re.fullmatch(r"\d{1,12}", value) else None


def duration_seconds(value: str) -> float | None:
    """A duration as OpenAI's headers write it (`6m0s`, `120ms`), in seconds; None if it is not one."""
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", value):
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(value))
