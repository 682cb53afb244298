"""A key proves itself by its secret; a bucket gives out what flows into it."""

from __future__ import annotations

import time

import pytest

from winnow.api.limits import TokenBuckets
from winnow.domain.keys import Caller, Scope, WrittenKey, hash_of, new_secret


def test_a_key_is_read_as_it_is_written() -> None:
    key = WrittenKey(17, new_secret())
    assert WrittenKey.read(str(key)) == key
    assert key.proves(hash_of(key.secret))
    assert not key.proves(hash_of(new_secret()))
    assert len({new_secret() for _ in range(100)}) == 100


SECRET = "A" * 43


@pytest.mark.parametrize(
    "text",
    ["", "winnow", f"winnow_0_{SECRET}", f"winnow_-1_{SECRET}", f"winnow_1_{SECRET}A", f"winnow_1_{SECRET[1:]}",
     f"winnow_{'9' * 19}_{SECRET}", f" winnow_1_{SECRET}", f"winnow_1_{SECRET}\n", f"winnow_\u0661_{SECRET}"],
)  # fmt: skip
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert WrittenKey.read(text) is None


def test_admin_may_do_all_and_the_others_what_they_say() -> None:
    assert all(Caller(1, "a", frozenset({Scope.ADMIN})).may(scope) for scope in Scope)
    assert [Caller(1, "a", frozenset({Scope.WRITE})).may(scope) for scope in Scope] == [False, True, False]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_bucket_is_emptied_by_a_burst_and_fills_again(clock: list[float]) -> None:
    buckets = TokenBuckets(per_second=2, burst=3)
    assert [buckets.wait_seconds(1) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait_seconds(2) == 0
    clock[0] += 0.25
    assert buckets.wait_seconds(1) == 0.25
    clock[0] += 0.25
    assert [buckets.wait_seconds(1) for _ in range(2)] == [0, 0.5]
    clock[0] += 1000
    assert [buckets.wait_seconds(1) for _ in range(4)] == [0, 0, 0, 0.5]
