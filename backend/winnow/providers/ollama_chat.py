"""Answers of a language model from an Ollama server, through its official client (`/api/chat`)."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from winnow.errors import AnswerInvalid, TextRefused, TextTooLong
from winnow.providers.base import Completion, LanguageModel
from winnow.providers.chatting import checked_text, count, with_schema
from winnow.providers.ollama_catalogue import OllamaCatalogue
from winnow.providers.ollama_client import KEEP_ALIVE
from winnow.providers.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.providers.ollama_client import OllamaServer


# A tokenizer is not at hand. Most texts have three bytes or more a token; names, numbers and rare scripts fewer.
BYTES_PER_TOKEN = 3
TEMPLATE_TOKENS = 64
"""What the model's own template puts around system message and prompt."""

# Another context size than before has Ollama load the model again, so it grows in large steps, and never shrinks.
LEAST_CONTEXT = 4096

# Ollama itself takes `think: false` for any model; servers that take its place need not.
_REFUSES_THINK = re.compile(r"support thinking|\"think\"|'think'|\bthink value")


class OllamaChat(LanguageModel):
    """Asks a model of an Ollama server, with a context as large as the prompt needs; thinking is turned off.

    Args:
        server: asked, and closed with this.
        model: as `ollama list` names it.
        first_timeout_seconds: for one answer while the model may have to be loaded.
        timeout_seconds: for one answer otherwise.

    Raises:
        ProviderUnavailable: no connection, no answer in time, or a server error.
        ProviderBusy: the server's queue is full.
        ModelNotFound: the model was not pulled.
        SetupFault: it is not one for chats.
        TextTooLong: prompt and answer do not fit into the model's context.
        TextRefused: the server refuses the prompt otherwise.
        AnswerInvalid: there is no text in what came back.
    """

    def __init__(
        self,
        *,
        server: OllamaServer,
        model: str,
        first_timeout_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._server = server
        self._model = model.removesuffix(":latest")
        self._catalogue = OllamaCatalogue(server=server, timeout_seconds=timeout_seconds)
        self._patience = Patience(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
        self._largest: int | None = None
        self._is_described = False
        self._context = LEAST_CONTEXT
        self._tokens_per_byte = 1 / BYTES_PER_TOKEN
        self._knows_think = True

    @property
    @override
    def name(self) -> str:
        """For example `ollama:qwen3:8b`."""
        return f"ollama:{self._model}"

    @override
    async def complete(
        self, *, system: str, prompt: str, schema: Mapping[str, Any] | None = None, max_output_tokens: int
    ) -> Completion:
        """One answer, by the schema if one is given; at the same prompt the same one, as far as the server can."""
        messages = [
            {"role": "system", "content": with_schema(system, schema)},
            {"role": "user", "content": prompt},
        ]
        body: dict[str, object] = {
            "model": self._model,
            "messages": messages,
            "stream": False,
            "truncate": False,  # long prompts are refused rather than cut, by servers from 0.12.6 on
            "keep_alive": KEEP_ALIVE,
        } | ({} if schema is None else {"format": schema})
        texts = [system, prompt]
        size = sum(len(message["content"].encode(errors="surrogatepass")) for message in messages)
        return await self._complete(body, texts=texts, size=size, output=max_output_tokens)

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._server.close()

    async def _complete(self, body: dict[str, object], *, texts: list[str], size: int, output: int) -> Completion:
        """The answer; if the prompt had more tokens than estimated, with twice the room."""
        started = time.monotonic()
        largest = await self._largest_context()
        tokens = int(size * self._tokens_per_byte) + TEMPLATE_TOKENS
        context = context_for(tokens + output, largest=largest, least=self._context)
        if context is None:
            raise TextTooLong(
                f"a prompt of about {tokens} tokens and an answer of {output} do not fit into the {largest} of "
                f"{self._model}"
            )
        try:
            answer = await self._ask(body, texts=texts, size=size, output=output, context=context)
        except TextTooLong:
            context_of_twice = context_for(2 * tokens + output, largest=largest, least=context) or largest or context
            if context_of_twice <= context:
                raise
            answer = await self._ask(body, texts=texts, size=size, output=output, context=context_of_twice)
        return replace(answer, seconds=time.monotonic() - started)

    async def _ask(
        self, body: dict[str, object], *, texts: list[str], size: int, output: int, context: int
    ) -> Completion:
        self._context = max(self._context, context)
        options = {"num_ctx": context, "num_predict": output, "temperature": 0}
        told = {"think": False} if self._knows_think else {}
        try:
            content = await self._server.post(
                "/api/chat", body | told | {"options": options}, patience=self._patience, private=texts
            )
        except TextRefused as error:
            if told and _REFUSES_THINK.search(str(error)):
                self._knows_think = False
                return await self._ask(body, texts=texts, size=size, output=output, context=context)
            raise
        completion = decode_completion(content, shown=self._server.name.shown)
        self._patience.answered()
        used = completion.input_tokens or 0
        self._tokens_per_byte = max(self._tokens_per_byte, used / max(size, 1))
        if used + max(completion.output_tokens or 0, 1) > context:
            raise TextTooLong(f"{self._server.name.shown} has cut the prompt to {context} tokens")
        return replace(completion, model=self._model)

    async def _largest_context(self) -> int | None:
        """The model's own; asked for once."""
        if not self._is_described:
            described = await self._catalogue.describe(self._model)
            self._largest, self._is_described = described.context, True
        return self._largest


def context_for(tokens: int, *, largest: int | None, least: int = LEAST_CONTEXT) -> int | None:
    """The context to ask for: the next power of two from `least` on, at most the model's own; None: too many tokens."""
    if largest is not None and tokens > largest:
        return None
    context = max(least, LEAST_CONTEXT, 1 << (tokens - 1).bit_length())
    return context if largest is None else min(context, largest)


def decode_completion(content: bytes, *, shown: str) -> Completion:
    """The text in the body of an answer of `/api/chat`, and its counts.

    Raises:
        AnswerInvalid: there is no text in it.
    """
    try:
        body = orjson.loads(content)
        text, reason, is_done = body["message"]["content"], body.get("done_reason"), body.get("done")
    except (ValueError, KeyError, TypeError, AttributeError):  # the cause would carry what the model wrote into the log
        raise AnswerInvalid(f"{shown} gave an answer without readable text") from None
    # Ollama gives up on a model that repeats itself without saying that it is done.
    truncated = reason == "length" or is_done is False
    return Completion(
        text=checked_text(text, truncated=truncated, shown=shown),
        model=str(body.get("model")),
        input_tokens=count(body.get("prompt_eval_count")),
        output_tokens=count(body.get("eval_count")),
        truncated=truncated,
    )
