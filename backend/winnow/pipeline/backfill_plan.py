"""What a backfill is to go over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role
from winnow.domain.usage import new_run
from winnow.pipeline.indexing import Load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.domain.budget import Budget
    from winnow.domain.spaces import Space
    from winnow.storage.embedding_records import KindCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to go over: kinds in order, rows in one task, most rows in all (None: no limit), in this process or not.

    `space` is the one to fill that is being built; None: the active one. It stops before it would exceed the budget;
    `run` is the name under which its uses of the model are noted.
    """

    kinds: tuple[Kind, ...] = tuple(Kind)
    batch_size: int = 100
    limit: int | None = None
    inline: bool = False
    space: Space | None = None
    budget: Budget | None = None
    run: str = field(default_factory=new_run)

    @property
    def role(self) -> Role:
        """Of the space to fill."""
        return self.space.role if self.space else Role.ACTIVE

    @property
    def space_id(self) -> int | None:
        """What tasks are told; the active space is what they take by themselves."""
        return self.space.id if self.space else None

    def loads(self, counts: Mapping[Kind, KindCounts], *, most: int | None = None) -> dict[Kind, Load]:
        """The rows it will go over, by kind; `most` in all, if that is less than its limit."""
        loads, left = {}, min((limit for limit in (self.limit, most) if limit is not None), default=None)
        for kind in self.kinds:
            backlog = counts[kind].without_vector - counts[kind].skipped
            if left is not None:
                backlog = min(backlog, left)
                left -= backlog
            loads[kind] = Load(embedded=counts[kind].embedded, backlog=backlog)
        return loads
