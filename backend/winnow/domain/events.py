"""What happened, for whoever listens just now: nobody has to, and nothing waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping


class Announcer(Protocol):
    """Tells the other processes. Never raises: an event that cannot be told is lost."""

    async def announce(self, event: str, facts: Mapping[str, object]) -> None:
        """Tells `event` with facts that JSON can hold: ids and counts, nothing that people wrote."""
        ...


class Silent(Announcer):
    """Tells nobody."""

    @override
    async def announce(self, event: str, facts: Mapping[str, object]) -> None:
        """Does nothing."""
