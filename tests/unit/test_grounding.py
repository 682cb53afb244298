"""A quote is found where its words stand, however a model has written them, and nowhere else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.folding import fold
from winnow.domain.grounding import Passage, ground

LONG = "We talked for an hour. In the end we will use Postgres 16 for the new service, not MySQL. Ana writes it down."

TEXTS = st.text(max_size=200)
WORDS = st.lists(st.sampled_from(["a", "we", "use", "not", "16", "the", "pool", "не", "ß", "ﬁle", "é"]), max_size=60)


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("we will use Postgres 16", "we will use Postgres 16"),
        ("  we will use Postgres 16 ", "we will use Postgres 16"),
        ("We will use POSTGRES 16", "we will use Postgres 16"),
        ("we will use\n Postgres  16", "we will use Postgres 16"),
        ('"we will use Postgres 16..."', "we will use Postgres 16"),
        ("In the end, we will use Postgres 16", "In the end we will use Postgres 16"),
        ("the end they will use Postgres 16 for a new service", "the end we will use Postgres 16 for the new service"),
        ("we will use Postg", "we will use Postg"),
    ],
)  # fmt: skip
def test_words_are_found_as_they_stand_in_the_text(quote: str, found: str) -> None:
    span = ground(quote, LONG)
    assert span is not None
    assert LONG[slice(*span)] == found


@pytest.mark.parametrize(
    "quote",
    [
        "", "   ", "...", '"', "“”",
        "we will not use Postgres 16",
        "we will use Postgres 17",
        "we will use MySQL",
        "everybody agreed to use Postgres",
        "Postgres use will we end the In",
        "na",
        "ost",
    ],
)  # fmt: skip
def test_other_words_are_not(quote: str) -> None:
    assert ground(quote, LONG) is None


@pytest.mark.parametrize(
    ("quote", "text", "found"),
    [
        ("it's done", "so it’s done, then", "it’s done"),
        ("все решили", "Всё  решили вчера", "Всё  решили"),
        ("café", "the cafe\u0301 is open", "cafe\u0301"),
        ("который", "тот, кото\u0440ыи\u0306 нужен", "кото\u0440ыи\u0306"),
        ("file", "the ﬁle", "ﬁle"),
        ("wide words", "ｗｉｄｅ ｗｏｒｄｓ", "ｗｉｄｅ ｗｏｒｄｓ"),
        ("hidden words", "hid\u200bden\u00ad words", "hid\u200bden\u00ad words"),
        ("a - b", "x a – b y", "a – b"),
        ("決定した", "会議で決定した。", "決定した"),
        ("+1", "+1 from me", "+1"),
        ("👍", "yes 👍", "👍"),
        ("ok", "look: ok", "ok"),
        ("straße", "die STRASSE ist zu", "STRASSE"),
    ],
)
def test_the_same_words_in_other_characters(quote: str, text: str, found: str) -> None:
    span = ground(quote, text)
    assert span is not None
    assert text[slice(*span)] == found


def test_half_a_character_is_not_quoted() -> None:
    assert ground("f", "a ﬁ b") is None
    assert ground("fi", "a ﬁ b") == (2, 3)


@given(TEXTS, st.data())
def test_what_was_cut_out_of_a_text_is_found_in_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    quote = text[start : data.draw(st.integers(start, len(text)))]
    span = ground(quote, text)
    if span is not None:
        assert 0 <= span[0] < span[1] <= len(text)
        assert fold(text[slice(*span)]).text.strip() == fold(quote).text.strip()
    words = f"x {quote} x"
    if any(char.isalnum() for char in quote):
        assert ground(quote, words) is not None, "whole words always are"


@given(TEXTS, TEXTS)
def test_any_two_texts_end_in_a_place_or_none(quote: str, text: str) -> None:
    span = ground(quote, text)
    assert span is None or 0 <= span[0] < span[1] <= len(text)


@given(WORDS, WORDS)
def test_most_words_in_order_at_a_place_that_is_not_much_longer(quote: list[str], text: list[str]) -> None:
    span = ground(" ".join(quote), " ".join(text))
    if span is None:
        return
    wanted = fold(" ".join(quote)).text.split()
    found = fold(" ".join(text)[slice(*span)]).text.split()
    assert in_order(wanted, found) * 4 >= len(wanted) * 3
    assert len(found) * 3 <= max(len(wanted), 1) * 4
    for word in ("not", "16", "не"):
        assert wanted.count(word) == found.count(word)


def in_order(wanted: list[str], found: list[str]) -> int:
    """The length of the longest common subsequence, the slow way."""
    row = [0] * (len(found) + 1)
    for one in wanted:
        row_before = list(row)
        for place, other in enumerate(found, start=1):
            row[place] = row_before[place - 1] + 1 if one == other else max(row[place - 1], row_before[place])
    return row[-1]


@given(TEXTS)
def test_folding_keeps_the_places(text: str) -> None:
    folded = fold(text)
    assert len(folded.text) == len(folded.origins)
    assert all(0 <= place < len(text) for place in folded.origins)
    assert fold(unicodedata.normalize("NFD", text)).text == fold(unicodedata.normalize("NFC", text)).text


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("a " * 150, "a b " * 20_000),
        ("a" * 500, "a" * 100_000 + "b"),
        (" ".join(str(n) for n in range(200)), " ".join(str(n) for n in range(199, -1, -1)) + " x" * 40_000),
        ("\u0301" * 1000, "\u0301\u0316" * 50_000),
        ("no " * 199, "no not " * 30_000),
    ],
)
def test_hostile_texts_take_no_time(quote: str, text: str) -> None:
    """The suite's own limit is the only clock here."""
    passage = Passage(text)
    for _ in range(3):
        passage.find(quote)
