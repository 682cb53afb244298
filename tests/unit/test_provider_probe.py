"""A model that cannot embed one word is a fault of the set-up; one that is away is weather."""

from __future__ import annotations

import pytest

from plugins.pipeline import SteeredEmbedder
from winnow.errors import AnswerInvalid, ProviderUnavailable, SetupFault, TextRefused, TextTooLong
from winnow.providers.base import probe_dimensions


async def test_the_model_itself_shows_its_dimension() -> None:
    assert await probe_dimensions(SteeredEmbedder(dimensions=7)) == 7


@pytest.mark.parametrize("fault", [AnswerInvalid("zeros only"), TextRefused("refuses"), TextTooLong("too long")])
async def test_a_model_that_cannot_embed_a_word_is_a_fault_of_the_setup(fault: Exception) -> None:
    with pytest.raises(SetupFault, match=f"test:steered cannot embed even one word .{fault}.; .*WINNOW_EMBEDDER"):
        await probe_dimensions(SteeredEmbedder(probe_error=fault))


async def test_a_server_that_is_away_stays_weather() -> None:
    with pytest.raises(ProviderUnavailable):
        await probe_dimensions(SteeredEmbedder(probe_error=ProviderUnavailable("away")))
