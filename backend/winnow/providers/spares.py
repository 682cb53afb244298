"""Several servers with the same models: the first one is asked, the next one when it does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from winnow.errors import ProviderUnavailable
from winnow.providers.base import Completion, LanguageModel, ModelCatalogue, PullProgress, ServedModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

One = TypeVar("One")
Answer = TypeVar("Answer")


async def first_answer(servers: Sequence[One], ask: Callable[[One], Awaitable[Answer]]) -> Answer:
    """What the first server says that answers at all; a refusal is an answer.

    Raises:
        ProviderUnavailable: none does; it is the last one's error.
    """
    for server in servers[:-1]:
        try:
            return await ask(server)
        except ProviderUnavailable:
            continue
    return await ask(servers[-1])


class SparedLanguageModel(LanguageModel):
    """One language model on several servers, the preferred one first."""

    def __init__(self, models: Sequence[LanguageModel]) -> None:
        self._models = models

    @property
    @override
    def name(self) -> str:
        """The same on all of them."""
        return self._models[0].name

    @override
    async def complete(
        self, *, system: str, prompt: str, schema: Mapping[str, Any] | None = None, max_output_tokens: int
    ) -> Completion:
        """The answer of the first server that answers."""
        return await first_answer(
            self._models,
            lambda model: model.complete(
                system=system, prompt=prompt, schema=schema, max_output_tokens=max_output_tokens
            ),
        )

    @override
    async def close(self) -> None:
        """Closes the connections to all of them."""
        for model in self._models:
            await model.close()


class SparedCatalogue(ModelCatalogue):
    """The catalogue of the first server that answers."""

    def __init__(self, catalogues: Sequence[ModelCatalogue]) -> None:
        self._catalogues = catalogues

    @override
    async def version(self) -> str | None:
        """Of the first server that answers."""
        return await first_answer(self._catalogues, lambda catalogue: catalogue.version())

    @override
    async def models(self) -> list[ServedModel]:
        """Of the first server that answers."""
        return await first_answer(self._catalogues, lambda catalogue: catalogue.models())

    @override
    async def describe(self, model: str) -> ServedModel:
        """By the first server that answers."""
        return await first_answer(self._catalogues, lambda catalogue: catalogue.describe(model))

    @override
    def pull(self, model: str) -> AsyncIterator[PullProgress]:
        """Has every server download it, one after the other: each must have it when another is away."""
        return _one_after_the_other([catalogue.pull(model) for catalogue in self._catalogues])

    @override
    async def close(self) -> None:
        """Closes the connections to all of them."""
        for catalogue in self._catalogues:
            await catalogue.close()


async def _one_after_the_other(downloads: Sequence[AsyncIterator[PullProgress]]) -> AsyncIterator[PullProgress]:
    for download in downloads:
        async for progress in download:
            yield progress
