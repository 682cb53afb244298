"""Whatever is written in a chat stays inside its own line of the prompt, and can be read back from there."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.injections import INJECTIONS
from plugins.readers import message, messages_in, new_numbers, window_of
from winnow.domain.knowledge import AtomType, KnownAtom, Window
from winnow.domain.masking import Masking
from winnow.pipeline.extract_prompt import SCHEMA, prompt_version, write_sheet

PIECES = st.sampled_from(
    [*INJECTIONS, '"', "\\", "\n", "\r", "\u2028", "\x00", "\x85", "{", "# NEW messages", '{"n": 1}', "\ud83d"]
)
TEXTS = st.lists(PIECES | st.text(max_size=20), max_size=6).map("".join)
PEOPLE = st.text(max_size=20)
OWN_LINES = ("# ", "## conversation ", "Extract from the messages ")


@given(st.lists(st.tuples(PEOPLE, TEXTS), min_size=1, max_size=8), st.integers(0, 4), TEXTS, st.booleans())
def test_every_message_can_be_read_back_and_nothing_else_is_there(
    said: list[tuple[str, str]], before: int, known: str, remote: bool
) -> None:
    messages = [message(n, text, author=author, conversation=n // 3) for n, (author, text) in enumerate(said, start=1)]
    window = Window(
        channel="#team",
        messages=tuple(messages[before:] or messages),
        context=tuple(messages[:before]) if messages[before:] else (),
        known=(KnownAtom(id=1, type=AtomType.IDEA, title=known, content=known),),
        topics=(known,),
    )
    masking = Masking() if remote else None
    prompt = write_sheet(window, masking=masking).prompt
    shown = [*window.context, *window.messages]
    again = Masking()
    if remote:  # topics and atoms had their marks first
        for text in [one.text for one in shown]:
            again.mask(storable(text))
    read = messages_in(prompt)
    assert list(read) == list(range(1, len(shown) + 1))
    for number, one in enumerate(shown, start=1):
        assert read[number]["by"] == one.author
        expected = storable(one.text)
        assert read[number]["text"] == (again.mask(expected).text if remote else expected)
    assert new_numbers(prompt) == list(range(len(window.context) + 1, len(shown) + 1))
    for line in filter(None, prompt.split("\n")):
        if not line.startswith(OWN_LINES):
            assert isinstance(json.loads(line), dict)
    assert prompt.count("\n# NEW messages\n") + prompt.startswith("# NEW messages\n") == 1


def storable(text: str) -> str:
    return "".join("\ufffd" if unicodedata.category(char) == "Cs" else char for char in text)


@given(TEXTS)
def test_nothing_invisible_is_in_a_prompt(text: str) -> None:
    prompt = write_sheet(window_of(text)).prompt
    for char in prompt:
        assert (
            char == "\n" or char in "\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp", "Co"}
        )
    assert prompt.splitlines() == prompt.split("\n"), "one kind of line end, and it is ours"


def test_numbers_of_replies_are_those_of_the_prompt() -> None:
    window = Window(
        channel="#team",
        messages=(message(50, "b", parent_id=7), message(51, "c", parent_id=50), message(52, "d", parent_id=999)),
        context=(message(7, "a"),),
    )
    said = messages_in(write_sheet(window).prompt)
    assert [said[n].get("answers") for n in (1, 2, 3, 4)] == [None, 1, 2, None]


@pytest.mark.parametrize("tokens", [1, 7, 100])
def test_a_cut_message_is_a_beginning_of_it(tokens: int) -> None:
    text = "Все решили. " * 500
    said = messages_in(write_sheet(window_of(text), message_tokens=tokens).prompt)[1]
    assert text.startswith(said["text"])
    assert said["cut"]


def test_the_schema_is_closed_and_flat() -> None:
    assert prompt_version().startswith("v1-")

    def depth(part: object) -> int:
        if isinstance(part, dict):
            if part.get("type") == "object":
                assert part["additionalProperties"] is False
                assert part["required"] == list(part["properties"])
                return 1 + max(map(depth, part["properties"].values()))
            return depth(part.get("items"))
        return 0

    assert depth(SCHEMA) == 3
