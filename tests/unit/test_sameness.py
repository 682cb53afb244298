"""What says the same is told from what differs in a number, a version, a negation or a name; in doubt it differs."""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.sameness import Verdict, adds_only, telling_words, verdict, wording

PAIRS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "fixtures" / "near_twins.jsonl").read_text("utf-8").splitlines()
]
TWINS = [pair for pair in PAIRS if pair["differ_in"] is None]
OTHERS = [pair for pair in PAIRS if pair["differ_in"] is not None]


def test_the_set_holds_enough_of_each() -> None:
    kinds = [pair["differ_in"] for pair in PAIRS]
    assert len(TWINS) >= 30
    assert all(kinds.count(kind) >= 10 for kind in ("number", "version", "negation", "name"))


@pytest.mark.parametrize("pair", OTHERS, ids=lambda pair: pair["one"])
def test_what_differs_in_what_counts_is_never_the_same_however_alike(pair: dict[str, Any]) -> None:
    for old, new in ((pair["one"], pair["other"]), (pair["other"], pair["one"])):
        assert verdict(old, new, likeness=1.0, one_topic=True, refines=True) is not Verdict.SAME
        assert verdict(old, new, likeness=1.0, one_topic=True) is Verdict.DIFFERENT
        assert not adds_only(old, new)


@pytest.mark.parametrize("pair", TWINS, ids=lambda pair: pair["other"])
def test_what_differs_in_nothing_that_counts_is_the_same(pair: dict[str, Any]) -> None:
    assert verdict(pair["one"], pair["other"]) is Verdict.SAME
    assert verdict(pair["other"], pair["one"]) is Verdict.SAME


@pytest.mark.parametrize(
    ("old", "new", "told", "expected"),
    [
        ("We will use Postgres for storage", "We will use Postgres for storage of events", "one_topic", "changed"),
        ("We will use Postgres for storage of events", "We will use Postgres for storage", "one_topic", "changed"),
        ("We will use Postgres for storage", "We will use Postgres for storage of events", "", "different"),
        ("slow disks make tests fail", "tests fail slow disks make", "one_topic", "changed"),
        ("move the job from here to there", "move the job to here from there", "one_topic", "different"),
        ("the tests call Redis twice", "Redis twice call the tests", "one_topic", "different"),
        ("We will use Postgres for storage", "Postgres will store what we ingest", "refines", "different"),
        ("We will use Postgres for storage", "For storage we will use managed Postgres", "refines", "changed"),
        ("We will use Postgres", "We will use Postgres for storage of all events we have", "one_topic", "different"),
    ],
)
def test_more_or_fewer_words_are_another_wording_within_a_topic_or_on_the_extractor_s_word(
    old: str, new: str, told: str, expected: str
) -> None:
    assert verdict(old, new, one_topic=told == "one_topic", refines=told == "refines") == expected


def test_endings_count_as_the_same_only_where_the_vectors_are_alike_and_nothing_is_turned_round() -> None:
    old, new = "настройка сервера сборки занимает час", "настройки серверов сборки занимают час"
    assert verdict(old, new) is Verdict.DIFFERENT
    assert verdict(old, new, likeness=0.95) is Verdict.SAME
    assert verdict("the deploy is blocked", "the deploy is blocking", likeness=1.0) is Verdict.DIFFERENT
    assert verdict("this is useful", "this is useless", likeness=1.0) is Verdict.DIFFERENT


def test_a_wording_is_looked_up_by_its_longest_words() -> None:
    assert telling_words("We will use the Postgres database for 2.4") == "database postgres will"
    assert telling_words("the") == ""


texts = st.text(max_size=200)
words = st.lists(st.sampled_from("we use not 3 three Redis the v1.2 deploy `a` только don't".split()), max_size=12)  # noqa: SIM905


@given(texts)
def test_everything_says_the_same_as_itself(text: str) -> None:
    assert verdict(text, text) is Verdict.SAME


@given(st.one_of(texts, words.map(" ".join)), st.one_of(texts, words.map(" ".join)))
def test_who_is_compared_with_whom_does_not_matter(one: str, other: str) -> None:
    assert (verdict(one, other) is Verdict.SAME) == (verdict(other, one) is Verdict.SAME)
    assert verdict(one, other, likeness=1.0, one_topic=True, refines=True) in Verdict


@given(words, st.integers(0, 99), st.integers(0, 99))
def test_two_numbers_are_never_the_same(said: list[str], one: int, other: int) -> None:
    old, new = (f"{' '.join(said)} {number} times" for number in (one, other))
    assert (verdict(old, new, likeness=1.0, one_topic=True) is Verdict.SAME) == (one == other)


@pytest.mark.parametrize(
    "piece", ["a", "a ", '"', "`", "«", "1,", "1,000", "don't", "www.", "@", "(", "i think ", "\n"]
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    wording(text)
    verdict(text, text + "b", likeness=1.0, one_topic=True)
    assert time.process_time() - started < 5, "hostile text takes time that grows with its square"


def test_pairs_of_the_set_are_not_mixed_up_with_each_other() -> None:
    statements = [pair["one"] for pair in OTHERS]
    same = [(a, b) for (i, a), (j, b) in product(enumerate(statements), repeat=2) if i < j and verdict(a, b) == "same"]
    assert same == []
