"""The built-in model, told of as a server would tell of its own."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from typing_extensions import override

from winnow.errors import ModelNotFound, SetupFault
from winnow.providers.base import ModelCatalogue, PullProgress, ServedModel
from winnow.providers.local import MODEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DIMENSIONS = 256


class LocalCatalogue(ModelCatalogue):
    """One model, which reads texts of any length and does not chat."""

    @override
    async def version(self) -> str | None:
        """Of the package that brings the model's files."""
        return importlib.metadata.version("wordllama")

    @override
    async def models(self) -> list[ServedModel]:
        """The built-in model."""
        return [ServedModel(name=MODEL, embeds=True, chats=False, dimensions=DIMENSIONS)]

    @override
    async def describe(self, model: str) -> ServedModel:
        """The built-in model by its name, or by none."""
        (built_in,) = await self.models()
        if model not in ("", built_in.name):
            raise ModelNotFound(f"the built-in model is {built_in.name}, and there is no {model} beside it")
        return built_in

    @override
    def pull(self, model: str) -> AsyncIterator[PullProgress]:
        """Raises `SetupFault`: it came with the installation."""
        raise SetupFault("the built-in model came with the installation; there is nothing to download")

    @override
    async def close(self) -> None:
        """Nothing is open."""
