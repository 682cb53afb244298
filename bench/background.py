"""`python -m bench.background --data FOLDER`: prints how common words are in chat, as domain/background.py has it.

A word's share is the middle one of its shares in three kinds of talk (minutes of odd years, a help channel, issue
threads), so that what one of them is about is not taken for common.
"""

from __future__ import annotations

import argparse
import csv
import re
import textwrap
from collections import Counter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.extraction import chats, said_in

from winnow.domain.rules.words import STOP_WORDS, content_words

if TYPE_CHECKING:
    from collections.abc import Iterable

_SAID = re.compile(r"\[\d\d:\d\d\] <([^>]*)> ?(.*)")
_LEAST = 0.0008
_MOST_WORDS = 1_600


def shares(texts: Iterable[str]) -> dict[str, float]:
    """The share of the texts that hold each word."""
    counts: Counter[str] = Counter()
    number = 0
    for text in texts:
        counts.update({word for word in content_words(text) if word.isalpha()})
        number += 1
    return {word: count / max(1, number) for word, count in counts.items()}


def names(folder: Path) -> set[str]:
    """Words that are, or are parts of, what people call themselves."""
    minutes = {message.author for path in chats(folder / "minutes", "odd") for message in said_in(path)}
    helped = {
        match[1]
        for path in (folder / "irc").glob("*.raw.txt")
        for line in path.read_text("utf-8", "replace").splitlines()
        if (match := _SAID.fullmatch(line))
    }
    return {word for name in minutes | helped for word in re.findall(r"[^\W\d_]+", name.casefold())}


def corpora(folder: Path) -> list[list[str]]:
    """The texts of each kind of talk."""
    minutes = [message.text for path in chats(folder / "minutes", "odd") for message in said_in(path)]
    lines = [
        match[2]
        for path in sorted((folder / "irc").glob("*.raw.txt"))
        for line in path.read_text("utf-8", "replace").splitlines()
        if (match := _SAID.fullmatch(line))
    ]
    with (folder / "issue-types" / "dataInfoTypes.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        issues = [row["Text Content"] for row in csv.DictReader(file)]
    return [minutes, lines, issues]


def main() -> None:
    """Prints the table: words by permille, the commonest first."""
    parser = argparse.ArgumentParser(prog="python -m bench.background", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with minutes/, irc/ and issue-types/")
    folder = parser.parse_args().data
    found = [shares(texts) for texts in corpora(folder)]
    words = set().union(*found) - STOP_WORDS - names(folder)
    middle = {word: median(one.get(word, 0.0) for one in found) for word in words}
    common = sorted((word for word, share in middle.items() if share >= _LEAST), key=lambda word: (-middle[word], word))
    by_share: dict[str, list[str]] = {}
    for word in common[:_MOST_WORDS]:
        by_share.setdefault(f"{1000 * middle[word]:.0f}" if middle[word] > 0.0015 else "1", []).append(word)
    for share, alike in by_share.items():
        print("\n".join(textwrap.wrap(f"{share}: {' '.join(alike)}", 118)))


if __name__ == "__main__":
    main()
