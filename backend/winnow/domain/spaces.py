"""Vector spaces: what decides the meaning of a vector besides its text."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from typing_extensions import override

from winnow.domain.providers import TRAITS

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
        return self.called(self.provider)

    def called(self, provider: str) -> str:
        """The model as people call it, at a provider of this name; the built-in one has no other than its provider."""
        return f"{provider}:{self.model}" if self.is_served else provider

    @property
    def is_served(self) -> bool:
        """Whether a server has the model, of which nobody knows what it is but by its name."""
        kind = TRAITS.get(self.provider)
        return kind is None or kind.is_served


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the settings insist on; None: whatever the stored space has."""

    provider: str | None = None
    model: str | None = None
    document_prefix: str | None = None
    query_prefix: str | None = None

    @classmethod
    def for_exactly(cls, identity: EmbedderIdentity) -> Wish:
        """No other identity will do."""
        return cls(**{name: getattr(identity, name) for name in cls.__slots__})

    def fits(self, identity: EmbedderIdentity) -> bool:
        """Whether the identity is what is wished for."""
        return all(getattr(self, name) in {None, getattr(identity, name)} for name in self.__slots__)


class Role(StrEnum):
    """What a space is for: the one of the searches, the next one while it is filled, the last one; and all older."""

    ACTIVE = "active"
    BUILDING = "building"
    PREVIOUS = "previous"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A stored vector space.

    Attributes:
        role: its column's.
        provider_id: who embeds for it; None: the one of the settings.
        provider_name: what people call that one; None: as its kind.
        fingerprint: the vector of a fixed sentence (`providers.base.FINGERPRINT_TEXT`), by which its model is known.
    """

    id: int
    identity: EmbedderIdentity
    dimensions: int
    role: Role = Role.ACTIVE
    provider_id: UUID | None = None
    provider_name: str | None = field(default=None, compare=False)
    fingerprint: tuple[float, ...] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its model as people call it, which `winnow model use` understands."""
        return self.identity.called(self.provider_name or self.identity.provider)
