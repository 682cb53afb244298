"""How well conversations are taken apart, against ten hours of IRC that people annotated, and how fast.

`python -m bench threads --data FOLDER`, FOLDER being (or holding) `irc/`; without it the hour in tests/fixtures/irc.
`python -m bench.threads --data FOLDER --fit` prints the weights fitted to all of its files.

A link is right when the message it leads to is one that people linked it to; a message that starts a conversation is
linked to itself, and counts. "held out" is each file judged by weights that were fitted to the nine others alone: what
to expect of a channel that nobody has annotated. System lines are no messages and are left out.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.irc_links import Annotated, find_annotated, read_annotated
from bench.tables import Options, Table
from bench.threads_fit import as_source, choices, fit

from winnow.domain.scoring import score
from winnow.domain.threads import LOOK_BACK, Linker
from winnow.domain.threads.weights import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.domain.threads.weights import Weights

FIXTURE = Path(__file__).parents[1] / "tests" / "fixtures" / "irc"
BATCH = 100


@dataclass(frozen=True)
class Judged:
    """Links found, and how many of them and of the annotated ones there are; the same without starts."""

    right: int = 0
    found: int = 0
    annotated: int = 0
    right_answers: int = 0
    found_answers: int = 0
    annotated_answers: int = 0
    overlap: int = 0
    whole: int = 0
    conversations: int = 0
    talks: int = 0

    def __add__(self, other: Judged) -> Judged:
        return Judged(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def precision(self) -> float:
        """Of the links found, the right ones."""
        return self.right / max(1, self.found)

    @property
    def recall(self) -> float:
        """Of the annotated links, those found."""
        return self.right / max(1, self.annotated)

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.right / max(1, self.found + self.annotated)

    @property
    def f1_of_answers(self) -> float:
        """The same of links between two messages."""
        return 2 * self.right_answers / max(1, self.found_answers + self.annotated_answers)


def links_of(annotated: Annotated, weights: Weights = WEIGHTS) -> dict[int, int]:
    """What each annotated message is linked to; itself, where it starts a conversation."""
    linker = Linker(weights=weights)
    links = [linker.link(said) for said in annotated.messages]
    found = {link.message_id: link.message_id if link.parent_id is None else link.parent_id for link in links}
    return {message: to for message, to in found.items() if message in annotated.answers}


def previous_messages(annotated: Annotated) -> dict[int, int]:
    """The baseline: everybody answers the message before."""
    pairs = zip(annotated.messages, annotated.messages[1:], strict=False)
    return {later.id: earlier.id for earlier, later in pairs if later.id in annotated.answers}


def judge(annotated: Annotated, found: Mapping[int, int]) -> Judged:
    """The links against those that people made, and the conversations that follow from either."""
    answers = annotated.answers
    overlap, whole, conversations = _conversations(answers, found)
    return Judged(
        right=sum(to in answers[message] for message, to in found.items()),
        found=len(found),
        annotated=sum(len(to) for to in answers.values()),
        right_answers=sum(to in answers[message] for message, to in found.items() if to != message),
        found_answers=sum(to != message for message, to in found.items()),
        annotated_answers=sum(len(to - {message}) for message, to in answers.items()),
        overlap=overlap,
        whole=whole,
        conversations=conversations,
        talks=len(answers),
    )


def _conversations(answers: Mapping[int, frozenset[int]], found: Mapping[int, int]) -> tuple[int, int, int]:
    """Messages in the best one-to-one matching of conversations (greedy), those found whole, and how many there are."""
    wanted = _groups({message: set(to) for message, to in answers.items()})
    made = _groups({message: {to} for message, to in found.items()})
    pairs = Counter((wanted[message], made[message]) for message in answers)
    overlap, used_wanted, used_made = 0, set(), set()
    for (one, other), count in pairs.most_common():
        if one not in used_wanted and other not in used_made:
            overlap += count
            used_wanted.add(one)
            used_made.add(other)
    sizes_wanted, sizes_made = Counter(wanted[m] for m in answers), Counter(made[m] for m in answers)
    several = {one for one, size in sizes_wanted.items() if size > 1}
    whole = sum(
        count == sizes_wanted[one] == sizes_made[other] for (one, other), count in pairs.items() if one in several
    )
    return overlap, whole, len(several)


def _groups(links: Mapping[int, set[int]]) -> dict[int, int]:
    """The conversation of each message, as a number."""
    leader: dict[int, int] = {}

    def top(message: int) -> int:
        while leader.setdefault(message, message) != message:
            message = leader[message]
        return message

    for message, others in links.items():
        for other in others:
            leader[top(message)] = top(other)
    return {message: top(message) for message in list(leader)}


def _row(name: str, judged: Judged, baseline: Judged, held_out: float | str) -> Sequence[str | int | float]:
    return [
        name,
        judged.annotated,
        *(round(one, 3) for one in (judged.precision, judged.recall, judged.f1)),
        held_out if isinstance(held_out, str) else round(held_out, 3),
        round(judged.f1_of_answers, 3),
        round(judged.overlap / max(1, judged.talks), 3),
        f"{judged.whole} of {judged.conversations}",
        round(baseline.f1, 3),
    ]


def quality(files: Sequence[Annotated], *, held_out: bool) -> Table:
    """The table of link figures, a row a file."""
    table = Table(
        title=f"Who answers whom: {len(files)} annotated hours of IRC",
        columns=[
            *("file", "links", "precision", "recall", "F1", "F1 held out", "F1, answers only"),
            *("1-1 overlap", "whole conversations", "F1 of the message before"),
        ],
    )
    given = [choices(file) for file in files] if held_out else []
    total = left_out_total = baseline_total = Judged()
    for place, file in enumerate(files):
        judged, baseline = judge(file, links_of(file)), judge(file, previous_messages(file))
        shown: float | str = "–"
        if held_out:
            others = [choice for number, other in enumerate(given) if number != place for choice in other]
            left_out = judge(file, links_of(file, fit(others)))
            left_out_total += left_out
            shown = left_out.f1
        total += judged
        baseline_total += baseline
        table.rows.append(_row(file.name, judged, baseline, shown))
    table.rows.append(_row("all", total, baseline_total, left_out_total.f1 if held_out else "–"))
    table.notes.append(
        'A start counts as a link to itself; "F1, answers only" leaves starts out. "held out": weights fitted to the '
        "other files alone. 1-1 overlap: messages in the best matching of conversations, greedily."
    )
    return table


def speed(files: Sequence[Annotated], *, rounds: int) -> Table:
    """Messages a second on one core, linking alone and with their scores."""
    said = [message for file in files for message in file.messages] * rounds
    started = time.process_time()
    for begin in range(0, len(said), BATCH):
        linker = Linker()
        for one in said[max(0, begin - LOOK_BACK) : begin]:
            linker.remember(one, one.id)
        for one in said[begin : begin + BATCH]:
            linker.link(one)
    batches = time.process_time() - started
    started = time.process_time()
    linker = Linker()
    for one in said:
        linker.link(one)
    linking = time.process_time() - started
    started = time.process_time()
    for one in said:
        score(one.text, one.name)
    scoring = time.process_time() - started
    table = Table(title=f"Scoring and linking {len(said):,} messages, one core, no database", columns=["what", "per s"])
    table.rows += [
        ["linking", round(len(said) / linking)],
        [f"linking in batches of {BATCH}, each after {LOOK_BACK} read again", round(len(said) / batches)],
        ["scoring", round(len(said) / scoring)],
        ["both", round(len(said) / (linking + scoring))],
    ]
    return table


async def run(options: Options) -> list[Table]:
    """Quality and speed."""
    paths = find_annotated(options.data) or find_annotated(FIXTURE)
    files = [read_annotated(path) for path in paths]
    held_out = len(files) > 1 and not options.quick
    return [quality(files, held_out=held_out), speed(files, rounds=options.count(3, 1))]


def main() -> None:
    """Prints weights."""
    parser = argparse.ArgumentParser(prog="python -m bench.threads", description="Fits the weights of the signs.")
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated files")
    parser.add_argument("--fit", action="store_true", required=True, help="print the weights")
    given = parser.parse_args()
    files = [read_annotated(path) for path in find_annotated(given.data)]
    print(as_source(fit([choice for file in files for choice in choices(file)])))


if __name__ == "__main__":
    main()
