"""Tasks whose work is found again without them are told from the others."""

from __future__ import annotations

from taskiq import InMemoryBroker

from winnow.queue.receiver import DISPENSABLE_LABEL
from winnow.tasks.dispatch import register_tasks


def test_an_extraction_is_missed_and_an_embedding_is_not() -> None:
    broker = InMemoryBroker()
    register_tasks(broker)
    missed = {name for name, task in broker.local_task_registry.items() if not task.labels[DISPENSABLE_LABEL]}
    assert missed == {"extract_knowledge_from_messages_task"}
    assert len(broker.local_task_registry) == 6
