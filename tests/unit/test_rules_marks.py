"""People mark what they say in many ways: with colons, bold, in brackets, by hashtag, with an open box."""

from __future__ import annotations

import pytest

from winnow.domain.rules.signs import Mark, parse_mark

MARKED = [
    ("Decision: keep the format", Mark.RESOLVED, "keep the format"),
    ("*Decision*: keep the format", Mark.RESOLVED, "keep the format"),
    ("**Decision:** keep the format", Mark.RESOLVED, "keep the format"),
    ("[decision] keep the format", Mark.RESOLVED, "keep the format"),
    ("#decision keep the format", Mark.RESOLVED, "keep the format"),
    ("we keep the format #decision", Mark.RESOLVED, "we keep the format #decision"),
    ("2. Decision: keep the format", Mark.RESOLVED, "keep the format"),
    ("Решили: оставляем формат", Mark.RESOLVED, "оставляем формат"),
    ("Решение: оставляем формат", Mark.RESOLVED, "оставляем формат"),
    ("Договорились: оставляем формат", Mark.RESOLVED, "оставляем формат"),
    ("TODO rotate the keys", Mark.ACTION, "rotate the keys"),
    ("- TODO: rotate the keys", Mark.ACTION, "rotate the keys"),
    ("- [ ] rotate the keys", Mark.ACTION, "rotate the keys"),
    ("Action items: rotate the keys", Mark.ACTION, "rotate the keys"),
    ("Next step: rotate the keys", Mark.ACTION, "rotate the keys"),
    ("bob: ACTION: rotate the keys", Mark.ACTION, "rotate the keys"),
    ("Задача: сменить ключи", Mark.ACTION, "сменить ключи"),
    ("Q: which keys are old?", Mark.QUESTION, "which keys are old?"),
    ("A: the ones of March", Mark.ANSWER, "the ones of March"),
    ("Вопрос: какие ключи старые?", Mark.QUESTION, "какие ключи старые?"),
    ("Проблема: ключи старые", Mark.PROBLEM, "ключи старые"),
    ("Workaround: use the old key", Mark.SOLUTION, "use the old key"),
    ("#risk the key may leak", Mark.RISK, "the key may leak"),
    ("Lesson learned: rotate earlier", Mark.INSIGHT, "rotate earlier"),
]


@pytest.mark.parametrize(("text", "mark", "words"), MARKED)
def test_a_mark_is_told_with_the_words_after_it(text: str, mark: Mark, words: str) -> None:
    found = parse_mark(text)
    assert found is not None
    assert (found[0], text[found[1] :]) == (mark, words)


@pytest.mark.parametrize(
    "text",
    [
        "RESOLVED:",
        "- [x] the keys are rotated",
        "the todo list is long",
        "see #12 for the keys",
        "https://example.org/page#decision",
        "Q&A: on Thursday",
        "our decisions were right",
        "> Decision: what somebody else had written",
        "note: the keys are old",
    ],
)
def test_what_only_looks_like_a_mark_is_none(text: str) -> None:
    assert parse_mark(text) is None
