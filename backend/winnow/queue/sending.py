"""`kiq` that raises what the broker raised: taskiq wraps it into a SendTaskError that says nothing."""

from __future__ import annotations

from typing import Any, ParamSpec, TypeVar

from taskiq.decor import AsyncTaskiqDecoratedTask
from taskiq.exceptions import SendTaskError
from taskiq.kicker import AsyncKicker
from typing_extensions import override

_P = ParamSpec("_P")
_R = TypeVar("_R")


class JetStreamKicker(AsyncKicker[_P, _R]):
    """A kicker whose `kiq` raises `QueueUnavailable` (stored or not: unknown) or `Permanent` (too large)."""

    @override
    async def kiq(self, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        """Sends the task; returns its handle."""
        try:
            return await super().kiq(*args, **kwargs)
        except SendTaskError as error:
            if error.__cause__ is None:
                raise
            cause = error.__cause__
        raise cause


class JetStreamTask(AsyncTaskiqDecoratedTask[_P, _R]):
    """A task function whose `kiq` goes through `JetStreamKicker`."""

    @override
    def kicker(self) -> JetStreamKicker[_P, _R]:
        """A kicker of this task, to set labels or the id before sending."""
        return JetStreamKicker(
            task_name=self.task_name, broker=self.broker, labels=self.labels.copy(), return_type=self.return_type
        )
