"""Whatever is written, extraction never fails, repeats itself exactly, quotes verbatim and stays fast."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.knowledge import Extraction, Window, WindowMessage
from winnow.domain.rules import extract_by_rules
from winnow.providers.rules import RuleExtractor

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
PIECES = st.sampled_from(
    [
        "PROPOSAL: Drop the old parser",
        "RESOLVED: Drop the old parser",
        "RESOLVED:",
        "ACTION: bob to write the guide",
        "Topic: Release plan",
        "Topic: https://example.org/1",
        "+1",
        "-1",
        "bob: I'll write the guide by Friday",
        "... and the tests as well",
        "… because the parser is broken",
        "ok, let's do that",
        "I'll do that",
        "Does the importer read files without a header?",
        "bob: yes, it reads files without a header",
        "The import fails with a timeout",
        "fixed it by raising the timeout of the import",
        "we could cache the rates for an hour",
        "е\u0301щё не работает импорт",
        "İstanbul ﬁle I\u0307 will fail to load",
        "\ufeffann: can you check the report?",
        "q+ to say that we must support both formats",
        "e.g. this. And that?! Then more...",
    ]
)
NOISE = st.text(
    st.characters(exclude_categories=["L", "Cs"]), max_size=4
)  # emoji, marks, controls, blanks of all sorts
TEXTS = st.one_of(
    PIECES,
    st.text(max_size=120),
    st.lists(PIECES | st.text(max_size=30), max_size=5).map("\n".join),
    st.builds("{}{}{}".format, NOISE, PIECES, NOISE),
)
AUTHORS = st.sampled_from(["ann", "bob", "carol`", "dan-db", "", "Zakim", "é"]) | st.text(max_size=12)
TALKS = st.lists(st.tuples(AUTHORS, TEXTS, st.integers(0, 400)), max_size=30)


def window_of(said: list[tuple[str, str, int]], topic: str | None = None) -> Window:
    now, messages = START, []
    for number, (author, text, minutes) in enumerate(said):
        now += timedelta(minutes=minutes)
        messages.append(
            WindowMessage(
                id=number + 100,
                author=author,
                text=text,
                sent_at=now,
                importance=0.5,
                conversation=100 + number % 3,
                parent_id=100 + minutes % 30 if minutes % 2 else None,
                votes=minutes % 7 - 2,
            )
        )
    return Window(channel="c", messages=tuple(messages[3:]), context=tuple(messages[:3]), topic=topic)


def check(window: Window, found: Extraction) -> None:
    texts = {message.id: message.text for message in window.messages}
    names = set(found.message_topics.values())
    assert set(found.message_topics) <= set(texts)
    assert all(name.strip() and len(name) <= 80 for name in names)
    for atom in found.atoms:
        assert atom.evidence
        assert len({evidence.message_id for evidence in atom.evidence}) == len(atom.evidence)
        for evidence in atom.evidence:
            assert 0 <= evidence.start < evidence.end
            assert texts[evidence.message_id][evidence.start : evidence.end] == evidence.quote
            assert evidence.quote.strip()
        assert atom.title.strip()
        assert len(atom.title) <= 80
        assert "\n" not in atom.title
        assert atom.content.strip()
        assert len(atom.content) <= 600
        assert 0 < atom.confidence <= 0.95
        assert atom.topic is None or atom.topic in names
    for link in found.links:
        assert link.source != link.target
        assert 0 <= link.source < len(found.atoms)
        assert 0 <= link.target < len(found.atoms)
        assert 0 < link.confidence <= 1


@settings(max_examples=300, deadline=None)
@given(TALKS, st.none() | st.text(max_size=100))
def test_every_extraction_is_sound_and_the_same_each_time(said: list[tuple[str, str, int]], topic: str | None) -> None:
    window = window_of(said, topic)
    found = extract_by_rules(window)
    check(window, found)
    assert extract_by_rules(window) == found


@settings(max_examples=100, deadline=None)
@given(TALKS)
def test_twins_are_merged(said: list[tuple[str, str, int]]) -> None:
    atoms = extract_by_rules(window_of(said)).atoms
    stated = [(atom.type, atom.content.casefold()) for atom in atoms]
    assert len(stated) == len(set(stated))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["🙂", "𐐷", "e\u0301", "\u202e", "\u2028", "\ufeff", "日本", "ß", " "])).map("".join))
def test_whatever_stands_above_a_decision_its_quote_stays_the_same_words(above: str) -> None:
    text = f"{above}\nRESOLVED: Drop the old parser 🙂 now\n{above}"
    window = window_of([("ann", "hello", 0)] * 3 + [("ann", text, 1)])
    found = extract_by_rules(window)
    check(window, found)
    quotes = {evidence.quote for atom in found.atoms for evidence in atom.evidence}
    assert "Drop the old parser 🙂 now" in quotes


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        " " * 1_000_000,
        "let's " * 200_000,
        "I'll send it. " * 80_000,
        "?!." * 300_000,
        "https://" * 120_000,
        "e\u0301" * 500_000,
        "bob: " * 200_000,
        "+1 " * 300_000,
        "\n" * 1_000_000,
        "Topic: x\n" * 100_000,
        "PROPOSAL: drop the parser now\n" * 30_000,
        "we have the a an some other " * 40_000,
        "the issue i had with the problem " * 30_000,
        ".... " * 200_000,
        "(" * 500_000 + ")" * 500_000,
        "-_." * 300_000,
        "sees " * 200_000,
        "should we use it? " * 50_000,
        "Should we use the new one or not?\nYes, the new one is what we use\n" * 15_000,
        "+1\nwe keep the old format\n" * 40_000,
        "#decision " * 100_000,
        "TODO " * 200_000,
        "- [ ] rotate the keys\n" * 40_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_huge_message_takes_no_time(text: str) -> None:
    window = window_of([("ann", "hello there", 0)] * 3 + [("ann", text, 1), ("bob", "I'll fix the parser", 1)])
    started = time.process_time()
    check(window, extract_by_rules(window))
    assert time.process_time() - started < 2


async def test_the_provider_gives_what_the_rules_give() -> None:
    window = window_of([("ann", "words", 0)] * 3 + [("ann", "We agreed to drop the old parser.", 1)])
    extractor = RuleExtractor()
    assert extractor.name == "rules"
    assert await extractor.extract(window) == extract_by_rules(window)
