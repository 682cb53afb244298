"""How well the built-in rules find decisions and actions in real meetings whose people labelled them by hand.

`python -m bench meetings [--data FOLDER] [--final]`, FOLDER being (or holding) `minutes/` with one chat a file, named
by its date; without it, the chats of `examples/`. Odd years are what the rules were made with; `--final` measures the
even years too, which nobody looked at.

People wrote `RESOLVED: …` and `ACTION: …` into the chats. Those lines are the gold labels, and are taken out. Of
`PROPOSAL: …` and `Topic: …` the mark is taken away and the words stay. What is left goes the program's whole way:
score, link, windows, extraction. A found atom is right when it and a label of its type share words (Dice's coefficient
of the content words at least 0.5) and stand within 40 messages of each other; each label counts once, each atom too.

"With a proposal or votes": the label's proposal stands within the 60 messages before it (the words alike by the same
measure), or two people voted within the 15 before it. Recall is of those labels; an atom that is right by a label of
the others counts neither for nor against, and every other atom counts as wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.extraction import chats, meetings_folder, read_chat, said_in, ungrounded
from bench.tables import Table

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.words import content_words, overlap
from winnow.domain.votes import vote_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.tables import Options

    from winnow.domain.knowledge import ExtractedAtom
    from winnow.domain.messages import IncomingMessage

SAME = 0.5
WITHIN = 40
PROPOSED_WITHIN = 60
VOTED_WITHIN = 15
NEARBY = 10
CUTS = (0.4, 0.5, 0.6, 0.7, 0.8)
_OPENS = r"^[\s.\u2026]{0,8}(?:[\w`-]{1,30}:\s+)?"
_LABEL = re.compile(_OPENS + r"(RESOLVED|RESOLUTION|ACTION)\s*:\s*(.+)", re.IGNORECASE | re.DOTALL)
_PROPOSAL = re.compile(_OPENS + r"((?:counter[ -]?)?PROPOS(?:AL|ED)(?: \d+)?\s*:\s*)", re.IGNORECASE)
_TOPIC = re.compile(_OPENS + r"((?:sub-?)?topic\s*:\s*)", re.IGNORECASE)


@dataclass(frozen=True)
class Gold:
    """A label of the chat: what it says, at which message, and whether a proposal or votes stand before it."""

    type: AtomType
    words: frozenset[str]
    position: int
    proposed: bool = False


@dataclass(frozen=True)
class Judged:
    """A found atom: how sure it was, which label it is right by, if any, and whether that had a proposal or votes."""

    confidence: float
    right: bool
    proposed: bool
    place: int


@dataclass
class Meetings:
    """All decisions and actions of a split, judged."""

    gold: list[Gold]
    judged: dict[AtomType, list[Judged]]
    noticed: int
    atoms: int
    ungrounded: int

    def wanted(self, kind: AtomType, *, proposed: bool = False) -> int:
        """How many labels there are to find."""
        return sum(label.type is kind and (label.proposed or not proposed) for label in self.gold)


def unlabelled(
    messages: Sequence[IncomingMessage], *, proposals_too: bool = False
) -> tuple[list[IncomingMessage], list[int], list[Gold]]:
    """The messages without labelled lines and marks, each one's place in the chat, and the labels.

    `proposals_too` takes out the lines of the proposals altogether.
    """
    kept, places, gold = [], [], []
    proposals: list[tuple[int, frozenset[str]]] = []
    voters: list[tuple[int, str]] = []
    for place, message in enumerate(messages):
        label = _LABEL.match(message.text)
        if label is not None:
            words = frozenset(content_words(label.group(2)))
            kind = AtomType.ACTION if label.group(1).upper() == "ACTION" else AtomType.DECISION
            near = any(place - at <= PROPOSED_WITHIN and overlap(words, other) >= SAME for at, other in proposals)
            voted = len({who for at, who in voters if place - at <= VOTED_WITHIN}) > 1
            gold.append(Gold(kind, words, place, near or voted))
            continue
        text = message.text
        if proposal := _PROPOSAL.match(text):
            proposals.append((place, frozenset(content_words(text[proposal.end() :]))))
            if proposals_too:
                continue
        for mark in (proposal, _TOPIC.match(text)):
            if mark is not None:
                text = text[: mark.start(1)] + text[mark.end(1) :]
        if vote_in(text) > 0:
            voters.append((place, message.author))
        kept.append(replace(message, text=text))
        places.append(place)
    return kept, places, gold


def measure(paths: Iterable[Path], *, graded: bool = False, proposals_too: bool = False) -> Meetings:
    """Extracts from every chat and holds what was found against the labels; `graded`: without calibration."""
    total = Meetings([], {AtomType.DECISION: [], AtomType.ACTION: []}, 0, 0, 0)
    for path in paths:
        kept, places, gold = unlabelled(said_in(path), proposals_too=proposals_too)
        read = read_chat(kept, path.stem, places, graded=graded)
        total.gold += gold
        total.atoms += len(read.atoms)
        total.ungrounded += ungrounded(read)
        for kind, known in total.judged.items():
            atoms = [atom for atom in read.atoms if atom.type is kind]
            labels = [label for label in gold if label.type is kind]
            known.extend(judge(atoms, labels))
            if kind is AtomType.ACTION:
                total.noticed += sum(is_noticed(label, atoms) for label in labels)
    return total


def judge(atoms: Sequence[ExtractedAtom], gold: Sequence[Gold]) -> list[Judged]:
    """Each atom with the label it is right by: the most alike pairs first, each atom and label in one pair at most."""
    pairs = []
    for number, atom in enumerate(atoms):
        words = frozenset(content_words(atom.content))
        for place, label in enumerate(gold):
            likeness = overlap(words, label.words)
            near = any(abs(evidence.message_id - label.position) <= WITHIN for evidence in atom.evidence)
            if likeness >= SAME and near:
                pairs.append((likeness, atom.confidence, -number, -place))
    label_of: dict[int, Gold] = {}
    used: set[int] = set()
    for _, _, number, place in sorted(pairs, reverse=True):
        if -number not in label_of and -place not in used:
            label_of[-number] = gold[-place]
            used.add(-place)
    return [
        Judged(
            confidence=atom.confidence,
            right=number in label_of,
            proposed=number in label_of and label_of[number].proposed,
            place=atom.evidence[0].message_id,
        )
        for number, atom in enumerate(atoms)
    ]


def is_noticed(label: Gold, atoms: Sequence[ExtractedAtom]) -> bool:
    """Whether any atom was found close by, whatever its words: people paraphrase when they write a label."""
    return any(abs(one.message_id - label.position) <= NEARBY for atom in atoms for one in atom.evidence)


def figures(right: int, found: int, wanted: int) -> tuple[float, float, float]:
    """Precision, recall, F1."""
    precision, recall = right / max(1, found), right / max(1, wanted)
    return (
        round(precision, 3),
        round(recall, 3),
        round(2 * precision * recall / (precision + recall), 3) if right else 0.0,
    )


def by_cut(title: str, measured: Meetings, without_proposals: Meetings) -> Table:
    """Decisions at each confidence cut: all, and those with a proposal or votes in the chat; and without proposals."""
    judged = measured.judged[AtomType.DECISION]
    table = Table(
        title=title,
        columns=("decisions", "gold", "found", "right", "P", "R", "F1"),
        notes=[
            (
                f"The cut of the program is 0.5. Target: F1 of 0.5 or more where a proposal or votes are in the chat. "
                "With their lines out, what was decided is in nobody's words but those of the talk before, and the "
                "measure asks for the label's. Evidence is the message's own characters in "
                f"{measured.atoms - measured.ungrounded:,} of "
                f"{measured.atoms:,} atoms of all types (hidden candidates among them)."
            )
        ],
    )
    for cut in CUTS:
        kept = [one for one in judged if one.confidence >= cut]
        right, wanted = sum(one.right for one in kept), measured.wanted(AtomType.DECISION)
        table.rows.append((f"all, cut {cut}", wanted, len(kept), right, *figures(right, len(kept), wanted)))
    for cut in CUTS:
        kept = [one for one in judged if one.confidence >= cut and (one.proposed or not one.right)]
        right, wanted = sum(one.right for one in kept), measured.wanted(AtomType.DECISION, proposed=True)
        table.rows.append(
            (f"with a proposal or votes, cut {cut}", wanted, len(kept), right, *figures(right, len(kept), wanted))
        )
    kept = [one for one in without_proposals.judged[AtomType.DECISION] if one.confidence >= 0.5]
    right, wanted = sum(one.right for one in kept), without_proposals.wanted(AtomType.DECISION)
    table.rows.append(
        ("proposals' lines out, too, cut 0.5", wanted, len(kept), right, *figures(right, len(kept), wanted))
    )
    return table


def top_and_actions(title: str, measured: Meetings) -> Table:
    """The most confident tenth of the decisions, and the counts of actions."""
    table = Table(title=title, columns=("what", "gold", "found", "right", "P", "noticed"), notes=[NOTE])
    decisions = sorted(measured.judged[AtomType.DECISION], key=lambda one: -one.confidence)
    top = decisions[: -(-len(decisions) // 10)]
    right = sum(one.right for one in top)
    table.rows.append(
        (
            "decisions, the surest tenth",
            measured.wanted(AtomType.DECISION),
            len(top),
            right,
            right / max(1, len(top)),
            "",
        )
    )
    actions = [one for one in measured.judged[AtomType.ACTION] if one.confidence >= 0.5]
    right, wanted = sum(one.right for one in actions), measured.wanted(AtomType.ACTION)
    table.rows.append(("actions, cut 0.5", wanted, len(actions), right, right / max(1, len(actions)), measured.noticed))
    return table


NOTE = (
    "The surest tenth: of all decisions that were found, hidden candidates among them. Target: 0.8 or more. Actions "
    f"are too few for shares; noticed: labels with any action within {NEARBY} messages, whatever its words."
)


async def run(options: Options) -> list[Table]:
    """The figures of the odd years and, asked for by `--final`, of the even ones."""
    folder, tables = meetings_folder(options), []
    for split in ("odd", "even") if options.final else ("odd",):
        paths = chats(folder, split)
        measured = measure(paths)
        looked = "the rules were made looking at these" if split == "odd" else "never looked at before this run"
        title = f"meetings: decisions in {len(paths)} chats of {split} years ({looked})"
        tables.append(by_cut(title, measured, measure(paths, proposals_too=True)))
        tables.append(top_and_actions(f"meetings: the surest decisions, and actions, {split} years", measured))
    return tables
