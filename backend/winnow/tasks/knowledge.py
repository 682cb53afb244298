"""Scoring, extraction and comparing tasks: what they raise, JetStream delivers again."""

from __future__ import annotations

from taskiq import TaskiqDepends

from winnow.domain.jobs import Asked, Lane
from winnow.pipeline.compare import Comparing, compare_atoms
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.score import score_messages
from winnow.tasks.tools import Tools, lane_of, tools_of


async def score_message_task(
    message_ids: list[int], tools: Tools = TaskiqDepends(tools_of), lane: Lane = TaskiqDepends(lane_of)
) -> None:
    await score_messages(tools.scoring, message_ids, lane=lane)


async def extract_knowledge_from_messages_task(
    message_ids: list[int],
    asked: str = Asked.HAND,
    tools: Tools = TaskiqDepends(tools_of),
    lane: Lane = TaskiqDepends(lane_of),
) -> None:
    with tools.extraction_turns.taken(lane):
        await extract_knowledge(tools.extracting, message_ids, lane=lane, asked=Asked(asked))


async def compare_atoms_task(atom_ids: list[int], tools: Tools = TaskiqDepends(tools_of)) -> None:
    comparing = Comparing(database=tools.extracting.database, units=tools.extracting.units)
    await compare_atoms(comparing, atom_ids)
