"""Vector spaces: what decides the meaning of a vector besides its text."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A stored vector space."""

    id: int
    identity: EmbedderIdentity
    dimensions: int
