"""What a Telegram message says in words, whichever way it came in: by the Bot API or in an export.

Both must make the same text of the same message, or it would be stored once and told to differ the other time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_LINKS = 100
MOST_LINK_CHARACTERS = 2048


def text_with_links(text: str, links: Iterable[str]) -> str:
    """The text, and below it, a line each, the addresses that lie hidden behind its words.

    They are appended, so that they are found and every word of a person stays in its place: a quote across a link is
    still exact, and nothing has to be counted in the UTF-16 units of Telegram's offsets. What stands in the text is
    not repeated.
    """
    lines = [text]
    for link in dict.fromkeys(links):
        if link and link not in text and len(link) <= MOST_LINK_CHARACTERS and len(lines) <= MOST_LINKS:
            lines.append(link)
    return "\n".join(lines)


def list_text(heading: str, lines: Sequence[str]) -> str:
    """A poll's question with its answers, or a checklist's title with its tasks: a line each."""
    return "\n".join(line for line in (heading, *lines) if line)
