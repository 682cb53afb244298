"""What an Ollama server says of itself and its models, and how it is told to download one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from winnow.errors import ModelNotFound, ProviderUnavailable, SetupFault, TextRefused, WinnowError
from winnow.providers.base import ModelCatalogue, PullProgress, ServedModel
from winnow.providers.chatting import count
from winnow.providers.patience import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from winnow.providers.ollama_client import OllamaServer

NO_PROGRESS_SECONDS = 600
"""Between two lines of a download's progress: checking the sums of a large model is one step."""

_NO_SUCH_MODEL = re.compile(r"does not exist|invalid model name|not found", re.IGNORECASE)
_NETWORK = re.compile(
    r"dial |lookup|timeout|timed out|connection|EOF|TLS|certificate|max retries|network|: 5\d\d", re.IGNORECASE
)


class OllamaCatalogue(ModelCatalogue):
    """The models of one Ollama server.

    Args:
        server: asked, and closed with the catalogue.
        timeout_seconds: for one answer.
    """

    def __init__(self, *, server: OllamaServer, timeout_seconds: float) -> None:
        self._server = server
        self._patience = Patience(first_seconds=timeout_seconds, usual_seconds=timeout_seconds)

    @override
    async def version(self) -> str | None:
        """For example `0.12.6`."""
        version = _object(await self._server.get("/api/version", patience=self._patience)).get("version")
        return version if isinstance(version, str) else None

    @override
    async def models(self) -> list[ServedModel]:
        """All that were pulled, by name; newer servers say what each can do."""
        told = _object(await self._server.get("/api/tags", patience=self._patience)).get("models")
        if not isinstance(told, list):
            raise self._unreadable()
        named = [(model.get("name") or model.get("model"), model) for model in told if isinstance(model, dict)]
        return sorted((_served(str(name), model) for name, model in named if name), key=lambda model: model.name)

    @override
    async def describe(self, model: str) -> ServedModel:
        """What `ollama show` tells, from the model's own file."""
        try:
            content = await self._server.post("/api/show", {"model": model}, patience=self._patience)
        except TextRefused as refused:  # 400: no name of a model
            raise ModelNotFound(str(refused)) from refused
        return _served(model, _object(content))

    @override
    async def pull(self, model: str) -> AsyncIterator[PullProgress]:
        """The server's own progress; the model is there when it ends."""
        try:
            async for progress in self._server.pull(model, no_progress_seconds=NO_PROGRESS_SECONDS):
                yield progress
        except TextRefused as refused:
            raise self._failed_pull(model, str(refused)) from refused

    @override
    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._server.close()

    def _failed_pull(self, model: str, words: str) -> WinnowError:
        return failed_pull(model, words, shown=self._server.name.shown)

    def _unreadable(self) -> SetupFault:
        name = self._server.name
        return SetupFault(f"{name.shown} gives no list of models; set {name.url_setting} to an Ollama server")


def failed_pull(model: str, words: str, *, shown: str) -> WinnowError:
    """What it means that a download ended with these words."""
    if _NO_SUCH_MODEL.search(words):
        return ModelNotFound(
            f"there is no model {model} to be had for {shown}; look for its name at ollama.com/library"
        )
    if _NETWORK.search(words):
        return ProviderUnavailable(f"{shown} cannot download {model}: {words}")
    return SetupFault(f"{shown} cannot download {model}: {words}")


def _served(name: str, told: Mapping[str, Any]) -> ServedModel:
    """A model of `/api/tags` or `/api/show`; both tell some of it, and older servers less."""
    can = told.get("capabilities")
    info = told.get("model_info")
    embeds = "embedding" in can if isinstance(can, list) else None
    return ServedModel(
        name=name,
        embeds=embeds,
        chats="completion" in can if isinstance(can, list) else None,
        dimensions=None if embeds is False else _of_architecture(info, "embedding_length"),
        context=_of_architecture(info, "context_length"),
        size_bytes=count(told.get("size")),
    )


def _of_architecture(info: object, what: str) -> int | None:
    """A number of the language model itself; a model that sees has others for its eyes (`qwen25vl.vision.…`)."""
    if not isinstance(info, dict):
        return None
    return count(info.get(f"{info.get('general.architecture')}.{what}"))


def _object(content: bytes) -> dict[str, Any]:
    """The body of an answer; empty if it is no object."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
