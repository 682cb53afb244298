"""What the API takes and tells of providers. A key is taken, and never told."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    WithJsonSchema,
)

from winnow.api.schemas import GivenIn, whole
from winnow.domain.providers import SERVED, ProviderKind
from winnow.pipeline.provider_rules import (
    MOST_A_MINUTE,
    MOST_AT_ONCE,
    MOST_KEY_CHARACTERS,
    MOST_MODEL_CHARACTERS,
    MOST_PREFIX_CHARACTERS,
    MOST_URL_CHARACTERS,
    MOST_URLS,
    NAME,
)
from winnow.pipeline.providers import ProviderChanges

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def _like(pattern: str, words: str) -> tuple[FieldInfo, AfterValidator]:
    """Refuses other text in these words; pydantic's own would repeat the pattern."""
    form = re.compile(pattern)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(words)
        return value

    described: FieldInfo = Field(json_schema_extra={"pattern": f"^{pattern}$"})
    return described, AfterValidator(check)


def _served(value: object) -> object:
    if value not in SERVED:
        raise ValueError(f"choose {' or '.join(SERVED)}")
    return value


ProviderName = Annotated[
    str, *_like(NAME, "it has 1 to 64 of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit")
]
# What else cannot be in a URL is told by the use case.
Url = Annotated[
    str,
    *_like(
        r"https?://[A-Za-z0-9._:\[\]-]+(/[!-\"$->@-~]*)?",
        "write it like http://gpu1:11434 or https://api.openai.com/v1, without credentials, query and fragment",
    ),
    Field(max_length=MOST_URL_CHARACTERS),
]
Urls = Annotated[list[Url], Field(min_length=1, max_length=MOST_URLS)]
Model = Annotated[
    str, *_like(r"[!-~]+", "it has printable ASCII characters, and no blanks"), Field(max_length=MOST_MODEL_CHARACTERS)
]
Prefix = Annotated[
    str, *_like(r"[^\x00]*", "it has a character that cannot be stored"), Field(max_length=MOST_PREFIX_CHARACTERS)
]
Key = Annotated[SecretStr, Field(min_length=1, max_length=MOST_KEY_CHARACTERS)]
AMinute = Annotated[int, Field(ge=1, le=MOST_A_MINUTE, strict=True), BeforeValidator(whole)]
Kind = Annotated[
    ProviderKind, BeforeValidator(_served), WithJsonSchema({"type": "string", "enum": [kind.value for kind in SERVED]})
]
AtOnce = Annotated[int, Field(ge=1, le=MOST_AT_ONCE, strict=True), BeforeValidator(whole)]


class ProviderIn(GivenIn):
    """A provider to write down; `urls` are of servers with the same models, the preferred one first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "gpu",
                "kind": "ollama",
                "urls": ["http://127.0.0.1:11434"],
                "embedding_model": "mxbai-embed-large",
            }
        },
    )

    name: ProviderName
    kind: Kind
    urls: Urls
    embedding_model: Model | None = None
    chat_model: Model | None = None
    api_key: Key | None = Field(None, description="Stored encrypted, sent to these URLs only, never told again.")
    active: StrictBool = True
    document_prefix: Prefix | None = Field(None, description="null: the model's own.")
    query_prefix: Prefix | None = Field(None, description="null: the model's own.")
    requests_per_minute: AMinute | None = Field(None, description="null: what the server says.")
    tokens_per_minute: AMinute | None = Field(None, description="null: what the server says.")
    at_once: AtOnce | None = Field(None, description="Requests in flight; null: found by measuring.")


class ProviderEditIn(GivenIn):
    """What is to be other than it is; what is not there stays, null takes a value away."""

    model_config = ConfigDict(json_schema_extra={"example": {"chat_model": "qwen3:8b", "at_once": 2}})

    # The default of what cannot be null is never used: only members that were sent are read.
    name: ProviderName = Field(default_factory=str)
    urls: Urls = Field(default_factory=list)
    embedding_model: Model | None = None
    chat_model: Model | None = None
    api_key: Key | None = Field(None, description="null takes it away.")
    active: StrictBool = Field(default_factory=bool)
    document_prefix: Prefix | None = None
    query_prefix: Prefix | None = None
    requests_per_minute: AMinute | None = None
    tokens_per_minute: AMinute | None = None
    at_once: AtOnce | None = None


def changes_in(body: ProviderIn | ProviderEditIn) -> ProviderChanges:
    """The members that were sent, as the use cases take them."""
    return cast("ProviderChanges", {name: getattr(body, name) for name in body.model_fields_set - {"kind"}})


class ProviderOut(BaseModel):
    """A provider without its key. What the last check said is of the set-up as it is now."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    kind: ProviderKind
    urls: list[str]
    embedding_model: str | None
    chat_model: str | None
    has_key: bool
    active: bool
    document_prefix: str | None
    query_prefix: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    at_once: int | None
    created_at: datetime
    changed_at: datetime
    checked_at: datetime | None
    check_passed: bool | None
    check_said: str | None


class ProvidersOut(BaseModel):
    """All providers, by name."""

    items: list[ProviderOut]


class CheckedOut(BaseModel):
    """What a provider's servers answered just now; `dimensions` are of its embedding model's vectors.

    `warning`: it can be used, though not all of its servers answer.
    """

    model_config = ConfigDict(from_attributes=True)

    passed: bool
    said: str
    warning: bool
    dimensions: int | None
