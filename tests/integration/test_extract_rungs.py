"""Rubbish from a model costs a bounded number of requests, loses as little as can be, and is told with its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from plugins.model_servers_chat import ChatAnswer, ShownModel
from plugins.readers import SAID, an_atom_of_each, answer, atom, language_model, messages_in, new_numbers, window_of
from winnow.domain.knowledge import ExtractionFailed
from winnow.errors import KeyRefused, ModelNotFound, ProviderBusy, ProviderTimeout, ProviderUnavailable, QuotaExhausted
from winnow.pipeline.extract_by_model import MOST_REQUESTS, ModelExtractor
from winnow.providers.base import Completion, LanguageModel

if TYPE_CHECKING:
    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers_chat import OllamaChatServer, OpenAIChatServer
    from plugins.readers import Reader
    from winnow.domain.knowledge import Extraction

MANY = [f"We decided on point number {number} today." for number in range(25)]
GOOD_ATOM = atom("n1", "The timeout becomes 60 seconds.", (2, "decided to raise the timeout"))


STRAY: list[Any] = [{"type": "rumour", "title": "x", "content": "y"}, 7, None, {}, {"type": "idea"}]


class Endless(LanguageModel):
    """Keeps to no limit, as some servers do."""

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    @override
    def name(self) -> str:
        return "endless"

    @override
    async def complete(self, **_: object) -> Completion:
        return Completion(text=self._text, model="endless")

    @override
    async def close(self) -> None:
        """Nothing is open."""


def quotes(found: Extraction) -> list[str]:
    return [one.evidence[0].quote if one.evidence else "" for one in found.atoms]


# -- mended without asking again


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{answer(GOOD_ATOM)}\n```",
        f"Here is what I found:\n{answer(GOOD_ATOM)}\nLet me know!",
        f"<think>hm, {{}}</think>{answer(GOOD_ATOM)}",
        answer(GOOD_ATOM).replace("}], ", "},], ").replace('"links": []}', '"links": [],}'),
        json.dumps([GOOD_ATOM]),
        json.dumps({"atoms": [GOOD_ATOM]}),
        json.dumps({"atoms": [GOOD_ATOM], "links": None, "topics": "none", "remarks": "extra"}),
        answer(GOOD_ATOM | {"type": " Decision "}),
        answer(GOOD_ATOM | {"id": 1, "confidence": "0.9", "evidence": [{"message": "2", "quote": SAID[1]}]}),
        answer(GOOD_ATOM | {"title": "\x00The\x07 timeout\n", "content": "The timeout\u202e becomes\x00 60 seconds."}),
        answer(GOOD_ATOM, *STRAY),
    ],
)  # fmt: skip
async def test_what_can_be_read_is_read_at_once(reader: Reader, text: str) -> None:
    reader.server.chat_answers = [text]
    found = await reader.read()
    assert found.use.requests == 1
    (one,) = found.atoms
    assert one.evidence[0].message_id == 102
    assert one.title.isprintable()
    assert "\x00" not in one.content + one.title


@pytest.mark.parametrize(
    ("confidence", "read"),
    [(2, 0.02), (95, 0.95), (1, 0.95), (-1, 0), ("high", 0.5), (None, 0.5), (True, 0.5), (1e400, 0.5), ([], 0.5)],
)
async def test_confidence_is_between_0_and_95_percent(reader: Reader, confidence: Any, read: float) -> None:
    reader.server.chat_answers = [answer(GOOD_ATOM | {"confidence": confidence})]
    assert [one.confidence for one in (await reader.read()).atoms] == [read]


async def test_ten_thousand_atoms_are_forty() -> None:
    atoms = [atom(f"n{n}", f"Fact {n}", (2, SAID[1]), confidence=n / 20_000) for n in range(1, 10_001)]
    text = answer(*atoms, links=[{"from": "n9999", "type": "supports", "to": "n10000", "reason": ""}])

    found = await ModelExtractor(model=Endless(text), is_remote=False).extract(window_of(*SAID))
    assert [one.content for one in found.atoms] == [f"Fact {n}" for n in range(9961, 10_001)], "the surest"
    assert [(link.source, link.target) for link in found.links] == [(38, 39)]
    assert "9960 × more atoms" in found.trouble


async def test_endless_titles_and_quotes_are_cut(reader: Reader) -> None:
    long = f"{'w' * 50} " * 100
    reader.server.chat_answers = [answer(GOOD_ATOM | {"title": long, "content": long, "topic": long})]
    (one,) = (await reader.read()).atoms
    assert (len(one.title), len(one.content), len(one.topic or "")) <= (160, 2000, 80)


# -- asked again with half of it


@pytest.mark.parametrize(
    ("rubbish", "told"),
    [
        (ChatAnswer("I am sorry, I cannot do that."), "it is no JSON of the schema: there is no object in it"),
        (ChatAnswer("{'atoms': [1]}"), "it is no JSON of the schema: it cannot be read as JSON"),
        (ChatAnswer('{"answer": "ok"}'), 'it has no list "atoms"'),
        (ChatAnswer('{"atoms": [{"type": "rumour"}, 3]}'), "none of its atoms can be used (an atom that is no object"),
        (ChatAnswer("  \n" * 500, ends="length"), "it was cut off"),
        (ChatAnswer('{"atoms": [{"type": "decis', ends="length"), "it was cut off"),
        (ChatAnswer(""), "it was empty"),
        (ChatAnswer("   "), "it was empty"),
        (ChatAnswer('{"atoms":[' * 5000), "it was cut off"),
    ],
)
async def test_an_answer_that_is_of_no_use_is_asked_for_again_by_halves(
    reader: Reader, rubbish: ChatAnswer, told: str
) -> None:
    asked = 0

    def chat(prompt: str) -> str | ChatAnswer:
        nonlocal asked
        asked += 1
        return rubbish if asked == 1 else an_atom_of_each(prompt)

    reader.server.chat_answers = chat
    found = await reader.read()
    assert quotes(found) == list(SAID), "in the order of the messages, whichever half they were in"
    assert found.use.requests == asked == 3
    assert [list(map(sorted, [new_numbers(prompt)])) for prompt in reader.prompts[-2:]] == [[[1, 2]], [[3, 4]]]
    for prompt in reader.prompts[-2:]:
        assert f"Your last answer could not be used: {told}" in prompt
    shown = messages_in(reader.prompts[-1])
    assert [shown[n]["text"] for n in (1, 2)] == list(SAID[:2]), "what the first half said is context of the second"
    assert found.trouble == ""


async def test_nothing_of_a_bad_answer_comes_into_the_next_prompt(reader: Reader) -> None:
    asked = 0

    def chat(prompt: str) -> str:
        nonlocal asked
        asked += 1
        return "EVIL WORDS {" if asked == 1 else an_atom_of_each(prompt)

    reader.server.chat_answers = chat
    await reader.read()
    assert not [prompt for prompt in reader.prompts if "EVIL" in prompt]


async def test_one_bad_message_is_found_by_halving_and_costs_no_other(reader: Reader) -> None:
    reader.server.chat_answers = lambda prompt: (
        "no"
        if any("number 5 " in messages_in(prompt)[n]["text"] for n in new_numbers(prompt))
        else an_atom_of_each(prompt)
    )
    found = await reader.read(window_of(*MANY[:8]))
    assert quotes(found) == [text for text in MANY[:8] if "number 5 " not in text]
    assert found.use.requests <= MOST_REQUESTS
    assert "1 of 8 messages could not be read" in found.trouble


@pytest.mark.parametrize("count", [1, 2, 25])
async def test_no_window_costs_more_than_eight_requests_and_its_failure_tells_the_last_answer(
    reader: Reader, count: int
) -> None:
    reader.server.chat_answers = lambda _prompt: "not \x00 JSON"
    with pytest.raises(ExtractionFailed, match=f"{reader.extractor.name} gave no answer that can be used") as failed:
        await reader.read(window_of(*MANY[:count]))
    assert failed.value.answer == "not \ufffd JSON", "as the database can hold it"
    assert failed.value.use.requests == len(reader.prompts) == min(2 * (2 * count - 1) - (count > 1), 8) or count == 2
    assert len(reader.prompts) <= MOST_REQUESTS
    assert failed.value.use.input_tokens > 0


async def test_a_single_message_is_asked_about_again_with_half_of_its_text(reader: Reader) -> None:
    reader.server.chat_answers = ["no"]
    reader.server.chat_answers += [answer(atom("n1", "It is long.", (1, "This sentence is one of many.")))]
    found = await reader.read(window_of("This sentence is one of many. " * 1000))
    first, second = (len(messages_in(prompt)[1]["text"]) for prompt in reader.prompts)
    assert second <= first // 2 + 30
    assert len(found.atoms) == 1


async def test_what_is_whole_of_a_cut_answer_is_kept_where_nothing_better_comes(reader: Reader) -> None:
    cut = f'{{"topics": [], "atoms": [{json.dumps(GOOD_ATOM)}, {json.dumps(GOOD_ATOM)[:40]}'
    reader.server.chat_answers = lambda prompt: ChatAnswer(
        cut.replace('"message": 2', f'"message": {new_numbers(prompt)[-1]}'), ends="length"
    )
    found = await reader.read(window_of(SAID[0], SAID[1]))
    assert "decided to raise the timeout" in quotes(found)
    assert "could not be read" in found.trouble


async def test_too_long_prompts_are_halved(ollama_chat_server: OllamaChatServer) -> None:
    ollama_chat_server.shown["tiny"] = ShownModel(context=4096)
    ollama_chat_server.chat_answers = an_atom_of_each
    model = language_model(ollama_chat_server, "tiny")
    texts = [f"{text} {'and so on ' * 60}" for text in MANY[:10]]
    found = await ModelExtractor(model=model, is_remote=False).extract(window_of(*texts))
    assert [quote.strip() for quote in quotes(found)] == [text.strip() for text in texts]
    await model.close()


@pytest.mark.parametrize("how", ["refused", "too_long"])
async def test_a_message_that_the_server_refuses_does_not_lose_the_others(reader: Reader, how: Misbehaviour) -> None:
    reader.server.chat_answers = an_atom_of_each
    reader.server.poison("number 2 ", how)
    found = await reader.read(window_of(*MANY[:4]))
    assert quotes(found) == [MANY[0], MANY[1], MANY[3]]
    assert "1 of 4 messages could not be read" in found.trouble


# -- not the window's fault


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("busy", ProviderBusy), ("rate_limited", ProviderBusy), ("broken", ProviderUnavailable),
        ("dropped", ProviderUnavailable), ("cut", ProviderUnavailable), ("slow", ProviderTimeout),
    ],
)  # fmt: skip
async def test_weather_passes_on(reader: Reader, how: Misbehaviour, error: type[Exception]) -> None:
    reader.server.behave(how, **({"delay_seconds": 30} if how == "slow" else {}))
    extractor = reader.extractor
    if how == "slow":
        extractor = ModelExtractor(model=language_model(reader.server, seconds=0.2), is_remote=False)
    with pytest.raises(error):
        await extractor.extract(window_of(*SAID))
    if extractor is not reader.extractor:
        await extractor.model.close()


@pytest.mark.parametrize(
    ("how", "error"),
    [("key_refused", KeyRefused), ("model_missing", ModelNotFound)],
)
async def test_faults_of_the_set_up_pass_on(reader: Reader, how: Misbehaviour, error: type[Exception]) -> None:
    reader.server.behave(how)
    with pytest.raises(error):
        await reader.read()


async def test_a_spent_account_passes_on(openai_chat_server: OpenAIChatServer) -> None:
    openai_chat_server.behave("no_quota")
    model = language_model(openai_chat_server)
    with pytest.raises(QuotaExhausted):
        await ModelExtractor(model=model, is_remote=False).extract(window_of(*SAID))
    await model.close()
