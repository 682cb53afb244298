"""What people say becomes the atoms, links and topics that a reader would note down, and no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from winnow.domain.knowledge import AtomType, ExtractedAtom, Extraction, LinkType, Window, WindowMessage
from winnow.domain.rules import extract_by_rules

START = datetime(2025, 3, 3, 9, tzinfo=UTC)


def extract(talk: str, topic: str | None = None) -> Extraction:
    """Reads `author| text` lines, a minute apart; ids count from 0."""
    messages = []
    for number, line in enumerate(filter(str.strip, talk.splitlines())):
        author, text = line.strip().split("| ", 1)
        sent_at = START + timedelta(minutes=number)
        messages.append(WindowMessage(id=number, author=author, text=text, sent_at=sent_at, importance=0.5))
    return extract_by_rules(Window(channel="c", messages=tuple(messages), topic=topic))


def only(found: Extraction, kind: AtomType) -> ExtractedAtom:
    (atom,) = [atom for atom in found.atoms if atom.type is kind]
    return atom


def shown(found: Extraction) -> list[ExtractedAtom]:
    """Those that are sure enough not to be hidden."""
    return [atom for atom in found.atoms if atom.confidence >= 0.5]


def quoted(atom: ExtractedAtom) -> list[int]:
    return [evidence.message_id for evidence in atom.evidence]


SAID = [
    (AtomType.DECISION, "We agreed to move the release to Thursday."),
    (AtomType.DECISION, "Seems like we have consensus on using plain string comparison in the tests"),
    (AtomType.DECISION, "Let's go with the second design for the import screen"),
    (AtomType.DECISION, "ok, then no change, let's just close the issue about the header"),
    (AtomType.DECISION, "So we'll keep the old format until the autumn release"),
    (AtomType.DECISION, "Решили переносить релиз на четверг"),
    (AtomType.DECISION, "Let's use pgbackrest for backups."),
    (AtomType.DECISION, "Давайте использовать pgbackrest для бэкапов."),
    (AtomType.DECISION, "agreed, release 2.4 moves to November 19"),
    (AtomType.DECISION, "Договорились, релиз 2.4 переносим на 19 ноября"),
    (AtomType.DECISION, "We changed our mind: the request timeout is now 60 seconds, not 30."),
    (AtomType.DECISION, "Мы передумали: таймаут шлюза теперь 60 секунд, а не 30."),
    (AtomType.REQUIREMENT, "We must encrypt all backups, the auditors ask for it."),
    (AtomType.REQUIREMENT, "Мы обязаны шифровать все бэкапы, этого требуют аудиторы."),
    (AtomType.ACTION, "I'll write the release notes tonight"),
    (AtomType.ACTION, "I\u2019ll send an email to the list about the outage"),
    (AtomType.ACTION, "ann to update the main section of the manual"),
    (AtomType.ACTION, "could you create an issue for the broken header?"),
    (AtomType.ACTION, "we still need to send the official response"),
    (AtomType.ACTION, "Я проверю логи авторизации сегодня вечером"),
    (AtomType.QUESTION, "Does the importer preserve the order of the rows?"),
    (AtomType.QUESTION, "What is the base of a relative link in this case?"),
    (AtomType.QUESTION, "Какая версия клиента стоит на проде?"),
    (AtomType.PROBLEM, "The staging deploy fails with a timeout on the migration step."),
    (AtomType.PROBLEM, "the upload page doesn't work in the new browser"),
    (AtomType.PROBLEM, "The issue is that a relative link becomes a name after expansion"),
    (AtomType.PROBLEM, "I'm concerned that this will hurt newcomers more than it helps"),
    (AtomType.PROBLEM, "После обновления не работает вход через почту"),
    (AtomType.BLOCKER, "We can't publish the app until the new certificate is approved"),
    (AtomType.RISK, "the danger is that a document is read as a context without any error"),
    (AtomType.RISK, "this change could break the nightly import of invoices"),
    (AtomType.SOLUTION, "I fixed it by raising the pool size to twenty"),
    (AtomType.SOLUTION, "the easiest workaround is to restart the worker each night"),
    (AtomType.REQUIREMENT, "The export must support both file formats"),
    (AtomType.REQUIREMENT, "The parser needs to be able to handle empty rows"),
    (AtomType.INSIGHT, "It turned out that the cache was never emptied after a rename"),
    (AtomType.IDEA, "How about we cache the exchange rates for an hour?"),
    (AtomType.IDEA, "I suggest that we not support the old keyword right now"),
    (AtomType.DECISION, "Closing this in favour of the older ticket about headers"),
    (AtomType.DECISION, "Утвердили новый макет главной страницы"),
    (AtomType.DECISION, "Будем использовать одну базу вместо трёх"),
    (AtomType.PROBLEM, "The worker freezes when two imports run at once"),
    (AtomType.PROBLEM, "I have the same issue on the staging server since Monday"),
    (AtomType.PROBLEM, "У меня тормозит страница со списком заказов"),
    (AtomType.BLOCKER, "Ждём ответа от банка, без этого не запустимся"),
    (AtomType.RISK, "Есть риск, что мы не успеем к пятнице"),
    (AtomType.SOLUTION, "I got around this by raising the memory of the worker"),
    (AtomType.SOLUTION, "Достаточно просто перезапустить воркер на сервере"),
    (AtomType.REQUIREMENT, "The filter should be able to sort rows by date"),
    (AtomType.REQUIREMENT, "Экспорт отчёта должен работать без интернета"),
    (AtomType.INSIGHT, "The delay is caused by the lock on the audit table"),
    (AtomType.INSIGHT, "Причина в том, что кэш отчётов не сбрасывался"),
    (AtomType.PATTERN, "Every time we deploy, the report page shows stale figures"),
    (AtomType.PATTERN, "Каждый раз после обновления базы слетают права доступа"),
    (AtomType.IDEA, "Есть идея вынести отправку писем в отдельный сервис"),
    (AtomType.ACTION, "I'm working on the new import screen this week"),
    (AtomType.ACTION, "Беру на себя переезд почты на новый сервер"),
    (AtomType.QUESTION, "Кто-нибудь знает, где лежит шаблон договора?"),
]


@pytest.mark.parametrize(("kind", "text"), SAID)
def test_what_is_said_plainly_is_found(kind: AtomType, text: str) -> None:
    (atom,) = extract(f"ann| {text}").atoms
    assert atom.type is kind
    assert 0.4 <= atom.confidence < 0.95


SILENT = [
    "Let's move on to the next item",
    "let's discuss this on the mailing list",
    "let's talk to the bank about invoices",
    "agreed, that is a nice idea for later",
    "I thought we agreed to drop that last week?",
    "we haven't decided on the format yet",
    "If we decided to drop the parser, it would save us time",
    "we need to decide on a name first",
    "can you hear me?",
    "any other comments on this one?",
    "how are you today everyone?",
    "who wants to scribe this week?",
    "really?",
    "no problem at all, that is not a bug",
    "I don't see a problem with the second option",
    "that does not work",
    "+1 I suggest we also keep the old keyword",
    "the author stopped working on the parser last year",
    "I'll be late for the call tomorrow",
    "+1",
    "Added bob to the speaker queue: bob",
    "q+",
    "https://example.org/issues/31",
    "thanks, see you all next week!",
    "давайте обсудим это позже",
]


@pytest.mark.parametrize("text", SILENT)
def test_small_talk_housekeeping_and_hedges_are_left_alone(text: str) -> None:
    assert extract(f"ann| {text}").atoms == ()


@pytest.mark.parametrize(
    ("text", "kind", "title"),
    [
        ("RESOLVED: Keep the format.", AtomType.DECISION, "Keep the format"),
        ("RESOLUTION: Keep the format.", AtomType.DECISION, "Keep the format"),
        ("#agreed keep the format", AtomType.DECISION, "Keep the format"),
        ("ACTION: bob to write the guide", AtomType.ACTION, "Bob to write the guide"),
        ("OK, decided: keep the format", AtomType.DECISION, "Keep the format"),
        ("Ok so decided: keep the format", AtomType.DECISION, "Keep the format"),
        ("Итак, решили: переходим на новый протокол", AtomType.DECISION, "Переходим на новый протокол"),
        ("TODO: rotate the keys", AtomType.ACTION, "Rotate the keys"),
        ("... ACTION: rotate the keys", AtomType.ACTION, "Rotate the keys"),
        ("bob: action: rotate the keys", AtomType.ACTION, "Rotate the keys"),
        ("РЕШЕНО: переходим на новый протокол", AtomType.DECISION, "Переходим на новый протокол"),
    ],
)
def test_an_explicit_mark_is_nearly_sure(text: str, kind: AtomType, title: str) -> None:
    (atom,) = extract(f"ann| {text}").atoms
    assert (atom.type, atom.title, atom.confidence) == (kind, title, 0.95)


def test_a_resolved_proposal_is_one_decision_quoting_both() -> None:
    found = extract("""
        ann| PROPOSAL: Drop support for the old row format.
        bob| +1
        carol| +1
        ann| RESOLVED: Drop support for the old row format.
    """)
    (atom,) = found.atoms
    assert atom.type is AtomType.DECISION
    assert atom.confidence == 0.95
    assert quoted(atom) == [0, 3]


def test_a_bare_resolved_takes_the_proposals_words() -> None:
    (atom,) = extract("ann| PROPOSAL: Drop the old row format.\nann| RESOLVED: accepted").atoms
    assert (atom.title, quoted(atom)) == ("Drop the old row format", [0, 1])


def test_a_proposal_most_people_vote_for_is_a_decision() -> None:
    found = extract("""
        ann| PROPOSAL: Drop support for the old row format.
        bob| +1
        carol| carol: +1
        dan| +0.5 though it hurts a bit
        eve| -0.1
    """)
    assert 0.7 <= only(found, AtomType.DECISION).confidence < 0.95


@pytest.mark.parametrize("votes", ["bob| -1\ncarol| -1", "bob| +1\ncarol| -1", "bob| hm"])
def test_a_proposal_without_a_majority_stays_an_idea(votes: str) -> None:
    (atom,) = extract(f"ann| PROPOSAL: Drop support for the old row format.\n{votes}").atoms
    assert atom.type is AtomType.IDEA


def test_a_reworded_proposal_replaces_the_one_before() -> None:
    found = extract("""
        ann| PROPOSAL: Drop support for the old row format.
        bob| hm, say when
        ann| PROPOSAL: Drop support for the old row format in May.
        bob| +1
        carol| +1
    """)
    assert [atom.title for atom in found.atoms] == ["Drop support for the old row format in May"]


def test_a_suggestion_that_others_take_up_is_a_decision() -> None:
    found = extract("""
        ann| How about we cache the rates for an hour?
        bob| sounds good
        carol| +1
    """)
    atom = only(found, AtomType.DECISION)
    assert atom.title == "Cache the rates for an hour"
    assert quoted(atom) == [0, 1, 2]


def test_lets_do_that_tells_what() -> None:
    found = extract("""
        ann| I would choose the shorter name because people know it
        bob| ok, let's do that
    """)
    atom = only(found, AtomType.DECISION)
    assert "shorter name" in atom.title
    assert quoted(atom) == [0, 1]


def test_dissent_takes_confidence_away() -> None:
    assert shown(extract("ann| Let's drop the old parser from the tree\nbob| -1")) == []


def test_a_request_that_is_taken_is_the_takers_action() -> None:
    found = extract("""
        ann| can you update the change log by Wednesday?
        bob| sure, I'll do that
    """)
    atom = only(found, AtomType.ACTION)
    assert atom.title == "bob to update the change log by Wednesday"
    assert quoted(atom) == [0, 1]


def test_a_promise_names_who_gave_it() -> None:
    assert only(extract("ann| ok, I'll write that section"), AtomType.ACTION).title == "ann will write that section"


def test_the_scribe_is_not_the_speaker() -> None:
    found = extract("""
        ann| scribe: ann
        ann| bob: the report is late again this month
        ann| ... I'll send it to the list tonight
    """)
    assert only(found, AtomType.ACTION).title == "bob will send it to the list tonight"


def test_outside_of_minutes_a_name_in_front_is_who_is_meant() -> None:
    found = extract("""
        bob| morning everyone
        ann| bob: can you check the nightly report?
    """)
    assert only(found, AtomType.ACTION).title == "bob to check the nightly report"


def test_continued_lines_are_one_statement() -> None:
    found = extract("""
        ann| scribe: ann
        ann| bob: The export must support both formats
        ann| ... because the bank reads only one of them
    """)
    atom = only(found, AtomType.REQUIREMENT)
    assert atom.content == "The export must support both formats because the bank reads only one of them"
    assert quoted(atom) == [1, 2]


def test_an_answer_is_linked_to_its_question() -> None:
    found = extract("""
        ann| Does the importer preserve the order of the rows?
        bob| yes, it keeps the rows in the order of the file
    """)
    (link,) = found.links
    assert link.type is LinkType.ANSWERS
    assert found.atoms[link.source].type is AtomType.ANSWER
    assert found.atoms[link.target].type is AtomType.QUESTION


def test_in_a_busy_channel_the_addressed_line_answers() -> None:
    found = extract("""
        ann| How do I mount the second disk at start?
        eve| my sound card is silent today, sadly
        bob| eve: raise the volume in the mixer first
        carol| ann: put a line for the disk into fstab
    """)
    assert quoted(only(found, AtomType.ANSWER)) == [3]


def test_a_fix_is_linked_to_its_problem() -> None:
    found = extract("""
        ann| The staging deploy fails with a timeout on the migration step.
        bob| looking into it now
        bob| I fixed it by raising the pool size to twenty
    """)
    (link,) = found.links
    assert link.type is LinkType.SOLVES
    assert found.atoms[link.source].type is AtomType.SOLUTION
    assert found.atoms[link.target].type is AtomType.PROBLEM


@pytest.mark.parametrize(
    ("talk", "kind"),
    [
        ("ann| What is the request timeout of the gateway?\nbob| It is 30 seconds, see gateway.yaml", LinkType.ANSWERS),
        ("ann| Какой таймаут запросов стоит на шлюзе?\nbob| 30 секунд, смотри gateway.yaml", LinkType.ANSWERS),
        ("ann| The nightly import fails again.\nbob| fixed in PR #482", LinkType.SOLVES),
        ("ann| The nightly import fails with a timeout.\nbob| The import works again, disk full", LinkType.SOLVES),
        ("ann| Ночной импорт падает с таймаутом.\nbob| импорт снова работает, диск был полон", LinkType.SOLVES),
    ],
)
def test_a_plain_value_answers_and_a_recovery_solves(talk: str, kind: LinkType) -> None:
    assert [link.type for link in extract(talk).links] == [kind]


def test_advice_to_the_one_with_the_problem_solves_it() -> None:
    found = extract("""
        ann| my network card doesn't work after the upgrade
        bob| ann: install the older firmware package and restart
        ann| that worked, thanks
    """)
    atom = only(found, AtomType.SOLUTION)
    unconfirmed = extract("""
        ann| my network card doesn't work after the upgrade
        bob| ann: install the older firmware package and restart
        ann| I will see tonight
    """)
    assert atom.confidence > only(unconfirmed, AtomType.SOLUTION).confidence
    assert len(found.links) == 1


def test_the_same_words_twice_are_one_atom_with_two_quotes() -> None:
    found = extract("""
        ann| The export must support both file formats
        bob| hm
        carol| the export must support both file formats!
    """)
    assert quoted(only(found, AtomType.REQUIREMENT)) == [0, 2]


def test_marks_name_the_topics_of_what_follows() -> None:
    found = extract(
        """
        ann| We agreed to move the release to Thursday.
        ann| Topic: ISSUE-31: Merge the two keywords
        bob| We agreed to keep the two keywords apart.
        """,
        topic="Release plan",
    )
    assert dict(found.message_topics) == {
        0: "Release plan",
        1: "ISSUE-31: Merge the two keywords",
        2: "ISSUE-31: Merge the two keywords",
    }
    assert [atom.topic for atom in found.atoms] == ["Release plan", "ISSUE-31: Merge the two keywords"]


def test_without_marks_the_phrase_people_return_to_is_the_topic() -> None:
    found = extract("""
        ann| the pool size is too small again
        bob| which pool size do you mean
        ann| the pool size of the staging database
        bob| ah, twenty would do
    """)
    assert set(found.message_topics.values()) == {"Pool size"}


def test_no_topic_is_better_than_a_silly_one() -> None:
    assert not extract("ann| hello bob\nbob| hello ann\nann| nice weather\nbob| indeed, bob likes it").message_topics


def test_a_window_yields_no_more_atoms_than_a_reader_would_note() -> None:
    talk = "\n".join(f"ann| Does part number {n} of the importer read column {n}?" for n in range(60))
    assert 1 <= len(extract(talk).atoms) <= 25
