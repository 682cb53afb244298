"""Vector spaces: what decides the meaning of a vector besides its text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderIdentity:
    """Two embedders of one identity share a vector space; anything that differs here makes another one."""

    provider: str
    model: str
    document_prefix: str = ""
    query_prefix: str = ""

    @override
    def __str__(self) -> str:
        return self.provider if self.provider == "local" else f"{self.provider}:{self.model}"


class Role(StrEnum):
    """What a space is for: the one of the searches, the next one while it is filled, the last one; and all older."""

    ACTIVE = "active"
    BUILDING = "building"
    PREVIOUS = "previous"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A stored vector space. `provider_id` is who embeds for it (None: the one of the settings)."""

    id: int
    identity: EmbedderIdentity
    dimensions: int
    role: Role = Role.ACTIVE
    provider_id: UUID | None = None
