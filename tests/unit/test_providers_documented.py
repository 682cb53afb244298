"""docs/providers.md names only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "providers.md"


def test_each_behaviour_is_held_by_a_test_that_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text()))
    sources = [path.read_text() for folder in ("unit", "integration") for path in (TESTS / folder).glob("test_*.py")]
    there = {name for source in sources for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE)}
    assert len(named) > 40
    assert named <= there
