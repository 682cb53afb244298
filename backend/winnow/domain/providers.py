"""Providers as they are written down: who makes vectors and answers, and how to reach them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from winnow.domain import ollama_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from pydantic import SecretStr


class ProviderKind(StrEnum):
    """The protocols: the built-in model, Ollama's, and OpenAI's with all servers that speak it."""

    LOCAL = "local"
    OLLAMA = "ollama"
    OPENAI = "openai"

    @property
    def traits(self) -> Traits:
        """What tells it from the others."""
        return TRAITS[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable of the environment, and the field of the settings that it is read into."""

    name: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What tells one kind from another, for everybody but the factory, which knows who speaks its protocol.

    Attributes:
        usual_url: where its server usually is; None: it is built in, with one model, and there is no server.
        default_port: of a URL that names neither scheme nor port; None: the scheme's own.
        is_service: its usual server is a company's, which wants a key and money, and is sent texts only when a person
            has chosen it. False: whoever uses it runs it, and nobody is paid.
        url_setting, key_setting: the fields of the settings that say where it is, and with which key.
        own_url, own_key: the variables that its own programs read.
        read_url: makes a URL of what `own_url` holds.
        own_tag: what a model's name may end with and be the same model.
        pull: the command by which its server downloads a `{model}`.
    """

    usual_url: str | None = None
    default_port: int | None = None
    is_service: bool = False
    url_setting: str | None = None
    key_setting: str | None = None
    own_url: Variable | None = None
    own_key: Variable | None = None
    read_url: Callable[[str], str] = str
    own_tag: str = ""
    pull: str | None = None

    @property
    def is_served(self) -> bool:
        """Whether its models are at a server."""
        return self.usual_url is not None


def variable(setting: str) -> str:
    """The variable of the environment that a field of the settings is read from."""
    return f"WINNOW_{setting.upper()}"


# A new kind is an entry here, and one in `winnow.providers.factory`.
TRAITS: Mapping[str, Traits] = {
    ProviderKind.LOCAL: Traits(),
    ProviderKind.OLLAMA: Traits(
        usual_url=f"http://127.0.0.1:{ollama_host.PORT}",
        default_port=ollama_host.PORT,
        url_setting="ollama_url",
        own_url=Variable(name="OLLAMA_HOST", field="ambient_ollama_url"),
        read_url=ollama_host.ollama_url,
        own_tag=":latest",
        pull="ollama pull {model}",
    ),
    ProviderKind.OPENAI: Traits(
        usual_url="https://api.openai.com/v1",
        is_service=True,
        url_setting="openai_url",
        key_setting="openai_api_key",
        own_url=Variable(name="OPENAI_BASE_URL", field="ambient_openai_url"),
        own_key=Variable(name="OPENAI_API_KEY", field="ambient_openai_key"),
    ),
}
SERVED = tuple(kind for kind in ProviderKind if kind.traits.is_served)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider with everything needed to ask it.

    Attributes:
        id: in `llm_providers`; None: it is made of the settings (`WINNOW_OLLAMA_URL`, `WINNOW_OPENAI_URL`).
        name: as people call it, unique.
        kind: the protocol it speaks.
        urls: of servers that have the same models, the preferred one first; none for the built-in model.
        embedding_model: the one to embed with, where no other is named.
        chat_model: the one to extract with.
        api_key: in the clear, sent to these URLs only; never shown, logged, or put into a task.
        active: whether it may be used.
        document_prefix, query_prefix: instead of the model's own; None: the model's own.
        requests_per_minute, tokens_per_minute: limits to keep; None: what the server says.
        at_once: requests in flight; None: found by measuring.
    """

    kind: ProviderKind
    name: str
    id: UUID | None = None
    urls: tuple[str, ...] = ()
    embedding_model: str | None = None
    chat_model: str | None = None
    api_key: SecretStr | None = None
    active: bool = True
    document_prefix: str | None = None
    query_prefix: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    at_once: int | None = None
