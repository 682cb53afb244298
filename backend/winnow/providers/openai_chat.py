"""Answers of a language model from OpenAI and the servers that speak its protocol (`/v1/chat/completions`)."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson
from typing_extensions import override

from winnow.errors import AnswerInvalid, ProviderUnavailable, SetupFault, TextRefused, TextTooLong
from winnow.providers.base import Completion, LanguageModel
from winnow.providers.chatting import checked_text, count, with_schema
from winnow.providers.patience import Patience
from winnow.providers.refusals import rate_limits, server_words
from winnow.providers.strict_schema import strict_schema

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from winnow.providers.openai_client import OpenAIServer

_ABOUT_SCHEMAS = ("response_format", "json_", "schema", "grammar", "JSON mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a server and model want to be asked; the one made of defaults is OpenAI's own.

    Attributes:
        held_by: what holds the answer to a schema: the server, the server to any JSON, or the prompt alone.
        limit: the name of the output limit. Many compatible servers ignore `max_completion_tokens` and then know no
            limit; OpenAI's reasoning models refuse `max_tokens`. So others are asked by the old name first.
        has_temperature: whether it may be set.
    """

    held_by: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    has_temperature: bool = True

    def plainer(self, words: str, *, has_schema: bool, tried: Collection[Dialect] = ()) -> Dialect | None:
        """What to try after a refusal in these words; None: it is not about any of this, or all has been tried."""
        others: list[Dialect] = []
        if self.limit in words:
            others.append(replace(self, limit="max_tokens" if self.limit != "max_tokens" else "max_completion_tokens"))
        if self.has_temperature and "temperature" in words:
            others.append(replace(self, has_temperature=False))
        if has_schema and any(word in words for word in _ABOUT_SCHEMAS):
            if self.held_by == "json_schema":
                others.append(replace(self, held_by="json_object"))
            else:
                others.append(replace(self, held_by="prompt"))
        return next((other for other in others if other not in tried), None)


class OpenAIChat(LanguageModel):
    """Asks a model of OpenAI or a compatible server; what these do not know is learned from their refusals, once.

    Args:
        server: asked, and closed with this.
        model: as the server names it.
        first_timeout_seconds: for one answer while the model may have to be loaded.
        timeout_seconds: for one answer otherwise.
        dialect: the first to be tried.

    Raises:
        ProviderUnavailable: no connection, no answer in time, or a server error.
        ProviderBusy: the rate is limited; `retry_after_seconds` is the server's wish.
        QuotaExhausted, KeyRefused, ModelNotFound: the account, the key, the model.
        TextTooLong: prompt and answer do not fit into the model's context.
        TextRefused: the model or a filter before it refuses the prompt.
        AnswerInvalid: there is no text in what came back.
    """

    def __init__(
        self,
        *,
        server: OpenAIServer,
        model: str,
        first_timeout_seconds: float,
        timeout_seconds: float,
        dialect: Dialect | None = None,
    ) -> None:
        self._server = server
        self._model = model
        self._patience = Patience(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
        self._dialect = dialect or Dialect()

    @property
    @override
    def name(self) -> str:
        """For example `openai:gpt-4o-mini`."""
        return f"openai:{self._model}"

    @override
    async def complete(
        self, *, system: str, prompt: str, schema: Mapping[str, Any] | None = None, max_output_tokens: int
    ) -> Completion:
        """One answer, by the schema if one is given; its optional fields may come as null (`strict_schema`)."""
        strict = None if schema is None else strict_schema(schema)
        return await self._complete(system, prompt, strict, max_output_tokens)

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._server.close()

    async def _complete(self, system: str, prompt: str, schema: dict[str, Any] | None, output: int) -> Completion:
        dialect = self._dialect
        tried: set[Dialect] = set()
        started = time.monotonic()
        while True:
            request = request_in(dialect, system=system, prompt=prompt, schema=schema, max_output_tokens=output)
            try:
                completion = await self._ask(request, private=[system, prompt])
            except TextTooLong:
                raise
            except (TextRefused, SetupFault) as refused:
                tried.add(dialect)
                plainer = dialect.plainer(str(refused), has_schema=schema is not None, tried=tried)
                if plainer is None:
                    raise
                dialect = plainer
            else:
                self._dialect = dialect
                return replace(completion, model=self._model, seconds=time.monotonic() - started)

    async def _ask(self, request: dict[str, Any], *, private: list[str]) -> Completion:
        raw = await self._server.ask(
            lambda client: client.chat.completions.with_raw_response.create(model=self._model, **request),
            patience=self._patience,
            model=self._model,
            private=private,
        )
        completion = decode_completion(raw.content, shown=self._server.name.shown, private=private)
        self._patience.answered()
        return replace(completion, limits=rate_limits(raw.headers))


def request_in(
    dialect: Dialect, *, system: str, prompt: str, schema: dict[str, Any] | None, max_output_tokens: int
) -> dict[str, Any]:
    """What the client is told, but for the model's name."""
    said = with_schema(system, None if dialect.held_by == "json_schema" else schema)
    request: dict[str, Any] = {
        "messages": [{"role": "system", "content": said}, {"role": "user", "content": prompt}],
        dialect.limit: max_output_tokens,
    }
    if dialect.has_temperature:
        request["temperature"] = 0
    if schema is None or dialect.held_by == "prompt":
        return request
    form: dict[str, object] = {"type": dialect.held_by}
    if dialect.held_by == "json_schema":
        form["json_schema"] = {"name": "answer", "strict": True, "schema": schema}
    return request | {"response_format": form}


def decode_completion(content: bytes, *, shown: str, private: list[str]) -> Completion:
    """The text in the body of an answer of `/v1/chat/completions`, and its counts; what was thought is left out.

    What is `private` is not repeated in errors.

    Raises:
        TextRefused: the model declines in words of its own, or a filter has stopped it.
        ProviderUnavailable: it broke off.
        AnswerInvalid: there is no text in it.
    """
    try:
        body = orjson.loads(content)
        choice = body["choices"][0]
        message, reason, usage = choice["message"], choice.get("finish_reason"), body.get("usage")
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        # the cause would carry what the model wrote into the log
        raise AnswerInvalid(f"{shown} gave an answer without readable text") from None
    if refusal:
        raise TextRefused(f"{shown}: the model declines: {server_words(refusal, texts=private)}")
    if reason == "error":  # OpenRouter, when the provider behind it fails in the middle
        raise ProviderUnavailable(f"{shown}: the answer broke off: {server_words(choice.get('error'), texts=private)}")
    if reason == "content_filter":
        raise TextRefused(f"{shown}: the server's content filter stopped the answer")
    truncated = reason == "length"
    counts = usage if isinstance(usage, dict) else {}
    return Completion(
        text=checked_text(text, truncated=truncated, shown=shown),
        model=str(body.get("model")),
        input_tokens=count(counts.get("prompt_tokens")),
        output_tokens=count(counts.get("completion_tokens")),
        truncated=truncated,
    )
