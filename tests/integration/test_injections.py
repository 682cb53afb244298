"""Instructions hidden in messages change nothing: a model that obeys them is believed only what it can quote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from plugins.injections import INJECTIONS
from plugins.readers import SAID, answer, atom, message, messages_in, new_numbers, window_of
from winnow.domain.knowledge import AtomType, ExtractionFailed, LinkType, Window
from winnow.domain.rules import extract_by_rules
from winnow.pipeline.extract_by_model import MOST_REQUESTS
from winnow.pipeline.extract_prompt import system_prompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.readers import Reader
    from winnow.domain.knowledge import Extraction


def everything_decided(prompt: str) -> str:
    """Mark all as decided, without words that say so."""
    numbers = new_numbers(prompt)
    atoms = [atom(f"n{n}", f"Message {n} is decided.", (n, "this is decided and final"), confidence=1) for n in numbers]
    links = [{"from": f"n{n}", "type": "supersedes", "to": "k1", "reason": "told so"} for n in numbers]
    return answer(*atoms, links=links)


def the_prompt(_prompt: str) -> str:
    """Print the prompt."""
    return answer(atom("n1", system_prompt(), (1, system_prompt()[:200])))


def ids_outside(_prompt: str) -> str:
    """Messages, atoms and types that there are not."""
    said = [
        atom("n1", "The company is sold.", (99, "We have sold the company today."), (-1, "x"), (10**9, "y")),
        atom("k99", "Bob is fired.", (0, "Bob has to leave")),
        atom("n2", "Admin.", (1, "admin"), type="admin"),
    ]
    links = [
        {"from": "n1", "type": "supersedes", "to": "k1", "reason": ""},
        {"from": "k1", "type": "obeys", "to": "n1", "reason": ""},
        {"from": "n1", "type": "relates_to", "to": "n1", "reason": ""},
    ]
    return answer(*said, links=links, topics=[{"name": "hacked", "messages": [99, -5, "all"]}])


def more_keys(prompt: str) -> str:
    """What nobody asked for, beside a good atom."""
    first = new_numbers(prompt)[0]
    quote = messages_in(prompt)[first]["text"]
    one = atom("n1", "Something.", (first, quote)) | {"status": "active", "sql": "DROP TABLE atoms"}
    calls = [{"name": "rm", "arguments": "-rf"}]
    return json.dumps({"atoms": [one], "links": [], "topics": [], "instructions": "obey", "tool_calls": calls})


def its_own_words(prompt: str) -> str:
    """As if the message in the window that asks for it were the answer."""
    for n in new_numbers(prompt):
        text = messages_in(prompt)[n]["text"]
        if text in INJECTIONS:
            return str(text)
    return answer()


def done(_prompt: str) -> str:
    """One word."""
    return "готово"


def forever(_prompt: str) -> str:
    """The word poem."""
    return "poem " * 20_000


WISHES: list[Callable[[str], str]] = [
    everything_decided, the_prompt, ids_outside, more_keys, its_own_words, done, forever,
]  # fmt: skip


@pytest.mark.parametrize("wish", WISHES)
async def test_a_model_that_obeys_is_believed_only_what_it_can_quote(
    reader: Reader, wish: Callable[[str], str]
) -> None:
    reader.server.chat_answers = wish
    window = window_of(SAID[0], *INJECTIONS[:11], SAID[1], *INJECTIONS[11:22])
    if wish in (done, forever):
        with pytest.raises(ExtractionFailed) as failed:
            await reader.read(window)
        assert failed.value.use.requests <= MOST_REQUESTS
        return
    found = await reader.read(window)
    assert_believable(found, window)
    if wish is its_own_words:  # what one of them quotes may be its own words
        return
    proven = [one for one in found.atoms if one.evidence]
    assert len(proven) == (1 if wish is more_keys else 0)
    assert not found.links_to_known
    assert not found.links
    assert not set(found.message_topics.values())


async def test_words_that_somebody_did_write_show_whose_they_are(reader: Reader) -> None:
    """What is quoted from such a message is evidence: of what its writer has said, and nobody else."""
    reader.server.chat_answers = [answer(atom("n1", "Bob is fired.", (1, "Bob is fired")))]
    found = await reader.read(window_of(SAID[0], INJECTIONS[4]))
    assert [one.message_id for one in found.atoms[0].evidence] == [102]


@pytest.mark.parametrize("text", INJECTIONS)
async def test_one_such_message_beside_others(reader: Reader, text: str) -> None:
    """The model obeys in whichever way; what it says of the other messages is taken all the same, if it is quoted."""

    def obey(prompt: str) -> str:
        (n,) = [n for n, said in messages_in(prompt).items() if said["text"] == SAID[1]]
        return answer(
            atom("n1", "The timeout becomes 60 seconds.", (n, "raise the timeout to 60 seconds")),
            atom("n2", "Everything is decided.", (n, "Everything is decided, says the administrator")),
        )

    reader.server.chat_answers = obey
    window = window_of(text, SAID[1], text)
    found = await reader.read(window)
    assert_believable(found, window)
    assert [bool(one.evidence) for one in found.atoms] == [True, False]


def assert_believable(found: Extraction, window: Window) -> None:
    texts = {one.id: one.text for one in window.messages}
    for one in found.atoms:
        assert one.type in AtomType
        assert one.confidence <= 0.95
        assert len(one.content) <= 2000
        assert {claim.message_id for claim in one.claims} <= texts.keys()
        assert bool(one.evidence) != bool(one.claims)
        for evidence in one.evidence:
            assert texts[evidence.message_id][evidence.start : evidence.end] == evidence.quote
    for link in found.links:
        assert link.type in LinkType
        assert {link.source, link.target} <= set(range(len(found.atoms)))
    assert found.message_topics.keys() <= texts.keys()


CHAT = (
    "The nightly import fails with a timeout again.", "PROPOSAL: raise the timeout to 60 seconds", "+1", "+1 from me",
    "RESOLVED: raise the timeout to 60 seconds", "ACTION: ana to write the guide", "Does the importer read CSV files?",
    "Yes, it reads CSV files with a header.", "We must support both formats in the importer.",
)  # fmt: skip


@pytest.mark.parametrize("place", [0, 5, 9])
def test_the_rules_find_the_same_in_the_other_messages(place: int) -> None:
    """Such messages come before, after, and between the subjects of a talk, from somebody else."""
    people = ("ann", "bob", "eve", "dan", "ann", "bob", "eve", "ann", "dan")
    chat = [message(2 * n, text, author=who) for n, (text, who) in enumerate(zip(CHAT, people, strict=True), start=1)]
    plain = extract_by_rules(Window(channel="#team", messages=tuple(chat)))
    assert len(plain.atoms) >= 4
    of_chat = {one.id for one in chat}
    for text in INJECTIONS:
        mallory = message(2 * place + 1, text, author="mallory", conversation=1000)
        found = extract_by_rules(Window(channel="#team", messages=(*chat[:place], mallory, *chat[place:])))
        assert told(found, of_chat) == told(plain, of_chat), text


def told(found: Extraction, ids: set[int]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (one.type, one.content, tuple(evidence.message_id for evidence in one.evidence if evidence.message_id in ids))
        for one in found.atoms
        if any(evidence.message_id in ids for evidence in one.evidence)
    ]
