"""How well topics are told apart and named without their marks, against the `Topic: …` lines of real meetings.

`python -m bench topics [--data FOLDER] [--final]`. The marks are stripped (see `meetings`); their words stay, as people
may have typed them. Topics are known again by their terms within a meeting, as they are in the program. Pairs: two
messages under one mark should be in one topic, two under different marks should not; messages without a topic are each
alone. V-measure: Rosenberg and Hirschberg, 2007.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.extraction import chats, meetings_folder, read_chat, said_in
from bench.meetings import unlabelled
from bench.tables import Table

from winnow.domain.rules.topics import topic_mark
from winnow.domain.rules.words import content_words
from winnow.domain.topics import grown_terms, match_topic

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from pathlib import Path

    from bench.extraction import Read
    from bench.tables import Options

_ISSUE = re.compile(r"issue[- ]?\d+|#\d+", re.IGNORECASE)


@dataclass
class Agreement:
    """Counts over meetings."""

    messages: int = 0
    named: int = 0
    together: int = 0
    found_together: int = 0
    wanted_together: int = 0
    found: list[Hashable] = field(default_factory=list)
    wanted: list[Hashable] = field(default_factory=list)
    names: int = 0
    shared: int = 0


def measure(paths: Iterable[Path]) -> Agreement:
    """Topics of all chats against their marks."""
    total = Agreement()
    for path in paths:
        messages = said_in(path)
        marked: dict[int, str] = {}
        topic = None
        for place, message in enumerate(messages):
            topic = topic_mark(message.text) or topic
            if topic:
                marked[place] = topic
        kept, places, _ = unlabelled(messages)
        _add(total, path.stem, marked, topics_of(read_chat(kept, path.stem, places)))
    return total


def topics_of(read: Read) -> dict[int, str]:
    """The topic of each message, known again from window to window by its terms."""
    known: dict[str, dict[str, float]] = {}
    names: dict[int, str] = {}
    for extraction in read.found:
        again = {name: match_topic(terms, known) or name for name, terms in extraction.terms.items()}
        for name, terms in extraction.terms.items():
            known[again[name]] = grown_terms(known.get(again[name], {}), terms)
        names |= {message: again.get(name, name) for message, name in extraction.message_topics.items()}
    return names | {message.id: names.get(message.id, "") for message in read.messages}


def _add(total: Agreement, channel: str, marked: Mapping[int, str], found: Mapping[int, str]) -> None:
    both = [(marked[place], found[place], place) for place in found if place in marked]
    wanted, made = Counter(one for one, _, _ in both), Counter(other for _, other, _ in both if other)
    total.messages += len(both)
    total.named += sum(made.values())
    total.together += sum(_pairs(number) for (_, other), number in Counter((a, b) for a, b, _ in both).items() if other)
    total.found_together += sum(map(_pairs, made.values()))
    total.wanted_together += sum(map(_pairs, wanted.values()))
    total.wanted += [(channel, one) for one, _, _ in both]
    total.found += [(channel, other or place) for _, other, place in both]
    for name in made:
        marks = Counter(one for one, other, _ in both if other == name)
        words = {_stem(word) for word in content_words(_ISSUE.sub(" ", marks.most_common(1)[0][0]))}
        total.names += 1
        total.shared += not words.isdisjoint(_stem(word) for word in content_words(name))


def _stem(word: str) -> str:
    return word.rstrip("s")


def _pairs(number: int) -> int:
    return number * (number - 1) // 2


def v_measure(wanted: Sequence[Hashable], found: Sequence[Hashable]) -> tuple[float, float, float]:
    """Homogeneity, completeness, and their harmonic mean."""
    joint, ones, others = Counter(zip(wanted, found, strict=True)), Counter(wanted), Counter(found)
    number = len(wanted)
    if not number:
        return 0.0, 0.0, 0.0
    of_wanted, of_found = _entropy(ones, number), _entropy(others, number)
    both = _entropy(joint, number)
    homogeneity = 1 - (both - of_found) / of_wanted if of_wanted else 1.0
    completeness = 1 - (both - of_wanted) / of_found if of_found else 1.0
    return homogeneity, completeness, 2 * homogeneity * completeness / max(1e-9, homogeneity + completeness)


def _entropy(counts: Counter[Any], number: int) -> float:
    return -sum(count / number * math.log(count / number) for count in counts.values())


def table(split: str, paths: Sequence[Path]) -> Table:
    """One row."""
    total = measure(paths)
    precision, recall = (
        total.together / max(1, total.found_together),
        total.together / max(1, total.wanted_together),
    )
    homogeneity, completeness, mean = v_measure(total.wanted, total.found)
    made = Table(
        title=f"topics: against the marks of {len(paths)} meetings, marks stripped, {split} years",
        columns=(
            "messages",
            "in a topic",
            "pairs: P",
            "R",
            "F1",
            "homogeneity",
            "completeness",
            "V",
            "names",
            "share a word",
        ),
        notes=[
            (
                "Pairs of messages in one topic. Names: topics found, and how many of their names have a word of the "
                "mark that most of their messages stand under."
            )
        ],
    )
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    rounded = [round(one, 3) for one in (precision, recall, f1, homogeneity, completeness, mean)]
    shared = f"{total.shared} ({total.shared / max(1, total.names):.0%})"
    made.rows.append((total.messages, f"{total.named / max(1, total.messages):.0%}", *rounded, total.names, shared))
    return made


async def run(options: Options) -> list[Table]:
    """The figures of the odd years and, asked for by `--final`, of the even ones."""
    folder = meetings_folder(options)
    return [table(split, chats(folder, split)) for split in (("odd", "even") if options.final else ("odd",))]
