"""The rules by which finds are kept, as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.memory import AutoApprove, MemoryRules

if TYPE_CHECKING:
    from winnow.settings import Settings


def memory_of(settings: Settings) -> MemoryRules:
    """The cut, and what is approved without a person."""
    return MemoryRules(cut=settings.extraction_cut, auto_approve=AutoApprove(settings.auto_approve))
