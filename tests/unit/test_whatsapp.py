"""An export of WhatsApp gives the same messages however the phone that wrote it spells dates, times and notices."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.sources.base import Skipped, Tally
from winnow.sources.whatsapp import DELETED, NOTICE, read_whatsapp, title_in

FIXTURES = Path(__file__).parents[1] / "fixtures" / "whatsapp"
NEW_YEAR = "31/12/2019, 23:59 - "
EXPORTS = sorted(path for path in FIXTURES.glob("*.txt") if path.stem != "signal")

Chat = list[tuple[str, list[str], int]]
Result = tuple[list[IncomingMessage], list[Skipped], Tally]


def read(path: Path, **how: object) -> Result:
    reading = read_whatsapp(path, **how)  # type: ignore[arg-type]
    items = list(reading)
    assert reading.tally.balanced
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    return messages, [item for item in items if isinstance(item, Skipped)], reading.tally


def read_text(folder: Path, text: str | bytes, **how: object) -> Result:
    path = folder / "chat.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, **how)


@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.stem)
def test_one_chat_in_five_forms_is_one_chat(path: Path) -> None:
    messages, skipped, tally = read(path)
    assert [(one.sent_at.isoformat()[:16], one.author, one.text) for one in messages] == [
        ("2019-01-01T11:25", "John Doe", "Lorem ipsum dolor sit amet."),
        ("2019-01-20T11:23", "John Doe", "."),
        ("2019-01-30T20:49", "Jahn Doe", "Lorem ipsum dolor sit amet,\nconsectetur adipiscing elit. Duis libero."),
        ("2020-06-10T15:55", "John-John Doe", "Lorem ipsum : dolor sit amet."),
        ("2021-12-10T10:10", "John Doe 🤓", "Lorem ipsum 🤓"),
        ("2021-12-20T12:10", "🤓", "Lorem ipsum 🤓"),
        ("2021-12-30T22:01", "John Doe", "Lorem ipsum dolor sit amet,\nconsectetur adipiscing elit. Duis libero."),
    ]
    assert [told.reason for told in skipped] == [NOTICE, NOTICE]
    assert tally.continued == 2
    assert len({one.external_id for one in messages}) == 7


def test_the_identity_does_not_depend_on_the_form() -> None:
    ids = {tuple(one.external_id for one in read(path)[0]) for path in EXPORTS}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        ("31/12/2019, 23:59 - ", "2019-12-31T23:59"),
        ("[31.12.19, 11:59:59 PM] ", "2019-12-31T23:59:59"),
        ("12/31/19, 11:59 PM - ", "2019-12-31T23:59"),
        ("12/31/19, 11:59\u202fPM - ", "2019-12-31T23:59"),
        ("31/12/19, 11:59\u00a0pm - ", "2019-12-31T23:59"),
        ("31/12/19, 11:59 p.\u00a0m. - ", "2019-12-31T23:59"),
        ("31/12/2019 23:59 - ", "2019-12-31T23:59"),
        ("31.12.19, 23.59 - ", "2019-12-31T23:59"),
        ("31-12-19 23:59 - ", "2019-12-31T23:59"),
        ("2019-12-31, 23:59 - ", "2019-12-31T23:59"),
        ("[2019-12-31, 23:59:59] ", "2019-12-31T23:59:59"),
        ("\u200e[31/12/2019, 23:59:59] ", "2019-12-31T23:59:59"),
        ("\u200f31\u200f/12\u200f/2019, 23:59 - ", "2019-12-31T23:59"),
        ("31/12/2019 à 23:59 - ", "2019-12-31T23:59"),
        ("31.12.19 um 23:59 Uhr - ", "2019-12-31T23:59"),
        ("31/12/19 11:59:59 PM: ", "2019-12-31T23:59:59"),
        ("2019. 12. 31. 오후 11:59 - ", "2019-12-31T23:59"),
        ("2019/12/31 下午11:59 - ", "2019-12-31T23:59"),
        ("2019年12月31日 午後11:59 - ", "2019-12-31T23:59"),
        ("٣١/١٢/٢٠١٩، ١١:٥٩ م - ", "2019-12-31T23:59"),
        ("31.12.2019, 11:59 μ.μ. - ", "2019-12-31T23:59"),
        ("31/12/2019 ÖS 11:59 - ", "2019-12-31T23:59"),
        ("31.12.19, 12:05 AM - ", "2019-12-31T00:05"),
        ("31.12.19, 0:05 PM - ", "2019-12-31T12:05"),
        ("31.12.19, 12:05 nachm. - ", "2019-12-31T12:05"),
    ],
)
def test_every_way_to_write_a_time_is_read(tmp_path: Path, stamp: str, moment: str) -> None:
    (message,), skipped, _ = read_text(tmp_path, f"{stamp}Ana B: 10:30 suits me: yes\n")
    assert (message.author, message.text) == ("Ana B", "10:30 suits me: yes")
    assert message.sent_at == dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)
    assert skipped == []


@pytest.mark.parametrize(
    ("dates", "order", "why"),
    [
        (["01/02/20", "13/02/20"], "day/month/year", "would not exist"),
        (["01/02/20", "02/13/20"], "month/day/year", "would not exist"),
        (["30/01/20", "01/02/20"], "day/month/year", "would not exist"),
        (["09/12/19", "10/01/20", "11/02/20"], "day/month/year", "closest together"),
        (["10/01/20", "09/02/20"], "day/month/year", "backwards"),
        (["01/10/20", "02/09/20"], "month/day/year", "backwards"),
        (["01/02/20", "02/02/20", "03/02/20"], "day/month/year", "closest together"),
        (["02/01/20", "02/02/20", "02/03/20"], "month/day/year", "closest together"),
        (["05/06/20"], "day/month/year", "a guess, because nothing"),
        (["19/12/30", "19/12/31", "20/01/01"], "year/month/day", "backwards"),
        (["20/01/13", "20/02/13"], "day/month/year", "would not exist"),
    ],
)
def test_what_is_day_and_what_is_month_is_decided_from_the_whole_file_and_said(
    tmp_path: Path, dates: list[str], order: str, why: str
) -> None:
    text = "".join(f"{date}, 10:00 - Ana: x\n" * 3 for date in dates)
    _, _, tally = read_text(tmp_path, text)
    assert tally.notes[0].startswith(f"dates as {dates[0]} were read as {order}, ")
    assert why in tally.notes[0]


def test_what_only_americans_write_is_read_as_they_do(tmp_path: Path) -> None:
    (message,), _, _ = read_text(tmp_path, "1/2/20, 9:05 PM - Ana: x")
    assert message.sent_at.isoformat() == "2020-01-02T21:05:00+00:00"
    (message,), _, _ = read_text(tmp_path, "1/2/20, 9:05 pm - Ana: x")
    assert message.sent_at.isoformat() == "2020-02-01T21:05:00+00:00"


@pytest.mark.parametrize(
    "line",
    [
        "Messages and calls are end-to-end encrypted. No one outside of this chat can read them.",
        "Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt. Tippe, um mehr zu erfahren.",
        "Сообщения и звонки защищены сквозным шифрованием.",
        "Los mensajes y las llamadas están cifrados de extremo a extremo.",
        "Ana created group “Team: old”",
        'Ana changed the subject from "Team: old" to "Team: new"',
        "Ana hat „Bo: der Große\u201c hinzugefügt",
        "+12 345 678 joined using this group's invite link",
        "You deleted this message",
    ],
)
def test_what_nobody_said_is_counted(tmp_path: Path, line: str) -> None:
    messages, skipped, _ = read_text(
        tmp_path, f"31/12/2019, 23:59 - {line}\nits second line\n31/12/2019, 23:59 - Bo: x"
    )
    assert [one.text for one in messages] == ["x"]
    assert [(told.reason, told.kind) for told in skipped] == [(NOTICE, "noise"), (NOTICE, "noise")]


@pytest.mark.parametrize(
    "text",
    ["This message was deleted", "\u200eDu hast diese Nachricht gelöscht.", "Se eliminó este mensaje.",
     "Данное сообщение удалено", "This message was deleted by admin Ana B."],
)  # fmt: skip
def test_what_was_deleted_is_counted(tmp_path: Path, text: str) -> None:
    messages, skipped, _ = read_text(tmp_path, f"31/12/2019, 23:59 - Ana: {text}")
    assert (messages, [told.reason for told in skipped]) == ([], [DELETED])


@pytest.mark.parametrize(
    ("said", "text", "details"),
    [
        ("<Media omitted>", "", {"media": "file"}),
        ("<Medien ausgeschlossen>", "", {"media": "file"}),
        ("<Без медиафайлов>", "", {"media": "file"}),
        ("<Multimedia omitido>", "", {"media": "file"}),
        ("<Média vynechány>", "", {"media": "file"}),
        ("\u200eimage omitted", "", {"media": "photo"}),
        ("\u200eBild weggelassen", "", {"media": "photo"}),
        ("\u200esticker omitido", "", {"media": "sticker"}),
        ("plan of 2020.pdf • \u200e12 pages \u200edocument omitted", "plan of 2020.pdf", {"media": "document"}),
        ("\u200e<attached: 00000012-PHOTO-2019-12-31-23-59-59.jpg>", "", {"media": "photo"}),
        ("\u200e<Anhang: 00000013-AUDIO-2019-12-31-23-59-59.opus>", "", {"media": "voice"}),
        ("IMG-20191231-WA0002.jpg (file attached)\nthe roof", "the roof", {"media": "photo"}),
        ("PTT-20191231-WA0002.opus (Datei angehängt)", "", {"media": "voice"}),
        ("\u200ereport.pdf (файл добавлен)\nread it", "report.pdf\nread it", {"media": "document"}),
        ("see report.pdf (the new one)", "see report.pdf (the new one)", {}),
        ("POLL:\nWhich day?\n\u200eOPTION: Mon (2 votes)", "Which day?\nOPTION: Mon (2 votes)", {"media": "poll"}),
        ("it works \u200e<This message was edited>", "it works", {"edited": True}),
        ("es geht <Diese Nachricht wurde bearbeitet.>", "es geht", {"edited": True}),
        ("one\ntwo \u200e<Se editó este mensaje.>", "one\ntwo", {"edited": True}),
        ("use Vec<String>", "use Vec<String>", {}),
        ("<b>", "<b>", {}),
        ("I said image omitted yesterday", "I said image omitted yesterday", {}),
        ("", "", {}),
    ],
)  # fmt: skip
def test_what_whatsapp_put_into_a_message_is_taken_out(
    tmp_path: Path, said: str, text: str, details: dict[str, object]
) -> None:
    (message,), _, _ = read_text(tmp_path, f"31/12/2019, 23:59 - Ana: {said}\n")
    assert (message.text, message.details) == (text, details)


def test_what_an_iphone_says_in_somebody_s_name_is_marked(tmp_path: Path) -> None:
    messages, _, _ = read_text(
        tmp_path, "[31.12.19, 23:59:59] Team: \u200eAna added you\n[31.12.19, 23:59:59] ~\u202fBo: hi\n"
    )
    assert [(one.author, one.text, one.details) for one in messages] == [
        ("Team", "Ana added you", {"service": "notice"}),
        ("Bo", "hi", {}),
    ]


def test_phone_numbers_are_names(tmp_path: Path) -> None:
    (message,), _, _ = read_text(tmp_path, "31/12/2019, 23:59 - \u202a+49 170 1234567\u202c: hi")
    assert message.author == "+49 170 1234567"


def test_lines_of_another_form_belong_to_the_message(tmp_path: Path) -> None:
    text = "31/12/2019, 23:59 - Ana: look:\n[31.12.19, 11:59:59 PM] Bo: pasted\n31/12/2019, 23:59 - Ana: so\n"
    messages, _, _ = read_text(tmp_path, text)
    assert [one.text for one in messages] == ["look:\n[31.12.19, 11:59:59 PM] Bo: pasted", "so"]


def test_blank_lines_are_part_of_a_message_but_not_its_end(tmp_path: Path) -> None:
    messages, _, tally = read_text(tmp_path, "31/12/2019, 23:59 - Ana: one\n\ntwo\n\n31/12/2019, 23:59 - Bo: x\n\n\n")
    assert [one.text for one in messages] == ["one\n\ntwo", "x"]
    assert tally.continued == 5


def test_the_hour_that_comes_twice_is_told_apart_and_the_one_that_never_was_is_said(tmp_path: Path) -> None:
    zone = ZoneInfo("Europe/Berlin")
    lines = ["27/10/2019, 02:50 - Ana: a", "27/10/2019, 02:10 - Ana: b", "27/10/2019, 02:20 - Ana: c",
             "29/03/2020, 02:30 - Ana: d"]  # fmt: skip
    messages, _, tally = read_text(tmp_path, "\n".join(lines), timezone=zone)
    assert [one.sent_at.astimezone(dt.UTC).isoformat()[5:16] for one in messages] == [
        "10-27T00:50", "10-27T01:10", "10-27T01:20", "03-29T01:30",
    ]  # fmt: skip
    assert "its times name no zone and were read as Europe/Berlin (--timezone reads them as another)" in tally.notes
    assert any(note.startswith("1 of its times the clock of Europe/Berlin skipped") for note in tally.notes)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("WhatsApp Chat with The Team.txt", "The Team"),
        ("WhatsApp-Chat mit Das Team (2).txt", "Das Team"),
        ("Chat de WhatsApp con El equipo.txt", "El equipo"),
        ("Чат WhatsApp с контактом Команда.txt", "Команда"),
        ("WhatsApp Chat - Team/_chat.txt", "Team"),
        ("backup/_chat.txt", None),
    ],
)
def test_the_file_or_its_folder_may_name_the_chat(name: str, title: str | None) -> None:
    assert title_in(Path("/x") / name) == title


def test_a_time_that_there_is_not_is_told_and_so_is_what_is_below_it(tmp_path: Path) -> None:
    text = (
        "rest of a cut message\n13/12/2019, 10:00 - Ana: one\n30/02/2019, 10:00 - Ana: never\nnor this\n"
        "13/12/2019, 25:00 - Ana: nor that\n13/12/2019, 10:00 xyz - Ana: nor\n14/12/2019, 10:00 - Ana: two\n"
    )
    messages, skipped, _ = read_text(tmp_path, text)
    assert [one.text for one in messages] == ["one", "two"]
    assert [(told.line, told.kind) for told in skipped] == [(number, "broken") for number in (1, 3, 4, 5, 6)]


def test_a_message_of_megabytes_and_a_year_that_is_none_are_told(tmp_path: Path) -> None:
    text = (
        "13/12/2019, 10:00 - Ana: one\n13/12/2019, 10:00 - Bo: " + "x" * 5_000_000 + "\n"
        "13/12/3019, 10:00 - Ana: late\n13/12/2019, 10:01 - Ana: two\n"
        + "word\n" * 30_000
        + "13/12/2019, 10:02 - Ana: z\n"
    )
    messages, skipped, _ = read_text(tmp_path, text)
    assert [one.text[:3] for one in messages] == ["one", "two", "z"]
    assert 99_990 < len(messages[1].text) <= 100_000
    assert "5,000,000 characters" in skipped[0].reason
    assert "3019" in skipped[1].reason
    assert all(told.is_error for told in skipped)


def test_a_hundred_thousand_messages_of_one_author_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    with path.open("w") as file:
        for number in range(100_000):
            file.write(f"{1 + number // 4000:02}/12/2019, 10:{number % 60:02} - Ana: the message {number % 50_000}\n")
    reading = read_whatsapp(path)
    ids = {item.external_id for item in reading if isinstance(item, IncomingMessage)}
    assert len(ids) == 100_000
    del ids
    tracemalloc.start()
    assert sum(1 for _ in zip(read_whatsapp(path), range(20_000), strict=False)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


FORMS = {
    "{0:%d}/{0:%m}/{0:%Y}, {0:%H}:{0:%M} - ": "minutes",
    "{0:%m}/{0:%d}/{0:%Y}, {0:%I}:{0:%M}\u202f{0:%p} - ": "minutes",
    "{0.month}/{0.day}/{0:%y}, {0:%H}:{0:%M} - ": "minutes",
    "{0:%d}.{0:%m}.{0:%y}, {0:%H}:{0:%M} - ": "minutes",
    "{0:%Y}-{0:%m}-{0:%d}, {0:%H}:{0:%M} - ": "minutes",
    "[{0:%d}.{0:%m}.{0:%y}, {0:%H}:{0:%M}:{0:%S}] ": "seconds",
    "\u200e[{0.month}/{0.day}/{0:%y}, {0:%I}:{0:%M}:{0:%S} {0:%p}] ": "seconds",
    "[{0:%Y}-{0:%m}-{0:%d}, {0:%H}:{0:%M}:{0:%S}] ": "seconds",
}
NAMES = st.sampled_from(["Ana", "Bo Li", "+49 170 12", "Ünal 🤓", "O'Neil-Smith", "de la Cruz"])
WORDS = st.text(st.sampled_from("abc äж日🤓:-/.,12 "), max_size=30).map(lambda text: text.strip())
SAID = st.lists(
    st.tuples(NAMES, st.lists(WORDS, min_size=1, max_size=3), st.integers(60, 900_000)), min_size=1, max_size=15
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forms")


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=50)
@given(said=SAID)
def test_a_chat_written_in_any_form_is_read_back(
    folder: Path, form: str, said: list[tuple[str, list[str], int]]
) -> None:
    moment = dt.datetime(2019, 12, 30, 22, 10, 7, tzinfo=dt.UTC)  # its days tell the order of the dates
    lines, expected = [form.format(moment) + "Ana: first"], [(moment, "Ana", "first")]
    for author, words, seconds in said:
        moment += dt.timedelta(seconds=seconds)
        text = "\n".join(words).strip("\n")
        lines.append(form.format(moment) + f"{author}: {text}")
        expected.append((moment, author, text))
    messages, skipped, _ = read_text(folder, "\n".join(lines) + "\n")
    if FORMS[form] == "minutes":
        expected = [(moment.replace(second=0), author, text) for moment, author, text in expected]
    assert [(one.sent_at, one.author, one.text) for one in messages] == expected
    assert skipped == []
