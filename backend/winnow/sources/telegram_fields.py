"""Members of Telegram's objects, of which nothing is trusted: whatever has another type than it should is not there."""

from __future__ import annotations

from typing import TypeAlias

from winnow.domain.messages import MAX_NAME_CHARACTERS

Fields: TypeAlias = dict[str, object]

MOST_ID = 2**63


def inner(of: Fields, name: str) -> Fields:
    """The object of that name; empty when there is none."""
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def objects(of: Fields, name: str) -> list[Fields]:
    """The objects in the list of that name."""
    value = of.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def words(of: Fields, name: str) -> str:
    """The text of that name; empty when there is none."""
    value = of.get(name)
    return value if isinstance(value, str) else ""


def number(of: Fields, name: str) -> int | None:
    """The whole number of that name, of 64 bits."""
    value = of.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_ID else None


def display_name(who: Fields) -> str:
    """What people of Telegram see of a user or a chat: its title, its names or its user name; may be empty."""
    title = words(who, "title") or f"{words(who, 'first_name')} {words(who, 'last_name')}".strip()
    return (title or words(who, "username"))[:MAX_NAME_CHARACTERS]
