"""The built-in extractor as a provider: the domain's rules in a thread, so that the event loop stays free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from winnow.domain.rules import extract_by_rules

if TYPE_CHECKING:
    from winnow.domain.knowledge import Extraction, Window


class RuleExtractor:
    """An `Extractor` that needs no model, no network and no set-up; it never raises."""

    @property
    def name(self) -> str:
        """As stored with each run."""
        return "rules"

    @property
    def version(self) -> str:
        """Counted up when the rules find other things."""
        return "2"

    @property
    def wants_known(self) -> bool:
        """What is known already means nothing to the rules."""
        return False

    async def extract(self, window: Window) -> Extraction:
        """Everything the rules find in `window.messages`."""
        return await asyncio.to_thread(extract_by_rules, window)
