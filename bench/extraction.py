"""How well the built-in rules find decisions and actions in real meeting chats whose people labelled them by hand.

`python -m bench extraction [--data FOLDER]`, FOLDER being (or holding) `minutes/` with one chat a file, named by its
date; without it, the chats of `examples/`. `python -m bench.extraction --help` has more to choose from.

People wrote `RESOLVED: …` and `ACTION: …` into the chats. Those lines are the gold labels: they are taken out of the
input, the extractor sees only the rest, and must find the decision or action in what was said around. A found atom is
right when it and a gold label of its type share words (Dice's coefficient of the content words at least 0.5) and stand
within `--within` messages of each other; each label counts once. "noticed" asks less: some atom of the type within 10
messages of the label, whatever its words (people paraphrase when they write the label).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.stage import EXAMPLES
from bench.tables import Table

from winnow.domain.knowledge import AtomType, ExtractedAtom, WindowMessage
from winnow.domain.messages import IncomingMessage
from winnow.domain.rules import extract_by_rules
from winnow.domain.rules.words import content_words, overlap
from winnow.domain.scoring import score
from winnow.domain.windows import DEFAULT_CONTEXT, DEFAULT_SIZE, cut_windows
from winnow.sources.irc import read_irc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.tables import Options

_SAME = 0.5
_NEARBY_MESSAGES = 10
_WITHIN = 40
_LABEL = re.compile(
    r"^[\s.\u2026]{0,8}(?:[\w`-]{1,30}:\s+)?(RESOLVED|RESOLUTION|ACTION)\s*:\s*(.+)", re.IGNORECASE | re.DOTALL
)
_PROPOSAL = re.compile(r"^[\s.\u2026]{0,8}(?:[\w`-]{1,30}:\s+)?(?:counter[ -]?)?PROPOSAL\s*:", re.IGNORECASE)
_YEAR = re.compile(r"(\d{4})-\d\d-\d\d")


@dataclass(frozen=True)
class Gold:
    """A label of the chat: what it says, and at which message."""

    type: AtomType
    words: frozenset[str]
    position: int


@dataclass
class Tally:
    """Counts over all chats of one condition."""

    gold: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    seconds: float = 0.0

    def figures(self, kind: AtomType) -> dict[str, float]:
        """The counts, precision, recall and F1 of one type."""
        right, found, gold = self.right[kind], self.found[kind], self.gold[kind]
        precision, recall = right / max(1, found), right / max(1, gold)
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        return {
            "gold": gold,
            "found": found,
            "right": right,
            "precision": round(precision, 3),
            "recall": round(recall, 3),
            "f1": round(f1, 3),
            "noticed": round(self.noticed[kind] / max(1, gold), 3),
        }


def read_messages(path: Path) -> list[WindowMessage]:
    """A chat's messages; a message's id is its place in the file."""
    said = [item for item in read_irc(path) if isinstance(item, IncomingMessage)]
    return [
        WindowMessage(
            id=place,
            author=one.author,
            text=one.text,
            sent_at=one.sent_at,
            importance=score(one.text, one.author).importance,
        )
        for place, one in enumerate(said)
    ]


def masked(messages: Sequence[WindowMessage], *, proposals: bool) -> tuple[list[WindowMessage], list[Gold]]:
    """The messages without the labelled lines (and without PROPOSAL lines, if wished), and the labels."""
    kept, gold = [], []
    for message in messages:
        label = _LABEL.match(message.text)
        if label is not None:
            kind = AtomType.ACTION if label.group(1).upper() == "ACTION" else AtomType.DECISION
            gold.append(Gold(kind, frozenset(content_words(label.group(2))), message.id))
        elif not (proposals and _PROPOSAL.match(message.text)):
            kept.append(message)
    return kept, gold


def measure(paths: Iterable[Path], *, proposals: bool, size: int, context: int, within: int) -> Tally:
    """Runs the extractor over every chat and holds it against the labels."""
    tally = Tally()
    for path in paths:
        kept, gold = masked(read_messages(path), proposals=proposals)
        started = time.perf_counter()
        windows = cut_windows(kept, channel=path.stem, size=size, context=context)
        atoms = [atom for window in windows for atom in extract_by_rules(window).atoms]
        tally.seconds += time.perf_counter() - started
        tally.messages += len(kept)
        tally.gold.update(label.type for label in gold)
        tally.found.update(atom.type for atom in atoms)
        tally.right.update(_matched(atoms, gold, within))
        tally.noticed.update(label.type for label in gold if _is_noticed(label, atoms))
    return tally


def _matched(atoms: Sequence[ExtractedAtom], gold: Sequence[Gold], within: int) -> list[AtomType]:
    """The types of the labels that were found; the best pairs first, each atom and label in one pair at most."""
    pairs = []
    for number, atom in enumerate(atoms):
        words = frozenset(content_words(atom.content))
        for place, label in enumerate(gold):
            likeness = overlap(words, label.words)
            near = any(abs(evidence.message_id - label.position) <= within for evidence in atom.evidence)
            if atom.type is label.type and likeness >= _SAME and near:
                pairs.append((likeness, number, place))
    used_atoms: set[int] = set()
    used_labels: set[int] = set()
    for _, number, place in sorted(pairs, reverse=True):
        if number not in used_atoms and place not in used_labels:
            used_atoms.add(number)
            used_labels.add(place)
    return [gold[place].type for place in used_labels]


def _is_noticed(label: Gold, atoms: Sequence[ExtractedAtom]) -> bool:
    """Whether any atom of the label's type was found close by, whatever its words."""
    return any(
        atom.type is label.type and abs(evidence.message_id - label.position) <= _NEARBY_MESSAGES
        for atom in atoms
        for evidence in atom.evidence
    )


