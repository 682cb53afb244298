"""A lease is kept for as long as the work takes, and keeping it never hides how the work ended."""

from __future__ import annotations

import asyncio

import pytest

from winnow.errors import DatabaseBusy, DatabaseUnavailable
from winnow.pipeline.heartbeat import heartbeat


async def test_it_beats_until_the_work_is_done() -> None:
    beats = 0

    async def renew() -> None:
        nonlocal beats
        beats += 1

    async with heartbeat(renew, every_seconds=0.01):
        await asyncio.sleep(0.2)
    assert beats >= 3
    after = beats
    await asyncio.sleep(0.05)
    assert beats == after


@pytest.mark.parametrize("error", [DatabaseUnavailable(), DatabaseBusy()])
async def test_a_missed_beat_is_followed_by_the_next(error: Exception) -> None:
    beats = 0

    async def renew() -> None:
        nonlocal beats
        beats += 1
        raise error

    async with heartbeat(renew, every_seconds=0.01):
        await asyncio.sleep(0.2)
    assert beats >= 3


async def test_the_work_s_own_error_comes_through() -> None:
    async def renew() -> None: ...

    with pytest.raises(ZeroDivisionError):
        async with heartbeat(renew, every_seconds=0.01):
            raise ZeroDivisionError


async def test_a_cancellation_is_not_lost_while_the_last_beat_ends() -> None:
    beating = asyncio.Event()

    async def renew() -> None:
        beating.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)  # the driver takes its time to give up a statement
            raise

    async def work() -> str:
        async with heartbeat(renew, every_seconds=0.001):
            await beating.wait()
        return "not cancelled"

    task = asyncio.create_task(work())
    await beating.wait()
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
