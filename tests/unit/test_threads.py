"""Each message is joined to what it answers, by what its source says first and by what is plain to see otherwise."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.threads import HORIZON_SECONDS, LOOK_BACK, Link, Linker, Said


def said(number: int, author: str, text: str, *, minute: float | None = None, **values: Any) -> Said:
    at = (number if minute is None else minute) * 60.0
    given: dict[str, Any] = {"id": number, "author": "", "name": author, "text": text, "at": at}
    return Said(**given | values)


def linked(*messages: Said) -> dict[int, Link]:
    linker = Linker()
    return {message.id: linker.link(message) for message in messages}


def test_a_reply_answers_what_its_source_says_whatever_else_speaks_against_it() -> None:
    links = linked(
        said(1, "ann", "The deploy fails on the second node", minute=0),
        said(2, "bob", "ann: which node?", minute=1),
        said(3, "cat", "bob: unrelated, lunch at noon?", minute=2, reply_to=1),
        said(4, "dan", "three weeks later", minute=30_000, reply_to=2),
    )
    assert (links[3].parent_id, links[3].reason) == (1, "reply")
    assert (links[4].parent_id, links[4].conversation_id) == (2, 1)


def test_a_reply_to_what_was_said_long_ago_joins_that_conversation() -> None:
    linker = Linker()
    linker.place(7, 3, "ann")
    link = linker.link(said(900, "bob", "yes", reply_to=7))
    assert (link.parent_id, link.conversation_id) == (7, 3)


def test_two_talks_at_once_are_taken_apart_by_the_names_at_their_beginnings() -> None:
    links = linked(
        said(1, "ann", "Does anybody know how to rotate the logs of the proxy?", minute=0),
        said(2, "cat", "How do I build the importer on Windows?", minute=0),
        said(3, "bob", "ann: there is a timer for that", minute=1),
        said(4, "dan", "cat: with the batch file in tools", minute=1),
        said(5, "ann", "bob: thanks, found it", minute=2),
        said(6, "cat", "@dan it says access denied", minute=2),
    )
    assert [links[number].conversation_id for number in range(1, 7)] == [1, 2, 1, 2, 1, 2]
    assert links[3].reason == "addressed"
    assert [links[number].parent_id for number in (1, 2)] == [None, None]


def test_russian_names_and_first_names_are_understood() -> None:
    links = linked(
        said(1, "Анна Петрова", "Кто-нибудь знает, почему упала сборка?", minute=0),
        said(2, "Борис Иванов", "Анна, на сервере кончилось место", minute=3),
        said(3, "Вера", "Всем привет! Где лежит протокол встречи?", minute=3),
        said(4, "Анна Петрова", "Борис Иванов, спасибо, почищу", minute=4),
    )
    assert [links[number].conversation_id for number in (1, 2, 3, 4)] == [1, 1, 3, 1]


def test_somebody_goes_on_with_what_he_was_saying() -> None:
    links = linked(said(1, "ann", "The import stops", minute=0), said(2, "ann", "after ten files", minute=0))
    assert (links[2].parent_id, links[2].reason) == (1, "same author")


def test_rare_words_bring_a_late_answer_to_its_question() -> None:
    links = linked(
        said(0, "dan", "the printer is out of paper"),
        said(1, "ann", "Which certificate does the gateway want?"),
        said(2, "bob", "cat: did you move the meeting?"),
        said(3, "cat", "bob: yes, to three"),
        said(4, "bob", "cat: thanks"),
        said(9, "dan", "the gateway certificate is the one of the staging authority"),
    )
    assert (links[9].parent_id, links[9].reason) == (1, "after a question")


def test_a_vote_is_on_what_another_one_has_said_and_on_no_vote() -> None:
    links = linked(
        said(1, "ann", "PROPOSAL: we drop the old format", minute=0),
        said(2, "bob", "+1", minute=0),
        said(3, "cat", "agreed", minute=1),
        said(4, "dan", "👎", minute=1),
        said(5, "ann", "+1", minute=1),
        said(6, "eve", "-1", reply_to=2, minute=2),
    )
    assert [(links[n].parent_id, links[n].vote) for n in (2, 3, 4)] == [(1, 1), (1, 1), (1, -1)]
    assert links[5].vote == 0, "nobody votes for himself"
    assert (links[6].parent_id, links[6].vote) == (2, -1), "what the source says is believed"


def test_people_vote_for_their_own_proposals_and_the_others_follow_them() -> None:
    links = linked(
        said(1, "ann", "bob: what did the auditors say about the format?", minute=0),
        said(2, "bob", "ann: they can live with the new one", minute=1),
        said(3, "cat", "we drop the old format in May", minute=2),
        said(4, "cat", "+1", minute=2),
        said(5, "ann", "+1", minute=3),
        said(6, "bob", "ok!", minute=3),
        said(7, "bob", "+1", minute=3),
    )
    assert [(links[n].parent_id, links[n].vote) for n in (4, 5, 7)] == [(3, 0), (3, 1), (3, 1)]
    assert {links[n].conversation_id for n in (3, 4, 5, 7)} == {3}


def test_a_vote_long_after_everything_is_on_nothing() -> None:
    links = linked(said(1, "ann", "we drop the old format in May", minute=0), said(2, "bob", "+1", minute=90))
    assert (links[2].parent_id, links[2].vote) == (None, 0)


def test_a_thread_of_the_source_is_one_conversation_and_a_topic_holds_many() -> None:
    links = linked(
        said(1, "ann", "Release on Friday?", minute=0),
        said(2, "cat", "Who has the keys of the printer room?", minute=0),
        said(3, "bob", "fine", thread="1", root=1, minute=60),
        said(4, "cat", "what about the notes?", thread="1", root=1, minute=500),
        said(5, "dan", "hello, does anybody use the new editor?", thread="topic", minute=501),
        said(6, "eve", "dan: I do, since yesterday", thread="topic", minute=502),
        said(7, "fay", "hi, where is the style guide kept these days?", thread="topic", minute=530),
    )
    assert [links[number].conversation_id for number in range(1, 8)] == [1, 2, 1, 1, 5, 5, 7]
    assert links[4].parent_id == 3


def test_the_pictures_of_one_sending_are_one_conversation() -> None:
    links = linked(
        said(1, "ann", "three views of the rack", album="a", minute=0),
        said(2, "bob", "when do we meet?", minute=0),
        said(3, "ann", "", album="a", minute=0),
        said(4, "cat", "", album="a", minute=0),
    )
    assert links[3].conversation_id == 1
    assert links[4].reason != "same album"


def test_what_nobody_said_answers_nothing_and_nothing_answers_it() -> None:
    links = linked(
        said(1, "ann", "how do I join?", minute=0),
        said(2, "bob", "bob joined the group", service=True, minute=0),
        said(3, "bob", "ann: by the link in the topic", minute=1),
    )
    assert (links[2].parent_id, links[2].conversation_id) == (None, 2)
    assert links[3].parent_id == 1


def test_the_day_after_only_the_source_can_tell() -> None:
    later = HORIZON_SECONDS / 60 + 1
    links = linked(said(1, "ann", "bob: ready?", minute=0), said(2, "bob", "ann: yes", minute=later))
    assert links[2].parent_id is None


def test_what_is_remembered_is_bounded() -> None:
    linker = Linker()
    for number in range(5 * LOOK_BACK):
        linker.link(said(number, f"author {number}", f"word{number} speaks of word{number}"))
    memory = linker._memories[None]
    assert len(memory.messages) == len(memory.by) == LOOK_BACK
    assert len(memory.with_word) <= 3 * LOOK_BACK
    assert len(memory.names) <= 3 * LOOK_BACK


texts = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "Анна П", ""]),
        st.one_of(st.sampled_from(["bob: yes", "+1", "ann, how?", "hi all", "", "!x"]), st.text(max_size=80)),
        st.integers(0, 5000),
    ),
    max_size=30,
)


@given(texts)
def test_every_link_leads_backwards_and_into_its_own_conversation(
    talk: list[tuple[str, str, int]],
) -> None:
    linker, links = Linker(), {}
    minute = 0
    for number, (author, text, pause) in enumerate(talk):
        minute += pause
        links[number] = link = linker.link(said(number, author, text, minute=minute))
        assert link.message_id == number
        if link.parent_id is None:
            assert (link.conversation_id, link.vote) == (number, 0)
        else:
            assert link.parent_id < number
            assert link.conversation_id == links[link.parent_id].conversation_id