def chats(folder: Path, split: str) -> list[Path]:
    """The chats of the odd years (tuning), the even years (final figures) or all."""
    wanted = {"odd": {1}, "even": {0}, "all": {0, 1}}[split]
    years = ((path, _YEAR.match(path.name)) for path in sorted(folder.glob("*.log")))
    return [path for path, year in years if year and int(year.group(1)) % 2 in wanted]


async def run(options: Options) -> list[Table]:
    """The figures of the odd years; the even ones are for final figures, by hand."""
    given = (options.data / "minutes", options.data) if options.data else ()
    folder = next((one for one in given if chats(one, "odd")), EXAMPLES)
    paths = chats(folder, "odd")
    table = Table(
        title=f"extraction: what the built-in rules find, {len(paths)} chats of odd years",
        columns=("taken out of the chats", "type", "gold", "found", "right", "P", "R", "F1", "noticed", "messages/s"),
        notes=[
            (
                "A hit shares words with the label (Dice at least 0.5) and stands within 40 messages of it. noticed: "
                f"any atom of the type within {_NEARBY_MESSAGES} messages of the label. The rules were made "
                "while looking "
                "at these years: figures of tuning, not of proof."
            )
        ],
    )
    for name, proposals in (("labels", False), ("labels and proposals", True)):
        tally = measure(paths, proposals=proposals, size=DEFAULT_SIZE, context=DEFAULT_CONTEXT, within=_WITHIN)
        speed = round(tally.messages / max(tally.seconds, 1e-9))
        for kind in (AtomType.DECISION, AtomType.ACTION):
            table.rows.append((name, kind.value, *tally.figures(kind).values(), speed))
    return [table]


def report(folder: Path, *, split: str, size: int, context: int, within: int) -> dict[str, object]:
    paths = chats(folder, split)
    conditions = {}
    for name, proposals in (("labels masked", False), ("labels and proposals masked", True)):
        tally = measure(paths, proposals=proposals, size=size, context=context, within=within)
        conditions[name] = {
            "decision": tally.figures(AtomType.DECISION),
            "action": tally.figures(AtomType.ACTION),
            "atoms_by_type": dict(sorted(tally.found.items())),
            "messages": tally.messages,
            "messages_per_second": round(tally.messages / max(tally.seconds, 1e-9)),
        }
    return {"split": split, "chats": len(paths), "window": size, "within_messages": within, "conditions": conditions}


def _print(result: dict[str, object]) -> None:
    print(f"{result['chats']} chats ({result['split']} years), windows of {result['window']} messages")
    conditions = result["conditions"]
    assert isinstance(conditions, dict)
    for name, figures in conditions.items():
        print(f"\n{name}: {figures['messages']} messages, {figures['messages_per_second']:,} a second")
        print(f"  {'':10}{'gold':>6}{'found':>7}{'right':>7}{'P':>8}{'R':>8}{'F1':>8}{'noticed':>9}")
        for kind in ("decision", "action"):
            row = figures[kind]
            print(
                f"  {kind:10}{row['gold']:>6}{row['found']:>7}{row['right']:>7}"
                f"{row['precision']:>8.3f}{row['recall']:>8.3f}{row['f1']:>8.3f}{row['noticed']:>9.3f}"
            )
        print("  atoms: " + ", ".join(f"{kind} {count}" for kind, count in figures["atoms_by_type"].items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the chats, one .log a meeting")
    parser.add_argument("--split", choices=("odd", "even", "all"), default="odd", help="years to measure on")
    parser.add_argument("--window", type=int, default=DEFAULT_SIZE, help="messages a window")
    parser.add_argument("--context", type=int, default=DEFAULT_CONTEXT, help="messages of context before each window")
    parser.add_argument(
        "--within", type=int, default=_WITHIN, help="how many messages an atom may stand from its label"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if not chats(given.data, given.split):
        print(f"no chats named YYYY-MM-DD.log of {given.split} years in {given.data}", file=sys.stderr)
        return 2
    result = report(given.data, split=given.split, size=given.window, context=given.context, within=given.within)
    print(json.dumps(result, indent=2)) if given.json else _print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
