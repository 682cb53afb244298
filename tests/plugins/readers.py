"""A model extractor over either protocol's server, windows for it, and answers as a model would write them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from plugins.model_servers_chat import OllamaChatServer
from winnow.domain.knowledge import Window, WindowMessage
from winnow.domain.providers import ProviderKind
from winnow.pipeline.extract_by_model import ModelExtractor
from winnow.providers.factory import build_language_model, provider_of_settings
from winnow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from plugins.model_servers_chat import OpenAIChatServer
    from winnow.domain.knowledge import Extraction
    from winnow.providers.base import LanguageModel

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
SAID = (
    "The nightly import fails with a timeout again.",
    "We decided to raise the timeout to 60 seconds.",
    "Ana will write the guide by Friday.",
    "lunch?",
)


@dataclass
class Reader:
    """An extractor and the server behind it."""

    server: OllamaChatServer | OpenAIChatServer
    extractor: ModelExtractor

    async def read(self, window: Window | None = None) -> Extraction:
        return await self.extractor.extract(window or window_of(*SAID))

    @property
    def prompts(self) -> list[str]:
        """What the model was sent, system message and prompt together."""
        return list(self.server.read)


def language_model(
    server: OllamaChatServer | OpenAIChatServer, model: str = "qwen3:4b", *, seconds: float = 5
) -> LanguageModel:
    if isinstance(server, OllamaChatServer):
        settings, kind = Settings(_env_file=None, ollama_url=server.url), ProviderKind.OLLAMA
    else:
        settings, kind = Settings(_env_file=None, openai_url=server.url), ProviderKind.OPENAI
    return build_language_model(
        provider_of_settings(settings, kind), model, first_timeout_seconds=seconds, timeout_seconds=seconds
    )


@pytest.fixture(params=["ollama", "openai"])
async def reader(
    request: pytest.FixtureRequest, ollama_chat_server: OllamaChatServer, openai_chat_server: OpenAIChatServer
) -> AsyncIterator[Reader]:
    """An extractor with a model on this machine, by each protocol."""
    server = ollama_chat_server if request.param == "ollama" else openai_chat_server
    server.chat_answers = lambda _prompt: answer()
    model = language_model(server)
    yield Reader(server, ModelExtractor(model=model, is_remote=False))
    await model.close()


def message(number: int, text: str, **values: Any) -> WindowMessage:
    given: dict[str, Any] = {"author": "ann", "importance": 0.5, "sent_at": START + timedelta(minutes=number)} | values
    return WindowMessage(id=number, text=text, **given)


def window_of(*texts: str, context: Sequence[str] = (), **values: Any) -> Window:
    """Messages with the ids 101, 102 …, after a context with the ids 1, 2 …"""
    before = tuple(message(number, text) for number, text in enumerate(context, start=1))
    messages = tuple(message(number, text) for number, text in enumerate(texts, start=101))
    return Window(**({"channel": "#team", "messages": messages, "context": before} | values))


def atom(name: str, content: str, *quotes: tuple[int, str], **values: Any) -> dict[str, Any]:
    """As in an answer."""
    given = {"id": name, "type": "decision", "title": content[:40], "content": content, "topic": None}
    evidence = [{"message": number, "quote": quote} for number, quote in quotes]
    return given | {"evidence": evidence, "confidence": 0.9} | values


def answer(*atoms: dict[str, Any], links: Sequence[dict[str, Any]] = (), topics: Sequence[Any] = ()) -> str:
    return json.dumps({"topics": list(topics), "atoms": list(atoms), "links": list(links)}, ensure_ascii=False)


def messages_in(prompt: str) -> dict[int, dict[str, Any]]:
    """The messages of a prompt by their numbers, read as its form says: one JSON object on a line."""
    lines = [json.loads(line) for line in prompt.split("\n") if line.startswith('{"n":')]
    return {line["n"]: line for line in lines}


def new_numbers(prompt: str) -> list[int]:
    """The numbers of the messages that it asks about."""
    first, last = map(int, re.findall(r"^Extract from the messages (\d+) to (\d+)\.", prompt, re.MULTILINE)[-1])
    return list(range(first, last + 1))


def an_atom_of_each(prompt: str) -> str:
    """What a good model would say: each new message is a decision."""
    said = messages_in(prompt)
    return answer(
        *(atom(f"n{place}", said[n]["text"], (n, said[n]["text"])) for place, n in enumerate(new_numbers(prompt), 1))
    )
