"""The ids of a request travel with its tasks, and each task ends with one line."""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final

import structlog
from taskiq import TaskiqMiddleware
from taskiq.exceptions import NoResultError
from typing_extensions import override

from .delivery import current_delivery
from .errors import Transient, WorkerBusy
from .verdicts import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskiq import TaskiqMessage, TaskiqResult

log = structlog.get_logger(__name__)

CARRIED: Final = ("request_id", "run_id")

_bound: ContextVar[tuple[float, Mapping[str, Token[Any]]] | None] = ContextVar("winnow_queue_bound", default=None)


class LogContextMiddleware(TaskiqMiddleware):
    """Carries the bound ids named in `carried` from the sender to the task, and logs how the task ended.

    While a task runs, every log line also has its `task_id` and `task_name`. The closing line is `task.finished` or
    `task.failed` (`task.postponed` where it waits for its turn), with seconds, lane and deliveries.
    """

    def __init__(self, carried: tuple[str, ...] = CARRIED) -> None:
        super().__init__()
        self._carried = carried

    @override
    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Puts the sender's ids among the labels, as text; a label that is there already stays."""
        bound = structlog.contextvars.get_contextvars()
        for key in self._carried:
            if key in bound:
                message.labels.setdefault(key, str(bound[key]))
        return message

    @override
    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Binds the ids for the time of the task."""
        ids = {key: message.labels[key] for key in self._carried if key in message.labels}
        tokens = structlog.contextvars.bind_contextvars(task_id=message.task_id, task_name=message.task_name, **ids)
        _bound.set((time.monotonic(), tokens))
        return message

    @override
    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Logs the closing line and unbinds the ids."""
        started, tokens = _bound.get() or (time.monotonic(), {})
        _close(time.monotonic() - started, result.error)
        structlog.contextvars.reset_contextvars(**tokens)
        _bound.set(None)


def _close(seconds: float, error: BaseException | None) -> None:
    delivery = current_delivery()
    facts: dict[str, Any] = {"seconds": round(seconds, 3)}
    if delivery is not None:
        facts |= {"lane": delivery.lane, "deliveries": delivery.number}
    if error is None or isinstance(error, NoResultError):  # the latter: it sent itself again, or wants no result
        log.info("task.finished", **facts)
        return
    facts |= {"error": type(error).__name__, "reason": str(error)}
    verdict = delivery.verdict if delivery is not None else None
    if verdict is not None:
        facts["then"] = verdict.action.value
        if verdict.action is Action.RETRY:
            facts["retry_in_seconds"] = round(verdict.delay_seconds, 1)
    if isinstance(error, WorkerBusy):
        log.debug("task.postponed", **facts)
    elif isinstance(error, Transient) or (verdict is not None and verdict.action is Action.RETURN):
        log.warning("task.failed", **facts)  # weather needs no traceback
    else:
        log.error("task.failed", **facts, exc_info=error)
