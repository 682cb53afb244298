"""A mail becomes what its author wrote in it; a mailbox is read mail by mail, and a bad mail spoils no other."""

from __future__ import annotations

import tracemalloc
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.sources.base import Skipped, Tally
from winnow.sources.mail_text import header_text, text_of_html, without_quotes
from winnow.sources.mbox import MAX_MAIL_BYTES, read_mbox

if TYPE_CHECKING:
    from pathlib import Path

FROM = b"From ana@example.org Mon Jul 04 09:58:01 2011\n"
HEADERS = b"From: Ana B <Ana@example.org>\nDate: Mon, 4 Jul 2011 09:58:01 +0200\nMessage-ID: <1@x>\n"

Result = tuple[list[IncomingMessage], list[Skipped], Tally]


def read(path: Path) -> Result:
    reading = read_mbox(path)
    items = list(reading)
    assert reading.tally.balanced
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    return messages, [item for item in items if isinstance(item, Skipped)], reading.tally


def read_mails(folder: Path, *mails: bytes) -> Result:
    path = folder / "dev.mbox"
    path.write_bytes(b"".join(FROM + mail + b"\n\n" for mail in mails))
    return read(path)


def test_a_thread_is_a_thread(tmp_path: Path) -> None:
    listed = b"List-Id: The developers <dev.example.org>\n"
    messages, _, _ = read_mails(
        tmp_path,
        HEADERS + listed + b"Subject: The index\n\nIs it slow?\n",
        b"From: bo@example.org\nDate: Mon, 4 Jul 2011 10:00:00 +0000\nMessage-ID: <2@x>\nIn-Reply-To: <1@x>\n"
        b"Subject: Re: The index\n" + listed + b"\nOn Monday 4 July, Ana B wrote:\n> Is it slow?\n\nYes.\n-- \nBo\n",
        b"From: cy@example.org\nDate: Mon, 4 Jul 2011 10:00:00 GMT\nMessage-ID: <3@x>\nIn-Reply-To: <2@x>\n"
        b"Subject: Re: The index\n" + listed + b"\nIt is.\n",
    )
    assert [(one.external_id, one.reply_to, one.thread) for one in messages] == [
        ("1@x", None, "1@x"), ("2@x", "1@x", "1@x"), ("3@x", "2@x", "1@x"),
    ]  # fmt: skip
    assert [one.text for one in messages] == ["The index\n\nIs it slow?", "Yes.", "It is."]
    assert messages[0].sent_at.isoformat() == "2011-07-04T09:58:01+02:00"
    assert (messages[0].author, messages[0].author_id) == ("Ana B", "ana@example.org")
    assert (messages[0].channel, messages[0].channel_title) == ("dev.example.org", "The developers")
    assert messages[1].author == "bo"
    assert messages[1].details == {"quote": "Is it slow?", "topic": "The index"}


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        (b"", "ж ö".encode(), "ж ö"),
        (b'Content-Type: text/plain; charset="koi8-r"\n', "жук".encode("koi8-r"), "жук"),
        (b"Content-Type: text/plain; charset=x-nothing\n", "жук".encode(), "жук"),
        (b"Content-Type: text/plain; charset=us-ascii\n", "café".encode("cp1252"), "café"),
        (b"Content-Type: text\n", b"old", "old"),
        (b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n", b"0LbRg9C6\n", "жук"),
        (b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n", b"0LbRg9C6!!x", "жук"),
        (b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n",
         b"=D0=B6=\n=D1=83", "жу"),
        (b"Content-Type: text/html\n", b"<p>one</p><script>x</script><div>two &amp; three</div>", "one\n\ntwo & three"),
        (b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n", b"AAAA", ""),
    ],
)  # fmt: skip
def test_bodies_are_decoded(tmp_path: Path, headers: bytes, body: bytes, text: str) -> None:
    (message,), _, _ = read_mails(tmp_path, HEADERS + headers + b"\n" + body)
    assert message.text == text


def test_of_several_parts_the_plain_text_is_read(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail.set_content("plain жук\n")
    mail.add_alternative("<p>html</p>", subtype="html")
    mail.add_attachment(b"\x00\x01", maintype="image", subtype="png", filename="a.png")
    (message,), _, _ = read_mails(tmp_path, HEADERS + mail.as_bytes())
    assert (message.text, message.details) == ("plain жук", {"media": "photo"})
    only_html = EmailMessage()
    only_html.set_content("<p>a <b>b</b></p><blockquote>old</blockquote>new", subtype="html")
    only_html.add_attachment("x", filename="a.txt")
    (message,), _, _ = read_mails(tmp_path, HEADERS + only_html.as_bytes())
    assert (message.text, message.details) == ("a b\nnew", {"quote": "old", "media": "document"})


@pytest.mark.parametrize(
    ("text", "own", "quote"),
    [
        ("hi\n-- \nAna\n+49", "hi", ""),
        ("> a\n>> b\n\nmine\n> c", "mine", "a\nb\nc"),
        ("Am 3. Mai 2020 schrieb Ana B\n<ana@example.org>:\n\n> a\nmine", "mine", "a"),
        ("Two things:\n\n> a\nmine", "mine", "a"),
        ("See below.\nOn 3 May, Ana wrote:\n> a", "See below.", "a"),
        ("mine\n-----Original Message-----\nFrom: bo\nold", "mine", "From: bo\nold"),
        ("mine\n_______________________________________________\ndev mailing list\nhttps://x", "mine", ""),
        ("a\n--- a/file\n+++ b/file", "a\n--- a/file\n+++ b/file", ""),
    ],
)
def test_quotations_signatures_and_footers_are_no_words_of_the_author(text: str, own: str, quote: str) -> None:
    assert without_quotes(text) == (own, quote)


@pytest.mark.parametrize(
    ("headers", "bot"),
    [
        (b"Auto-Submitted: auto-replied\n", True),
        (b"Auto-Submitted: no\n", False),
        (b"Precedence: auto_reply\n", True),
        (b"Precedence: list\n", False),
        (b"X-Autoreply: yes\n", True),
    ],
)
def test_programs_are_recognised(tmp_path: Path, headers: bytes, bot: bool) -> None:
    (message,), _, _ = read_mails(tmp_path, HEADERS + headers + b"\nI am away.")
    assert message.details.get("bot", False) is bot


def test_headers_are_read_as_they_are_meant(tmp_path: Path) -> None:
    (message,), _, _ = read_mails(
        tmp_path,
        b"From: =?utf-8?q?J=C3=B6rg?= at work <j@x>\nDate: Mon, 4 Jul 2011 09:58:01 -0000\n"
        b"Subject: =?koi8-r?B?1sXTCg==?=\n and more\n\nx",
    )
    assert (message.author, message.sent_at.isoformat()) == ("Jörg at work", "2011-07-04T09:58:01+00:00")
    assert message.text.endswith("and more\n\nx")
    (message,), _, _ = read_mails(
        tmp_path, b"From: ana at example.org (Ana B)\nDate: Mon, 4 Jul 2011 09:58:01 +0000\n\nx"
    )
    assert (message.author, message.author_id, message.channel) == ("Ana B", "ana@example.org", "dev")


def test_mails_without_a_time_are_told_and_the_others_are_read(tmp_path: Path) -> None:
    messages, skipped, _ = read_mails(
        tmp_path,
        b"From: a@x\n\nno date",
        b"From: a@x\nDate: yesterday\n\nx",
        b"From: a@x\nDate: Mon, 31 Feb 2011 09:58:01 +0000\n\nx",
        b"From: a@x\nDate: Mon, 4 Jul 3011 09:58:01 +0000\n\nx",
        HEADERS + b"\ngood",
        HEADERS + b"Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\nContent-Type: multipart/mixed\n\n--y",
    )
    assert messages[0].text == "good"
    assert [told.reason[:11] for told in skipped] == ["it has no D", "its Date ye", "its Date Mo", "a message's"]


def test_text_that_begins_like_a_mail_is_text(tmp_path: Path) -> None:
    (message,), _, _ = read_mails(tmp_path, HEADERS + b"\nHello\nFrom here on\n\nFrom now on it works\n>From there")
    assert message.text == "Hello\nFrom here on\n\nFrom now on it works\nFrom there"


def test_of_a_mail_of_many_megabytes_the_beginning_is_read_and_that_is_said(tmp_path: Path) -> None:
    big = HEADERS + b"Content-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: text/plain\n\nwords\n--q\n"
    big += (
        b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n" + (b"A" * 76 + b"\n") * 150_000 + b"--q--\n"
    )
    huge = HEADERS + b"\n" + b"x" * 200_000
    tracemalloc.start()
    messages, skipped, tally = read_mails(tmp_path, big, huge, HEADERS + b"\nlast")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [one.text for one in messages] == ["words", "last"]
    assert messages[0].details == {"media": "photo"}
    assert "200,000 characters" in skipped[0].reason
    assert tally.notes == [f"mails of more than {MAX_MAIL_BYTES:,} bytes, of which only the beginning was read: 1"]
    assert peak < 60_000_000


def test_a_mailbox_without_ends_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "x.mbox"
    path.write_bytes(b"junk\n\n" + FROM + HEADERS + b"\nhello\n\n" + FROM + HEADERS[:40])
    messages, skipped, _ = read(path)
    assert [one.text for one in messages] == ["hello"]
    assert [(told.line, told.kind) for told in skipped] == [(1, "broken"), (2, "noise"), (10, "broken")]


@pytest.mark.parametrize("piece", ["<", "<!", "<!--", "<a ", "</", "<a href='", "<![", "<script>", "> ", "a:\n> "])
def test_no_markup_takes_a_long_time(piece: str) -> None:
    markup = piece * 100_000  # a quadratic reader takes minutes here, and the limit of a test's time ends it
    without_quotes(text_of_html(markup))
    without_quotes(markup)


@given(st.text(max_size=200))
def test_any_html_and_any_header_is_read(text: str) -> None:
    text_of_html(text)
    text_of_html(f"<p {text}<!-- {text} </p><![CDATA[ {text}")
    assert text_of_html(f"<P a='b'>x<!-- {text.replace('-', '')} --><STYLE>p</style >y<br/>z</p>") == "xy\nz"
    header_text(f"=?utf-8?b?{text}?= {text}")
    without_quotes(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mbox")


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.text(st.sampled_from("abc äж日\n.,:From "), min_size=1, max_size=60), min_size=1, max_size=6),
    encoding=st.sampled_from(["base64", "quoted-printable", "8bit"]),
)
def test_what_python_writes_is_read_back(folder: Path, texts: list[str], encoding: str) -> None:
    mails = []
    for number, text in enumerate(texts):
        mail = EmailMessage()
        mail["From"], mail["Date"], mail["Message-ID"] = "a@x.org", "Mon, 4 Jul 2011 09:58:01 +0000", f"<{number}@x>"
        mail["In-Reply-To"] = "<0@x>"
        mail.set_content(text, cte=encoding)
        mails.append(mail.as_bytes())
    messages, skipped, _ = read_mails(folder, *mails)
    expected = ["\n".join(line.rstrip() for line in text.split("\n")).strip("\n") for text in texts]
    assert [one.text for one in messages] == expected
    assert skipped == []
