"""What the work of embedding is spoken of in: rows in hand, why they got no vector, and how many stand where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.jobs import Kind
    from winnow.domain.spaces import Space


@dataclass(frozen=True, slots=True)
class EmbeddableText:
    """A row's text as it stood when it was read, and the hash by which a vector of it will be fenced.

    `known` says that another row of the same text has a vector already. `private`: it may not be sent to the space's
    model, which is elsewhere. `paid` is a vector of this very text (of its
    first `paid_characters`, if that is not None) that could not be stored when it came.
    """

    id: int
    text: str
    hash: bytes
    known: bool = False
    private: bool = False
    paid: NDArray[np.float32] | None = None
    paid_characters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What is known of a row that was taken.

    Its text was at fault `attempts` times, its server away `waits` times, and `deaths` workers died with it in hand.
    """

    attempts: int = 0
    waits: int = 0
    deaths: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A hold on rows of one kind: whoever lets it run out has lost them.

    `run` is what it was taken for, if told; `remote` says that the space's model is elsewhere.
    """

    kind: Kind
    space: Space
    token: UUID
    worker: str
    seconds: float
    run: str | None = None
    remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Why a row was not embedded.

    `fault` says that the text itself was (it counts towards its attempts), `weather` that the server was away (it
    counts towards its waits).
    """

    state: str
    error_kind: str
    error: str
    wait_seconds: float = 0
    fault: bool = False
    weather: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCounts:
    """Where the rows of a kind stand: embedded + pending + in_hand + waiting + failed + skipped = total."""

    total: int
    embedded: int
    pending: int
    in_hand: int
    waiting: int
    failed: int
    skipped: int
    oldest_pending: datetime | None = None

    @property
    def left(self) -> int:
        """Rows that will still get a vector."""
        return self.pending + self.in_hand + self.waiting

    @property
    def without_vector(self) -> int:
        """Rows whose embedding is NULL."""
        return self.total - self.embedded


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nobody asks the model server just now: why (`error_kind`, `because`), for how long already, and how much longer.

    `seconds_left` is 0 when it is time for one worker to look whether the server is well again.
    """

    pauses: int
    seconds_since: float
    seconds_left: float
    error_kind: str
    because: str
