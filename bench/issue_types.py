"""How well the built-in rules tell types of atoms apart, on issue threads whose sentences people labelled.

`python -m bench issue_types --data FOLDER`, FOLDER being (or holding) `issue-types/` (Arya and others, "Analysis and
Detection of Information Types of Open Source Software Issue Discussions", ICSE 2019: 15 threads, 13 types). Each
comment is a message, each of its sentences a line. A label of theirs is not one of ours: `WANTED` says what we would
call it, and `RIGHT` which labels an atom of a type may stand on besides. Questions, answers, risks, blockers and
patterns have no label there and are left out; sentences labelled as usage or small talk should give nothing.

Threads with odd numbers are for tuning, calibration and corrections; figures are of those with even numbers.

Corrections are simulated: somebody goes through the atoms of the odd threads, those nearest to the cut first (as a
queue for review shows them), and accepts what is right, gives what is of another type that type, rejects the rest. The
judge that this teaches then weighs the atoms of the even threads.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from bench.extraction import read_chat
from bench.meetings import figures
from bench.tables import Table

from winnow.domain.judge import AtomAsFound, Judge, Review, Verdict, train
from winnow.domain.knowledge import AtomType
from winnow.domain.messages import IncomingMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.tables import Options

    from winnow.domain.knowledge import ExtractedAtom

CUT = 0.5
CORRECTIONS = (0, 50, 100)
START = datetime(2018, 1, 1, tzinfo=UTC)
WANTED = {
    "Observed Bug Behaviour": AtomType.PROBLEM,
    "Bug Reproduction": AtomType.PROBLEM,
    "Workarounds": AtomType.SOLUTION,
    "Solution Discussion": AtomType.IDEA,
    "Expected Behaviour": AtomType.REQUIREMENT,
    "Potential New Issues and Requests": AtomType.REQUIREMENT,
    "Motivation": AtomType.REQUIREMENT,
    "Investigation and Exploration": AtomType.INSIGHT,
    "Contribution and Commitment": AtomType.ACTION,
    "Task Progress": AtomType.ACTION,
    "Action on Issue": AtomType.DECISION,
}
RIGHT = {
    AtomType.PROBLEM: {"Potential New Issues and Requests", "Investigation and Exploration"},
    AtomType.SOLUTION: {"Solution Discussion"},
    AtomType.IDEA: {"Potential New Issues and Requests", "Workarounds"},
    AtomType.REQUIREMENT: {"Solution Discussion"},
    AtomType.INSIGHT: {"Solution Discussion"},
    AtomType.ACTION: {"Action on Issue"},
    AtomType.DECISION: {"Solution Discussion"},
}


@dataclass(frozen=True)
class Sentence:
    """A labelled sentence: where it stands, and what people called it."""

    message: int
    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Judged:
    """An atom and the label of the sentence it stands on."""

    atom: AtomAsFound
    label: str

    @property
    def right(self) -> bool:
        """Whether the label is one that such an atom may stand on."""
        return WANTED.get(self.label) is self.atom.type or self.label in RIGHT[self.atom.type]

    def review(self) -> Review:
        """What somebody who knows the labels would do with it."""
        if self.right:
            return Review(atom=self.atom, verdict=Verdict.ACCEPT)
        wanted = WANTED.get(self.label)
        if wanted is None:
            return Review(atom=self.atom, verdict=Verdict.REJECT)
        return Review(atom=self.atom, verdict=Verdict.EDIT, corrected=wanted)


@dataclass
class Threads:
    """Some threads: their atoms, and how many sentences there are to find of each type."""

    judged: list[Judged]
    wanted: Counter[AtomType]


def threads_file(options: Options) -> Path | None:
    """Where the labelled sentences are; None without them."""
    folder = options.data
    places = (folder / "issue-types", folder) if folder else ()
    return next((one / "dataInfoTypes.csv" for one in places if (one / "dataInfoTypes.csv").exists()), None)


def read_threads(path: Path, *, odd: bool, graded: bool = False) -> Threads:
    """The threads with odd or even numbers, read by the rules; `graded`: without calibration."""
    threads = Threads([], Counter())
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    for document, group in groupby(rows, key=lambda row: row["Document"]):
        if int(document.split()[0]) % 2 == odd:
            messages, sentences = _comments(document, list(group))
            threads.wanted.update(WANTED[one.label] for one in sentences if one.label in WANTED)
            atoms = read_chat(messages, document, graded=graded).atoms
            threads.judged += [
                judged for atom in atoms if atom.type in RIGHT and (judged := _judged(atom, sentences)) is not None
            ]
    return threads


def _comments(document: str, rows: Sequence[dict[str, str]]) -> tuple[list[IncomingMessage], list[Sentence]]:
    """Rows of one comment have its place in the thread in common."""
    messages: list[IncomingMessage] = []
    sentences: list[Sentence] = []
    for number, (_, group) in enumerate(groupby(rows, key=lambda row: (row["tpos1"], row["tpos2"]))):
        text, author = "", f"person{number}"
        for row in group:
            said = " ".join(row["Text Content"].split())
            sentences.append(Sentence(number, len(text), len(text) + len(said), row["Code"]))
            text += f"{said}\n"
            author = "reporter" if row["begauth"] == "TRUE" else author
        messages.append(
            IncomingMessage(
                source="issues",
                channel=document,
                external_id=str(number),
                author=author,
                text=text,
                sent_at=START + timedelta(hours=number),
            )
        )
    return messages, sentences


def _judged(atom: ExtractedAtom, sentences: Iterable[Sentence]) -> Judged | None:
    """The atom on the labelled sentence that its own words begin in."""
    own = next((one for one in atom.evidence if atom.content.startswith(one.quote[:20].strip())), atom.evidence[0])
    label = next(
        (one.label for one in sentences if one.message == own.message_id and one.start <= own.start < one.end), None
    )
    if label is None:
        return None
    found = AtomAsFound(
        type=atom.type, title=atom.title, content=atom.content, extractor="rules", confidence=atom.confidence
    )
    return Judged(found, label)


def judge_after(judged: Sequence[Judged], corrections: int) -> Judge:
    """Taught by so many corrections, those nearest to the cut first."""
    queue = sorted(judged, key=lambda one: (abs(one.atom.confidence - CUT), one.atom.content))
    return train([one.review() for one in queue[:corrections]])


def figures_of(kind: AtomType, threads: Threads, judge: Judge) -> tuple[int, int, float, float, float]:
    """Found at the cut, right, precision, recall, F1. One sentence is found once, however many atoms stand on it."""
    found = [one for one in threads.judged if one.atom.type is kind and judge.confidence(one.atom) >= CUT]
    right = sum(one.right for one in found)
    hits = sum(WANTED.get(one.label) is kind for one in found)
    precision, recall = figures(right, len(found), 0)[0], figures(hits, 0, threads.wanted[kind])[1]
    return len(found), right, precision, recall, round(2 * precision * recall / max(1e-9, precision + recall), 3)


async def run(options: Options) -> list[Table]:
    """A row for each type and number of corrections."""
    path = threads_file(options)
    if path is None:
        return []
    taught, held_out = read_threads(path, odd=True), read_threads(path, odd=False)
    table = Table(
        title="issue types: sentences of issue threads by type, even threads",
        columns=("type", "corrections", "sentences", "found", "right", "P", "R", "F1"),
        notes=[
            (
                f"At the cut of {CUT}. P: atoms on a sentence with a label that fits; R: sentences that people gave "
                f"the type's own label. {len(taught.judged)} atoms of odd threads, hidden ones among them, were there "
                f"to be corrected; {len(held_out.judged)} of even threads to be judged."
            )
        ],
    )
    judges = {number: judge_after(taught.judged, number) for number in CORRECTIONS}
    for kind in RIGHT:
        for number, judge in judges.items():
            table.rows.append((kind.value, number, held_out.wanted[kind], *figures_of(kind, held_out, judge)))
    for number, judge in judges.items():
        found = [one for one in held_out.judged if judge.confidence(one.atom) >= CUT]
        right, wanted = sum(one.right for one in found), sum(held_out.wanted.values())
        hits = sum(WANTED.get(one.label) is one.atom.type for one in found)
        precision, recall = right / max(1, len(found)), hits / max(1, wanted)
        f1 = 2 * precision * recall / max(1e-9, precision + recall)
        table.rows.append(("all", number, wanted, len(found), right, *(round(x, 3) for x in (precision, recall, f1))))
    return [table]
