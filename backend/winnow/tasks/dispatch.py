"""Jobs become tasks: registered on every lane's broker, sent by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from winnow.domain.jobs import Asked, EmbedJob, ExtractJob, Kind, ScoreJob
from winnow.queue.receiver import DISPENSABLE_LABEL
from winnow.tasks.embedding import embed_atoms_batch_task, embed_messages_batch_task, embed_topics_batch_task
from winnow.tasks.knowledge import extract_knowledge_from_messages_task, score_message_task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskiq import AsyncBroker

    from winnow.domain.jobs import Job, Lane

TaskFunction = Callable[..., Coroutine[Any, Any, None]]

EMBED_TASKS: dict[Kind, str] = {
    Kind.MESSAGES: "embed_messages_batch_task",
    Kind.ATOMS: "embed_atoms_batch_task",
    Kind.TOPICS: "embed_topics_batch_task",
}
# By name once and for all: taskiq renames the functions it is given.
TASKS: dict[str, TaskFunction] = {
    "embed_messages_batch_task": embed_messages_batch_task,
    "embed_atoms_batch_task": embed_atoms_batch_task,
    "embed_topics_batch_task": embed_topics_batch_task,
    "score_message_task": score_message_task,
    "extract_knowledge_from_messages_task": extract_knowledge_from_messages_task,
}
# What they leave undone is NULL, and the sweeper finds it; a message without a score gets one when it is extracted.
DISPENSABLE = {*EMBED_TASKS.values(), "score_message_task"}


def register_tasks(broker: AsyncBroker) -> None:
    """Makes every task known to a broker."""
    for name, task in TASKS.items():
        broker.register_task(task, task_name=name, **{DISPENSABLE_LABEL: name in DISPENSABLE})


class TaskDispatcher:
    """Sends jobs over the lanes' brokers, all of a call at once."""

    def __init__(self, brokers: Mapping[Lane, AsyncBroker]) -> None:
        self._brokers = brokers

    async def dispatch(self, jobs: Sequence[Job], lane: Lane) -> None:
        """Returns once JetStream has stored every job.

        Raises:
            QueueUnavailable: at least one job may not have left.
        """
        sent = await asyncio.gather(*(self._send(job, lane) for job in jobs), return_exceptions=True)
        for outcome in sent:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _send(self, job: Job, lane: Lane) -> None:
        name = _task_name(job)
        task = self._brokers[lane].find_task(name)
        if task is None:
            raise LookupError(f"the broker of lane {lane} does not know {name}")
        await task.kiq(list(job.ids), **_details(job))


def _details(job: Job) -> dict[str, Any]:
    """What a task is told beside its ids, and only where it is not what it would do anyway."""
    match job:
        case EmbedJob():
            told: dict[str, Any] = {"space_id": job.space_id, "run": job.run}
        case ExtractJob():
            told = {"asked": None if job.asked is Asked.HAND else job.asked.value}
        case _:
            told = {}
    return {name: value for name, value in told.items() if value is not None}


def _task_name(job: Job) -> str:
    match job:
        case EmbedJob(kind=kind):
            return EMBED_TASKS[kind]
        case ScoreJob():
            return "score_message_task"
        case ExtractJob():
            return "extract_knowledge_from_messages_task"
