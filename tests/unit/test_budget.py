"""A budget is read as people write it, and what is none is told in one sentence."""

from __future__ import annotations

from decimal import Decimal

import pytest

from winnow.domain.budget import Budget
from winnow.domain.usage import new_run, tokens_by_bytes, tokens_of_bytes
from winnow.errors import InvalidInput


@pytest.mark.parametrize(
    ("given", "usd", "shown"),
    [
        ("5usd", "5", "$5"),
        ("5 USD", "5", "$5"),
        ("$0.50", "0.50", "$0.50"),
        ("$ 3 usd", "3", "$3"),
        ("0.001usd", "0.001", "$0.001"),
    ],
)
def test_money(given: str, usd: str, shown: str) -> None:
    budget = Budget.read(given)
    assert (budget.usd, budget.tokens, str(budget)) == (Decimal(usd), None, shown)


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ("500000", 500_000),
        ("2M", 2_000_000),
        (" 2m ", 2_000_000),
        ("1.5k", 1_500),
        ("500K", 500_000),
        ("0.1M", 100_000),
    ],
)
def test_tokens(given: str, tokens: int) -> None:
    budget = Budget.read(given)
    assert (budget.tokens, budget.usd, str(budget)) == (tokens, None, f"{tokens:,} tokens")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "is no budget"),
        ("much", "is no budget"),
        ("-5usd", "is no budget"),
        ("5eur", "is no budget"),
        ("$5M", "is no budget"),
        ("1e6", "is no budget"),
        ("5,000", "is no budget"),
        ("٥", "is no budget"),
        ("0", "buys nothing"),
        ("0.4", "buys nothing"),
        ("0usd", "buys nothing"),
    ],
)
def test_what_is_none(given: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        Budget.read(given)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)


def test_tokens_are_estimated_by_bytes() -> None:
    assert [tokens_of_bytes(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]
    assert tokens_by_bytes(["abcd", "ёж"], prefix="ab") == 2 + 2


def test_a_run_has_a_short_name_of_its_own() -> None:
    names = {new_run() for _ in range(3)}
    assert len(names) > 1
    assert all(name.startswith("backfill:2") and len(name) == len("backfill:20261120-ab12") for name in names)
