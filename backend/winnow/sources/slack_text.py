"""What a Slack message says in words; where its text is silent, its blocks, attachments and files speak.

Forms: https://api.slack.com/reference/surfaces/formatting and https://api.slack.com/reference/block-kit/blocks
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Fields = dict[str, object]

_MARK = re.compile(r"<([^<>\n]{1,4000})>")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))  # the last one last: &amp;lt; is &lt;
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]{1,20}:(//)?", re.IGNORECASE)
# Slack puts an export's own token behind the addresses of files.
_TOKEN = re.compile(r"[?&]t=xox[a-z]-[\w-]+")
_MOST_PARTS = 1000
_MOST_DEPTH = 20


class Marks:
    """Puts names in the place of ids.

    Args:
        user: the name of a user's id; None where nobody knows it.
        channels: names by id.
    """

    def __init__(self, user: Callable[[str], str | None], channels: Mapping[str, str]) -> None:
        self._user = user
        self._channels = channels

    def resolved(self, text: str) -> str:
        """The text as people saw it: `<@U1>` is `@name`, `<URL|words>` is `words (URL)`, `&lt;` is `<`."""
        if "<" in text:
            text = _MARK.sub(lambda found: self._mark(found[1]), text)
        if "&" in text:
            for escaped, letter in _ENTITIES:
                text = text.replace(escaped, letter)
        return text

    def _mark(self, mark: str) -> str:
        target, _, label = mark.partition("|")
        if target.startswith("@"):
            return f"@{self._user(target[1:]) or label or target[1:]}"
        if target.startswith("#"):
            return f"#{label or self._channels.get(target[1:]) or target[1:]}"
        if target.startswith("!"):
            return _command(target[1:], label)
        target = _TOKEN.sub("", target)
        if not _SCHEME.match(target):
            return f"<{mark}>"
        same = _SCHEME.sub("", target).rstrip("/") == _SCHEME.sub("", label).rstrip("/")
        return target if not label or (same and label.startswith("http")) else label if same else f"{label} ({target})"


def _command(command: str, label: str) -> str:
    """`<!here>` and its like; a group of users or a date has words of its own."""
    name = command.partition("^")[0]
    return label or ("@group" if name == "subteam" else f"@{name}")


def words_of(entry: Fields, marks: Marks, *, by_program: bool) -> str:
    """All that an entry says.

    What is unrolled below a person's message (the first lines of a page that was linked) they did not write; a program
    says nearly everything in attachments.
    """
    text = entry.get("text")
    parts = [marks.resolved(text) if isinstance(text, str) else ""]
    if not parts[0].strip():
        parts = [marks.resolved(part) for part in _blocks(entry.get("blocks"), 0)]
    if by_program or not any(part.strip() for part in parts):
        parts += [marks.resolved(part) for part in _attachments(entry)]
    parts += [title for title in file_titles(entry) if not any(title in part for part in parts)]
    return "\n".join(part for part in parts if part.strip())


def quote_of(entry: Fields, marks: Marks) -> str:
    """The words of another message that was shared with this one."""
    for attachment in _objects(entry.get("attachments")):
        text = attachment.get("text")
        if isinstance(text, str) and (attachment.get("is_share") or attachment.get("is_msg_unfurl")):
            return marks.resolved(text)
    return ""


def file_titles(entry: Fields) -> Iterator[str]:
    """What the files that came with it are called."""
    for file in files_of(entry):
        title = file.get("title") or file.get("name")
        if isinstance(title, str) and title.strip():
            yield title


def files_of(entry: Fields) -> list[Fields]:
    """The files that came with it: `files`, or until 2018 one `file`."""
    return _objects(entry.get("files")) or _objects([entry.get("file")])


def _attachments(entry: Fields) -> Iterator[str]:
    for attachment in _objects(entry.get("attachments")):
        said = [attachment.get(name) for name in ("pretext", "title", "text")]
        said += [
            f"{field.get('title') or ''} {field.get('value') or ''}".strip()
            for field in _objects(attachment.get("fields"))
        ]
        found = [one for one in said if isinstance(one, str) and one.strip()]
        if not found:
            found = list(_blocks(attachment.get("blocks"), 0))
        fallback = attachment.get("fallback")
        yield from found or ([fallback] if isinstance(fallback, str) else [])


def _blocks(value: object, depth: int) -> Iterator[str]:
    """The words of blocks, one line for each block, section or field; their order is that of the screen."""
    for block in _objects(value) if depth < _MOST_DEPTH else []:
        if block.get("type") in {"rich_text_section", "rich_text_preformatted", "rich_text_quote"}:
            yield "".join(_element(element) for element in _objects(block.get("elements")))
            continue
        said = block.get("text")
        if isinstance(said, dict):
            said = said.get("text")
        if isinstance(said, str) and said:
            yield said
        for name in ("fields", "elements"):
            yield from _blocks(block.get(name), depth + 1)


def _element(element: Fields) -> str:
    """A piece of a line, in the marks that texts have."""
    text, name = element.get("text"), element.get("name")
    match element.get("type"):
        case "user":
            return f"<@{element.get('user_id')}>"
        case "channel":
            return f"<#{element.get('channel_id')}>"
        case "broadcast":
            return f"<!{element.get('range')}>"
        case "emoji":
            return f":{name}:" if isinstance(name, str) else ""
        case "link":
            return f"<{element.get('url')}|{text}>" if text else f"<{element.get('url')}>"
    return text if isinstance(text, str) else ""


def _objects(value: object) -> list[Fields]:
    return [one for one in value[:_MOST_PARTS] if isinstance(one, dict)] if isinstance(value, list) else []
