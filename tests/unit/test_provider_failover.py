"""Of several servers of one model the first healthy one is asked, and never one of another space."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from structlog.testing import capture_logs

from plugins.endpoints import SENTENCE, Clock, Server, settle
from winnow.errors import (
    AnswerInvalid,
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderTimeout,
    ProviderUnavailable,
    SetupFault,
    TextRefused,
    TextTooLong,
    WinnowError,
)
from winnow.providers.endpoint import BatchRefused
from winnow.providers.failover import FIRST_REST_SECONDS, LONGEST_REST_SECONDS, FailOver
from winnow.providers.instrumentation import Instrumented, accounted


async def test_the_preferred_one_is_asked_and_the_spare_left_alone(
    both: FailOver, first: Server, second: Server
) -> None:
    for _ in range(3):
        await both.ask(["x"])
    assert (first.batches, first.looks) == (3, 1)
    assert not second.asked


@pytest.mark.parametrize(
    ("error", "texts"), [(ProviderUnavailable("gone"), ["y", "z"]), (ProviderTimeout("slow"), ["y"])]
)
async def test_one_that_does_not_answer_is_followed_by_the_next_at_once(
    both: FailOver, first: Server, second: Server, error: WinnowError, texts: list[str]
) -> None:
    await both.ask(["x"])
    first.error = error
    with capture_logs() as logs:
        answer = await both.ask(texts)
        await both.ask(["w"])
    assert len(answer.vectors) == len(texts)
    assert (first.batches, second.batches) == (2, 2), "the dead one costs the next batch nothing"
    told = [(entry["event"], entry["endpoint"], entry["before"]) for entry in logs]
    assert told == [("provider.failed_over", "http://second", "http://first")]
    assert both.shown == "http://second"


async def test_the_preferred_one_comes_back_after_a_look_at_which_no_batch_waits(
    both: FailOver, first: Server, second: Server, clock: Clock
) -> None:
    await both.ask(["x"])
    first.away()
    await both.ask(["x"])
    first.error, first.blocked = None, asyncio.Event()
    clock.now += FIRST_REST_SECONDS
    with capture_logs() as logs:
        await both.ask(["x"])
        await both.ask(["x"])
        await settle()
        assert (first.looks, second.batches) == (2, 3), "one look, however many ask meanwhile"
        first.blocked.set()
        await settle()
        await both.ask(["x"])
    assert second.batches == 3
    assert [(entry["event"], entry["endpoint"]) for entry in logs] == [("provider.failed_back", "http://first")]


async def test_it_is_not_looked_at_before_it_has_rested_and_rests_ever_longer(
    both: FailOver, first: Server, clock: Clock
) -> None:
    await both.ask(["x"])
    first.away()
    looked_at = []
    for _ in range(4000):
        before = first.looks
        await both.ask(["x"])
        await settle()
        if first.looks > before:
            looked_at.append(clock.now)
        clock.now += 0.1
    rests = np.diff(looked_at)
    assert rests[0] == pytest.approx(2 * FIRST_REST_SECONDS, abs=0.2)
    assert list(rests) == sorted(rests)
    assert rests[-1] == pytest.approx(LONGEST_REST_SECONDS, abs=0.2)


async def test_one_that_falls_again_with_the_next_batch_rests_longer(
    both: FailOver, first: Server, clock: Clock
) -> None:
    first.refuses = ProviderTimeout("such a batch takes too long")
    rests = []
    for _ in range(4):
        await both.ask(["x"])
        fell_at, looks = clock.now, first.looks
        while first.looks == looks:
            clock.now += 0.25
            await both.ask(["x"])
            await settle()
        rests.append(clock.now - fell_at)
    assert rests == [1, 2, 4, 8]


async def test_many_requests_that_fail_together_count_once(both: FailOver, first: Server, clock: Clock) -> None:
    await both.ask(["x"])
    first.blocked = asyncio.Event()
    requests = [asyncio.create_task(both.ask(["x"])) for _ in range(8)]
    await settle()
    clock.now += 5
    first.away()
    first.blocked.set()
    await asyncio.gather(*requests)
    first.error = None
    clock.now += FIRST_REST_SECONDS
    await both.ask(["x"])
    await settle()
    before = first.batches
    await both.ask(["x"])
    assert first.batches == before + 1


@pytest.mark.parametrize(
    "error",
    [ProviderBusy("busy"), TextRefused("odd"), TextTooLong("long"), AnswerInvalid("NaN"), BatchRefused(32)],
)
async def test_a_busy_server_and_a_refused_text_are_no_reason_to_ask_another(
    both: FailOver, first: Server, second: Server, error: Exception
) -> None:
    first.refuses = error
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            await both.ask(["x"])
        assert caught.value is error
    assert not second.asked


@pytest.mark.parametrize("error", [ModelNotFound("pull it"), KeyRefused("check the key")])
async def test_a_spare_that_is_set_up_wrongly_fails_no_batch_and_is_told_of_once(
    first: Server, second: Server, clock: Clock, error: WinnowError
) -> None:
    third = Server("third")
    endpoint = FailOver([first, second, third], sentence=SENTENCE, clock=clock)
    first.away()
    second.error = error
    with capture_logs() as logs:
        for _ in range(100):
            await endpoint.ask(["x"])
            await settle()
            clock.now += 1
    assert third.batches == 100
    told = [entry for entry in logs if entry["event"] == "provider.endpoint_unusable"]
    assert [(entry["endpoint"], entry["because"], entry["log_level"]) for entry in told] == [
        ("http://second", str(error), "warning")
    ]
    await endpoint.close()


async def test_a_preferred_one_that_gets_its_model_back_is_used_again(
    both: FailOver, first: Server, clock: Clock
) -> None:
    first.error = ModelNotFound("pull it")
    await both.ask(["x"])
    first.error = None
    clock.now += FIRST_REST_SECONDS
    await both.ask(["x"])
    await settle()
    await both.ask(["x"])
    assert first.batches == 1


async def test_when_all_are_away_each_is_named_and_each_is_tried(both: FailOver, first: Server, second: Server) -> None:
    first.away()
    second.away()
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match=r"none of 2 .*http://first does.*http://second does"):
            await both.ask(["x"])
    second.error = None
    await both.ask(["x"])
    assert second.batches == 1, "nothing better is to be had, so it is not left to rest"


async def test_when_one_is_away_and_one_wrong_it_is_weather_and_else_the_set_up(
    both: FailOver, first: Server, second: Server
) -> None:
    first.away()
    second.error = ModelNotFound("pull it")
    with pytest.raises(ProviderUnavailable, match="pull it"):
        await both.ask(["x"])
    first.error = ProviderTimeout("slow")
    with pytest.raises(ProviderTimeout):
        await both.ask(["x"])
    first.error = KeyRefused("check the key")
    with pytest.raises(SetupFault, match=r"check the key; pull it|pull it; check the key"):
        await both.ask(["x"])


# -- never to another vector space


async def test_a_single_one_is_asked_however_often_it_has_failed(first: Server, clock: Clock) -> None:
    endpoint = FailOver([first], sentence=SENTENCE, clock=clock)
    first.away()
    for _ in range(3):
        with pytest.raises(ProviderUnavailable, match=r"^http://first does not answer$"):
            await endpoint.ask(["x"])
    first.error = None
    await endpoint.ask(["x"])
    await endpoint.close()


async def test_looks_are_charged_to_nobody_and_failures_to_whom_they_befell(
    first: Server, second: Server, clock: Clock
) -> None:
    endpoint = FailOver([Instrumented(first), Instrumented(second)], sentence=SENTENCE, clock=clock)
    await endpoint.ask(["x"])
    first.away()
    with accounted() as took:
        await endpoint.ask(["x", "y"])
    assert (took.requests, took.texts, took.tokens) == (1, 2, 2), "the texts; the first never answered"
    clock.now += FIRST_REST_SECONDS
    first.error = None
    with accounted() as took:
        await endpoint.ask(["x"])
        await settle()
    assert first.looks == 2
    assert took.requests == 1
    await endpoint.close()


async def test_closing_ends_a_look(first: Server, second: Server, clock: Clock) -> None:
    endpoint = FailOver([first, second], sentence=SENTENCE, clock=clock)
    first.away()
    await endpoint.ask(["x"])
    first.blocked = asyncio.Event()
    clock.now += FIRST_REST_SECONDS
    await endpoint.ask(["x"])
    await settle()
    await endpoint.close()
    assert not [task for task in asyncio.all_tasks() if "look at" in task.get_name()]


async def test_a_timeout_of_a_batch_is_told_and_the_next_try_goes_to_the_spare(
    both: FailOver, first: Server, second: Server
) -> None:
    await both.ask(["x"])
    first.error = ProviderTimeout("http://first is slow")
    with pytest.raises(ProviderTimeout, match="first is slow"):
        await both.ask(["x", "y"])
    assert not second.asked, "what makes requests smaller has to hear of it"
    await both.ask(["x", "y"])
    assert second.batches == 1


async def test_when_all_are_away_the_one_that_hangs_is_not_always_asked_first(
    both: FailOver, first: Server, second: Server, clock: Clock
) -> None:
    first.away()
    await both.ask(["x"])
    clock.now += 1
    second.away()
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await both.ask(["x"])
        clock.now += 0.1
    await settle()
    asked = len(first.asked)
    second.error = None
    await both.ask(["x"])
    await settle()
    assert second.asked[-1] == ["x"]
    assert len(first.asked) == asked
