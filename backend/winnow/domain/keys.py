"""API keys: who calls, and what they may do. Of a key's secret only the hash is ever stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from typing_extensions import override

SECRET_BYTES = 32
_WRITTEN = re.compile(r"winnow_([1-9][0-9]{0,17})_([A-Za-z0-9_-]{43})")


class Scope(StrEnum):
    """What a key is good for: `read` finds, `write` brings messages in and has them extracted, `admin` does all."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was recognised."""

    id: int
    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the key is good for that."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class WrittenKey:
    """A key as its owner has it: `winnow_ID_SECRET`, the id to find it by and 32 random bytes to prove it with."""

    id: int
    secret: str

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The key in `text`; None when it has not the form of one."""
        found = _WRITTEN.fullmatch(text)
        return cls(int(found[1]), found[2]) if found else None

    @override
    def __str__(self) -> str:
        return f"winnow_{self.id}_{self.secret}"

    def proves(self, secret_hash: bytes) -> bool:
        """Whether the stored hash is this secret's, in time that does not tell how much of it is right."""
        return hmac.compare_digest(hash_of(self.secret), secret_hash)


def new_secret() -> str:
    """A secret nobody can guess: 256 random bits, 43 characters."""
    return secrets.token_urlsafe(SECRET_BYTES)


def hash_of(secret: str) -> bytes:
    """SHA-256, 32 bytes. Slow hashes protect what people choose; 256 random bits need no such help."""
    return hashlib.sha256(secret.encode()).digest()
