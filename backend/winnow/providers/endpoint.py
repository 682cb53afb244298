"""One model of one server as wrappers see it: a single request, its answer, and what it refuses as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.pacing import RateLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: float32 vectors of shape (texts, dimensions); tokens and limits, if the server told them."""

    vectors: NDArray[np.float32]
    tokens: int | None = None
    limits: RateLimits | None = None


class BatchRefused(Exception):
    """The server takes fewer texts or tokens in one request; `cap` texts, if it named a number.

    Raised by an `Endpoint` for requests of more than one text, and never seen outside `PortionedRequests`.
    """

    def __init__(self, cap: int | None) -> None:
        super().__init__(cap)
        self.cap = cap


class Endpoint(Protocol):
    """Embeds the texts of one request, prefixes and all, as they are given."""

    @property
    def shown(self) -> str:
        """The server as messages name it, without credentials."""
        ...

    async def ask(self, texts: list[str]) -> Answer:
        """One vector for each text.

        Raises:
            BatchRefused: fewer texts might be taken.
            WinnowError: as an `Embedder` does.
        """
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...
