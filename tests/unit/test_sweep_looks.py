"""A look of the sweeper that takes long is not taken again at once."""

from __future__ import annotations

import time

import pytest

from winnow.pipeline import sweep


@pytest.mark.parametrize(("took", "pause"), [(0.01, 2.0), (0.5, 10.5), (5.0, 105.0)])
def test_the_longer_a_look_took_the_later_is_the_next(
    monkeypatch: pytest.MonkeyPatch, took: float, pause: float
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0 + took)
    assert sweep._next_look(100.0, 2.0) == pytest.approx(100.0 + pause)
