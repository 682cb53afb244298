"""What OpenAI and the servers that speak its protocol say of their models (`/v1/models`): mostly names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from winnow.errors import ModelNotFound, SetupFault
from winnow.providers.base import ModelCatalogue, PullProgress, ServedModel
from winnow.providers.chatting import count
from winnow.providers.patience import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.providers.openai_client import OpenAIServer


class OpenAICatalogue(ModelCatalogue):
    """The models of one server; what its list does not tell of them stays unknown.

    Args:
        server: asked, and closed with the catalogue.
        timeout_seconds: for one answer.
    """

    def __init__(self, *, server: OpenAIServer, timeout_seconds: float) -> None:
        self._server = server
        self._patience = Patience(first_seconds=timeout_seconds, usual_seconds=timeout_seconds)

    @override
    async def version(self) -> str | None:
        """None: the protocol has no word for it."""
        return None

    @override
    async def models(self) -> list[ServedModel]:
        """All that the list names; at OpenAI itself, all that the key may use."""
        try:
            raw = await self._server.ask(
                lambda client: client.models.with_raw_response.list(), patience=self._patience, model="any"
            )
        except ModelNotFound as missing:
            name = self._server.name
            raise SetupFault(f"{name.shown} has no list of models; does {name.url_setting} end in /v1?") from missing
        try:
            told = orjson.loads(raw.content)["data"]
            named = [_served(model["id"], model) for model in told if isinstance(model["id"], str)]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            name = self._server.name
            raise SetupFault(f"{name.shown} gives no list of models; does {name.url_setting} end in /v1?") from None
        return sorted(named, key=lambda model: model.name)

    @override
    async def describe(self, model: str) -> ServedModel:
        """What the list tells of it: vLLM and llama.cpp say its context."""
        served = {known.name: known for known in await self.models()}
        found = served.get(model) or served.get(f"models/{model}")  # so Google names its own
        if found is None:
            raise ModelNotFound(
                f"{self._server.name.shown} does not have the model {model}; it has {_some(sorted(served))}"
            )
        return replace(found, name=model)

    @override
    def pull(self, model: str) -> AsyncIterator[PullProgress]:
        """Raises `SetupFault`: there is no such thing in this protocol."""
        raise SetupFault(
            f"{self._server.name.shown} downloads no model on demand; start it with {model}, or choose one it has"
        )

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._server.close()


def _served(name: str, told: dict[str, Any]) -> ServedModel:
    meta = told.get("meta")
    llama_cpp = meta if isinstance(meta, dict) else {}
    contexts = (told.get("max_model_len"), llama_cpp.get("n_ctx"), llama_cpp.get("n_ctx_train"))  # vLLM; llama.cpp
    return ServedModel(
        name=name,
        dimensions=count(llama_cpp.get("n_embd")),
        context=next((count(tokens) for tokens in contexts if count(tokens) is not None), None),
        size_bytes=count(llama_cpp.get("size")),
    )


def _some(names: list[str], most: int = 5) -> str:
    """A few names for a message."""
    shown = ", ".join(names[:most])
    return (f"{shown} and {len(names) - most} more" if len(names) > most else shown) or "none"
