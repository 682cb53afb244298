"""An event loop whose time passes at once, so minutes cost milliseconds and nothing depends on the machine.

def test_something(loop):
    async def scene(): ...
    loop.run_until_complete(scene())
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator


class _JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: the loop's clock goes on to its next timer instead."""

    now = 1000.0

    @override
    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and nothing will ever happen"
        self.now += max(timeout, 0.0)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes at once."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    @override
    def time(self) -> float:
        return self._jumping.now


@pytest.fixture
def loop() -> Iterator[JumpingLoop]:
    made = JumpingLoop()
    yield made
    made.close()
