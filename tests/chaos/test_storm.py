"""Everything goes wrong at once, for a while, and nothing is lost, nothing wrong, and nothing paid for twice.

`CHAOS_SECONDS` and `CHAOS_SEED` make it longer and other; see `make chaos`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from chaos.storm import Storm

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.world import World

SECONDS = float(os.environ.get("CHAOS_SECONDS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("model", ["openai" if SEED % 2 else "ollama"], indirect=True)
async def test_storm(world: World, record_property: Callable[[str, str], None]) -> None:
    storm = Storm(world, SEED, SECONDS)
    account = await storm.rage()
    record_property("figures", "\n".join(storm.figures(account)))
    assert not account.faults, "\n".join(account.faults[:20])
