"""An endpoint's vectors are used only while it shows that they are of the space."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from plugins.endpoints import SENTENCE, SPACE, Clock, Server, settle
from winnow.errors import (
    AnswerInvalid,
    ProviderUnavailable,
    SpaceMismatch,
)
from winnow.providers.base import RECOGNISED_SECONDS
from winnow.providers.failover import FIRST_REST_SECONDS, FailOver


@pytest.mark.parametrize("vector", [[4.0, -3.0, 0.0], [3.0, 4.0, 1.5], [3.0, 4.0], [3.0, 4.0, 0.0, 0.0]])
@pytest.mark.parametrize("is_given", [True, False])
async def test_a_spare_of_another_space_is_not_used_and_told_of(
    first: Server, clock: Clock, vector: list[float], is_given: bool
) -> None:
    other = Server("other", vector)
    endpoint = FailOver([first, other], sentence=SENTENCE, fingerprint=SPACE if is_given else None, clock=clock)
    await endpoint.ask(["x"])
    first.away()
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(ProviderUnavailable, match="http://other serves another model"):
                await endpoint.ask(["x"])
            clock.now += 100
    assert other.batches == 0
    told = [entry for entry in logs if entry["event"] == "provider.endpoint_unusable"]
    assert ["another model" in entry["because"] for entry in told] == [True]
    await endpoint.close()


async def test_a_slightly_different_build_of_the_same_model_is_the_same_space(first: Server, clock: Clock) -> None:
    spare = Server("spare", [3.0, 4.0, 0.5])
    endpoint = FailOver([first, spare], sentence=SENTENCE, clock=clock)
    await endpoint.ask(["x"])
    first.away()
    await endpoint.ask(["x"])
    assert spare.batches == 1
    await endpoint.close()


async def test_with_a_fingerprint_even_the_preferred_and_the_only_one_must_match(clock: Clock) -> None:
    other = Server("other", [4.0, -3.0, 0.0])
    endpoint = FailOver([other], sentence=SENTENCE, fingerprint=SPACE, clock=clock)
    with pytest.raises(SpaceMismatch, match="another model"):
        await endpoint.ask(["x"])
    assert other.batches == 0
    other.vector = SPACE
    await endpoint.ask(["x"])
    assert other.batches == 1
    await endpoint.close()


async def test_a_model_that_is_replaced_while_its_server_runs_is_found_out_within_the_hour(clock: Clock) -> None:
    server = Server("only")
    endpoint = FailOver([server], sentence=SENTENCE, fingerprint=SPACE, clock=clock)
    await endpoint.ask(["x"])
    clock.now += RECOGNISED_SECONDS - 1
    await endpoint.ask(["x"])
    assert server.looks == 1
    clock.now += 1
    await endpoint.ask(["x"])
    assert server.looks == 2
    server.vector = [4.0, -3.0, 0.0]
    clock.now += RECOGNISED_SECONDS
    with pytest.raises(SpaceMismatch, match="another model"):
        await endpoint.ask(["x"])
    assert server.batches == 3
    await endpoint.close()


async def test_a_server_that_was_away_must_show_itself_again(both: FailOver, first: Server, clock: Clock) -> None:
    await both.ask(["x"])
    first.away()
    await both.ask(["x"])
    first.error, first.vector = None, [4.0, -3.0, 0.0]
    clock.now += FIRST_REST_SECONDS
    before = first.batches
    for _ in range(3):
        await both.ask(["x"])
        await settle()
    assert first.batches == before


async def test_a_server_that_cannot_embed_a_plain_sentence_is_not_used(both: FailOver, first: Server) -> None:
    first.error = AnswerInvalid("it has zeros only")
    await both.ask(["x"])
    assert first.batches == 0


async def test_many_who_ask_at_once_recognise_a_server_once(both: FailOver, first: Server) -> None:
    first.blocked = asyncio.Event()
    calls = [asyncio.create_task(both.ask(["x"])) for _ in range(8)]
    await settle()
    calls[0].cancel()
    first.blocked.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (first.looks, first.batches) == (1, 7)
