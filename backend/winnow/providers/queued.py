"""A language model whose prompts stand in the provider's line, behind the few texts that somebody waits for."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from winnow.providers.base import Completion, LanguageModel
from winnow.providers.batching import request_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.providers.ways import Way


class QueuedLanguageModel(LanguageModel):
    """Keeps to the provider's pace and to its requests at once, as embeddings do, and to the limits that answers tell.

    A prompt counts for its own tokens or for those that its answer may have, whichever are more, as OpenAI counts.

    Args:
        model: asked, and closed with this.
        way: to its provider.
        one_by_one: of all prompts to the provider, whatever the model, one is in flight; else what the way allows.
    """

    def __init__(self, model: LanguageModel, *, way: Way, one_by_one: bool = False) -> None:
        self._model = model
        self._way = way
        self._turn = way.one_prompt if one_by_one else nullcontext()

    @property
    @override
    def name(self) -> str:
        """As the model inside."""
        return self._model.name

    @override
    async def complete(
        self, *, system: str, prompt: str, schema: Mapping[str, Any] | None = None, max_output_tokens: int
    ) -> Completion:
        """The answer of the model inside, when it is this prompt's turn. Raises as `Line.ask` as well."""
        ask = partial(
            self._model.complete, system=system, prompt=prompt, schema=schema, max_output_tokens=max_output_tokens
        )
        said = f"{system}{prompt}".encode(errors="replace")
        tokens = request_tokens(len(said) + (0 if schema is None else len(orjson.dumps(schema))))
        async with self._turn:
            completion = await self._way.ask_prompt(ask, tokens=max(tokens, max_output_tokens), work=len(said))
        if completion.limits is not None:
            await self._way.line.told(completion.limits)
        return completion

    @override
    async def close(self) -> None:
        """As the model inside."""
        await self._model.close()
