"""The cheap look before a dear pattern never says no where the pattern would find something."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from winnow.domain.rules.cues import filled
from winnow.domain.rules.cues_en import ENGLISH_PHRASES, PLANNING_CUES
from winnow.domain.rules.cues_en_reports import REPORT_CUES
from winnow.domain.rules.cues_en_trouble import TROUBLE_CUES
from winnow.domain.rules.cues_ru import RUSSIAN_CUES, RUSSIAN_PHRASES
from winnow.domain.rules.cues_ru_more import MORE_RUSSIAN_CUES
from winnow.domain.rules.needles import Sieve, needles

ALTERNATIVES = [
    alternative
    for rows, phrases in (
        (PLANNING_CUES + TROUBLE_CUES + REPORT_CUES, ENGLISH_PHRASES),
        (RUSSIAN_CUES + MORE_RUSSIAN_CUES, RUSSIAN_PHRASES),
    )
    for row in rows
    for alternative in filled(row.says, phrases)
]
RUSSIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
LETTERS = st.characters(codec="ascii", exclude_categories=["Cc"]) | st.sampled_from(f"{RUSSIAN}{RUSSIAN.upper()}’—")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_every_text_that_a_cue_matches_passes_its_sieve(data: st.DataObject) -> None:
    alternative = data.draw(st.sampled_from(ALTERNATIVES))
    text = data.draw(st.from_regex(re.compile(alternative, re.IGNORECASE), alphabet=LETTERS))
    assert Sieve.of([[alternative]]).candidates(text) == 1


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (r"\b(?:we|they) (?:have )?decided\b", {"decided"}),
        (r"\bdecided?\b", {"decide"}),
        (r"agreed (?!not)to", {"agreed to"}),
        (r"(?:fixed|solved) it", {"fixed", "solved"}),
        (r"(?:fixed|\w+) it", {" it"}),
        (r"\w{1,9}", None),
        (r"a|broken", None),
    ],
)
def test_needles_are_what_a_match_cannot_do_without(pattern: str, wanted: set[str] | None) -> None:
    assert needles(pattern) == (None if wanted is None else frozenset(wanted))


def test_a_text_without_any_needle_is_searched_by_no_pattern() -> None:
    assert Sieve.of([[r"decided to"], [r"\bbroken\b", "fails"]]).candidates("see you on Thursday") == 0
