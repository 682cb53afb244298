"""Somebody's words inside Markdown: shown as they are, and never as markup.

A backslash before ASCII punctuation: this sign is only itself. https://spec.commonmark.org/0.31.2/#backslash-escapes
"""

from __future__ import annotations

import re

# What would steer a terminal (C0 and C1), or turn a line around (Unicode's bidi signs).
STEERING = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
_BLANKS = re.compile(r"\s+")
_ANYWHERE = re.compile(r"[\\`*_\[\]<>&|~$]")
# At the beginning of a line also: headings, lists (1. and 1) too), rules and fences.
_FIRST = re.compile(r"[#+=:-]")
_NUMBERED = re.compile(r"(\d{1,9})([.)])")


def escaped(text: str) -> str:
    """The text on one line, as Markdown that shows it and does nothing else."""
    line = _BLANKS.sub(" ", text).strip().translate(STEERING)
    line = _ANYWHERE.sub(r"\\\g<0>", line)
    if numbered := _NUMBERED.match(line):
        return f"{numbered[1]}\\{line[numbered.end(1) :]}"
    return f"\\{line}" if _FIRST.match(line) else line
