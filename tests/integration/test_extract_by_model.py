"""A good answer is taken whole: its numbers are mapped back, and what it quotes is found in the messages."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import orjson
import pytest

from plugins.readers import SAID, an_atom_of_each, answer, atom, language_model, message, messages_in, window_of
from winnow.domain.knowledge import AtomType, Claim, Evidence, KnownAtom, LinkType, Window
from winnow.errors import Transient
from winnow.pipeline.extract_by_model import ModelExtractor
from winnow.pipeline.extract_prompt import SCHEMA, prompt_version, system_prompt

if TYPE_CHECKING:
    from plugins.model_servers_chat import OllamaChatServer, OpenAIChatServer
    from plugins.readers import Reader

KEY = "sk-proj-AbCdEfGhIjKlMnOpQrStUv"
DECIDED = "decided to raise the timeout to 60 seconds"
NEARLY = "The nightly import often fails with a timeout again"
GOOD = answer(
    atom("n1", "The nightly import times out.", (1, "The nightly import fails with a timeout"), type="problem"),
    atom("n2", "The timeout becomes 60 seconds.", (2, DECIDED), topic="Import"),
    atom("n3", "Ana writes the guide by Friday.", (3, "Ana will write the guide by Friday."), type="action"),
    links=[{"from": "n2", "type": "solves", "to": "n1", "reason": "so it may end in time"}],
    topics=[{"name": "import", "messages": [1, 2, 99]}, {"name": "Guide", "messages": [3]}],
)


async def test_a_good_answer_becomes_knowledge(reader: Reader) -> None:
    reader.server.chat_answers = [GOOD]
    found = await reader.read(window_of(*SAID, topics=("Import",)))
    assert [one.type for one in found.atoms] == [AtomType.PROBLEM, AtomType.DECISION, AtomType.ACTION]
    assert found.atoms[1].evidence == (Evidence(message_id=102, start=3, end=45, quote=DECIDED),)
    assert {one.topic for one in found.atoms} == {"Import", "Guide"}, "the offered name"
    assert found.message_topics == {101: "Import", 102: "Import", 103: "Guide"}
    (link,) = found.links
    assert (link.source, link.target, link.type, link.reason) == (1, 0, LinkType.SOLVES, "so it may end in time")
    assert found.use.requests == 1
    assert found.use.input_tokens > 100
    assert found.use.output_tokens > 10
    assert found.trouble == ""


async def test_schema_limits_and_prompt_are_on_the_wire(reader: Reader) -> None:
    reader.server.chat_answers = [GOOD]
    await reader.read()
    body = reader.server.requests[-1].body
    if reader.extractor.name.startswith("ollama"):
        assert body["format"] == SCHEMA
        assert body["think"] is False
        assert 500 < body["options"]["num_predict"] < 2000
        assert body["options"]["num_ctx"] >= 4096
    else:
        assert body["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": SCHEMA}
        assert 500 < body["max_tokens"] < 2000
    assert body["messages"][0]["content"].startswith(system_prompt())


async def test_more_messages_may_have_a_longer_answer(reader: Reader) -> None:
    limits = []
    for count in (1, 25):
        await reader.read(window_of(*["We will use Postgres."] * count))
        body = reader.server.requests[-1].body
        limits.append(body["options"]["num_predict"] if "options" in body else body["max_tokens"])
    assert limits[0] * 3 < limits[1]


async def test_nothing_worth_keeping_is_an_answer(reader: Reader) -> None:
    reader.server.chat_answers = [answer()]
    found = await reader.read()
    assert (found.atoms, found.use.requests) == ((), 1)


async def test_a_quote_of_another_message_is_found_there_and_one_of_nowhere_proves_nothing(reader: Reader) -> None:
    reader.server.chat_answers = [
        answer(
            atom("n1", "The timeout is raised.", (5, "raise the TIMEOUT  to 60 seconds")),
            atom("n2", "Everything is fine.", (4, "everything is fine")),
            atom("n3", "There was a party.", (1, "we had a party"), (99, "a great party")),
            atom("n4", "Somebody left.", (77, "somebody left")),
            atom("n5", "Nobody said this."),
            atom("n6", "Most of it is in another.", (3, NEARLY)),
        )
    ]
    found = await reader.read(window_of(*SAID, context=["we had a party"]))
    assert found.atoms[0].evidence == (Evidence(message_id=102, start=14, end=45, quote=SAID[1][14:45]),)
    assert not any(one.evidence for one in found.atoms[1:]), "what is context proves nothing"
    assert found.atoms[1].claims == (Claim(message_id=103, quote="everything is fine"),)
    assert found.atoms[5].claims == (Claim(message_id=102, quote=NEARLY),)
    for one, words in zip(found.atoms[2:5], ("we had a party", "somebody left", ""), strict=True):
        assert one.claims == tuple(Claim(message_id=row, quote=words) for row in (101, 102, 103, 104))
    assert "5 × a quote that is in no new message" in found.trouble


async def test_small_words_prove_nothing_in_long_messages(reader: Reader) -> None:
    reader.server.chat_answers = [answer(atom("n1", "It is so.", (1, "the")), atom("n2", "Yes.", (4, "lunch")))]
    found = await reader.read()
    assert [bool(one.evidence) for one in found.atoms] == [False, True]


async def test_atoms_that_are_known_can_be_linked_to(reader: Reader) -> None:
    known = (KnownAtom(id=77, type=AtomType.PROBLEM, title="Import slow", content="The import is slow."),)
    links = [
        {"from": "n1", "type": "solves", "to": "k1", "reason": "r"},
        {"from": "n1", "type": "answers", "to": "k2", "reason": "not offered"},
        {"from": "k1", "type": "supports", "to": "n1", "reason": "the wrong way round"},
        {"from": "n1", "type": "supports", "to": "n1", "reason": "itself"},
        {"from": "n1", "type": "breaks", "to": "k1", "reason": "no such type"},
        {"from": "n1", "type": "supports", "to": "n8", "reason": "not there"},
    ]
    reader.server.chat_answers = [answer(atom("n1", "More time.", (2, DECIDED)), links=links)]
    found = await reader.read(window_of(*SAID, known=known))
    assert [(one.source, one.atom_id, one.type) for one in found.links_to_known] == [(0, 77, LinkType.SOLVES)]
    assert found.links == ()
    assert '{"id": "k1", "type": "problem", "title": "Import slow", "content": "The import is slow."}' in "".join(
        reader.prompts
    )


async def test_the_prompt_shows_conversations_answers_votes_and_context(reader: Reader) -> None:
    messages = (
        message(11, "Shall we use Postgres?", conversation=11),
        message(12, "+1", conversation=11, parent_id=11),
        message(14, "yes", conversation=11, parent_id=3, votes=2),
        message(13, "Who has the key?", conversation=13, author="bob"),
    )
    window = Window(channel="#team", messages=messages, context=(message(3, "about databases"),), topics=("Databases",))
    await reader.read(window)
    (prompt,) = reader.prompts
    assert messages_in(prompt) == {
        1: {"n": 1, "by": "ann", "text": "about databases"},
        2: {"n": 2, "by": "ann", "text": "Shall we use Postgres?"},
        3: {"n": 3, "by": "ann", "answers": 2, "text": "+1"},
        4: {"n": 4, "by": "ann", "answers": 1, "votes": 2, "text": "yes"},
        5: {"n": 5, "by": "bob", "text": "Who has the key?"},
    }
    assert prompt.index("CONTEXT: said before") < prompt.index("about databases") < prompt.index("# NEW messages")
    assert prompt.count("## conversation") == 2
    assert '{"topic": "Databases"}' in prompt


async def test_the_same_said_twice_is_one_atom_with_all_evidence(reader: Reader) -> None:
    reader.server.chat_answers = [
        answer(
            atom("n1", "The timeout is raised.", (2, DECIDED), confidence=0.4),
            atom("n2", "The  timeout is RAISED.", (1, "fails with a timeout"), confidence=0.8),
            atom("n3", "The timeout is raised.", (3, "nobody"), type="insight"),
            links=[{"from": "n3", "type": "supports", "to": "n2", "reason": ""}],
        )
    ]
    found = await reader.read()
    assert [(one.type, one.confidence, len(one.evidence)) for one in found.atoms] == [
        ("decision", 0.8, 2),
        ("insight", 0.9, 0),
    ]
    assert [(link.source, link.target) for link in found.links] == [(1, 0)]


async def test_secrets_stay_here_when_the_model_is_elsewhere(reader: Reader) -> None:
    said = (f"We decided: the new key is {KEY} from now on.", f"Where is {KEY} used?", "mail ann@example.org")
    known = (KnownAtom(id=7, type=AtomType.DECISION, title="Key", content=f"The key is {KEY}."),)
    window = window_of(*said, context=["the password: hunter2"], known=known, topics=(f"key {KEY}",))
    quoted = "We decided: the new key is [secret 2] from now on"
    reader.server.chat_answers = [answer(atom("n1", "The key is [secret 2].", (2, quoted), topic="key [secret 2]"))] * 2
    remote = ModelExtractor(model=reader.extractor.model, is_remote=True)
    found = await remote.extract(window)
    sent = orjson.dumps(reader.server.requests[-1].body).decode()
    assert KEY not in sent
    assert "hunter2" not in sent
    assert "ann@example.org" in sent
    assert json.loads(json.dumps(messages_in(reader.prompts[0])[3]))["text"] == "Where is [secret 2] used?"
    (one,) = found.atoms
    assert one.content == "The key is [secret 2]."
    assert one.evidence[0].quote == f"We decided: the new key is {KEY} from now on"
    assert one.evidence[0].quote == said[0][one.evidence[0].start : one.evidence[0].end]
    assert one.topic == f"key {KEY}", "the stored name"

    await ModelExtractor(model=reader.extractor.model, is_remote=True, mask_contacts=True).extract(window)
    assert "ann@example.org" not in orjson.dumps(reader.server.requests[-1].body).decode()


async def test_a_model_of_ones_own_is_shown_everything(reader: Reader) -> None:
    reader.server.chat_answers = an_atom_of_each
    found = await reader.read(window_of(f"The key is {KEY}."))
    assert KEY in orjson.dumps(reader.server.requests[-1].body).decode()
    assert found.atoms[0].content == f"The key is {KEY}."


async def test_before_each_request_it_is_asked_what_may_leave(reader: Reader) -> None:
    asked: list[Window] = []

    async def may_leave(window: Window) -> Window:
        asked.append(window)
        if len(asked) > 1:
            raise Transient("local-only")
        return replace(window, topics=())

    reader.server.chat_answers = ["no JSON"]
    extractor = ModelExtractor(model=reader.extractor.model, is_remote=True, may_leave=may_leave)
    with pytest.raises(Transient, match="local-only"):
        await extractor.extract(window_of(*SAID, context=["before"], topics=("a secret plan",)))
    assert [len(window.messages) for window in asked] == [4, 2]
    assert len(reader.prompts) == 1
    assert "a secret plan" not in reader.prompts[0]


async def test_a_long_message_is_cut_at_a_sentence_and_said_to_be(reader: Reader) -> None:
    text = "This sentence is one of many. " * 2000
    await reader.read(window_of(text, "short"))
    shown = messages_in(reader.prompts[0])
    assert shown[1]["cut"] is True
    assert "cut" not in shown[2]
    assert text.startswith(shown[1]["text"])
    assert 5000 < len(shown[1]["text"]) <= 12000
    assert shown[1]["text"].endswith("many.")


async def test_a_secret_at_the_end_of_what_is_looked_at_is_not_seen_in_half(reader: Reader) -> None:
    text = "-----BEGIN PRIVATE KEY-----" + "A" * 99_900 + "-----END PRIVATE KEY-----" + "password: " + "x" * 300
    await ModelExtractor(model=reader.extractor.model, is_remote=True).extract(window_of(text))
    assert "xx" not in messages_in(reader.prompts[0])[1]["text"]


async def test_any_language_is_taken_for_what_it_quotes(reader: Reader) -> None:
    reader.server.chat_answers = [answer(atom("n1", "決定しました", (2, DECIDED), title="決定"))]
    (one,) = (await reader.read()).atoms
    assert (one.title, len(one.evidence)) == ("決定", 1)


async def test_prices_are_added_up(openai_chat_server: OpenAIChatServer) -> None:
    openai_chat_server.chat_answers = ["no", GOOD, GOOD]
    model = language_model(openai_chat_server, "gpt-4o-mini")
    extractor = ModelExtractor(model=model, is_remote=False, price_usd=lambda taken, given: Decimal(taken + 2 * given))
    use = (await extractor.extract(window_of(*SAID))).use
    assert use.requests == 3
    assert use.cost_usd == use.input_tokens + 2 * use.output_tokens
    openai_chat_server.chat_answers = [GOOD]
    unknown = ModelExtractor(model=model, is_remote=False)
    assert (await unknown.extract(window_of(*SAID))).use.cost_usd is None
    await model.close()


async def test_the_version_is_that_of_prompt_and_schema(ollama_chat_server: OllamaChatServer) -> None:
    model = language_model(ollama_chat_server)
    extractor = ModelExtractor(model=model, is_remote=False)
    assert extractor.name == "ollama:qwen3:4b"
    assert extractor.version == prompt_version()
    assert extractor.version.startswith("v1-")
    assert len(extractor.version) == 11
    await model.close()


def test_the_prompt_names_every_type() -> None:
    words = system_prompt()
    assert not [one for one in AtomType if f"\n- {one.value}: " not in words]
    assert not [one for one in LinkType if one.value not in words]
