"""A Slack archive, packed or unpacked, gives what people saw in Slack, and tells everything else."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import Skipped, Tally
from winnow.sources.recognise import open_source
from winnow.sources.slack_text import Marks

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "slack" / "testarchive.zip"
USERS = [
    {"id": "U1", "name": "ann1", "real_name": "Ann Real", "profile": {"display_name": "ann"}},
    {"id": "U2", "name": "lin2", "profile": {"display_name": "", "real_name": "Lin Real"}},
    {"id": "U3", "name": "helper", "is_bot": True},
]
CHANNELS = [{"id": "C1", "name": "general"}]
SAID: dict[str, Any] = {"type": "message", "user": "U1", "text": "hi", "ts": "1459036800.000200"}
LISTS = {"users.json": USERS, "channels.json": CHANNELS}


def read(path: Path) -> tuple[list[IncomingMessage], list[Skipped], Tally]:
    reading = open_source(path)
    assert (reading.format_name, reading.unit) == ("slack", "message")
    items = list(reading)
    assert reading.tally.balanced
    assert reading.tally.bytes == reading.tally.size
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    return messages, [item for item in items if isinstance(item, Skipped)], reading.tally


def packed(folder: Path, files: dict[str, Any], *, root: str = "") -> Path:
    path = folder / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(root + name, content if isinstance(content, bytes) else json.dumps(content))
    return path


def day(folder: Path, *entries: Any, **files: Any) -> tuple[list[IncomingMessage], list[Skipped], Tally]:
    return read(packed(folder, {**LISTS, "general/2016-03-27.json": entries, **files}))


def one(folder: Path, **fields: Any) -> IncomingMessage:
    (message,), skipped, _ = day(folder, {**SAID, **fields})
    assert skipped == []
    return message


def test_a_real_archive_is_read_whole_packed_and_unpacked(tmp_path: Path) -> None:
    messages, _, tally = read(ARCHIVE)
    assert (len(messages), tally.lines, dict(tally.noise)) == (147, 158, {"joined or left": 11})
    assert {(one.channel, one.channel_title) for one in messages} == {
        ("C0JGLMMNX", "enrique"),
        ("C0JL6CGQ2", "traveling-sailor"),
    }
    assert sum(one.edited_at is not None for one in messages) == 1
    assert sum(bool(one.details.get("bot")) for one in messages) == 94
    assert not any("xoxe" in one.text or "<@U" in one.text or "&lt;" in one.text for one in messages)
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    unpacked, _, _ = read(tmp_path)
    assert unpacked == messages


def test_a_message_with_everything(tmp_path: Path) -> None:
    message = one(
        tmp_path,
        text="&lt;b&gt; <@U2>: see <https://a.example/x|this> in <#C1|general> &amp;lt;",
        thread_ts="1459036700.000100",
        edited={"user": "U1", "ts": "1459036900.5"},
        reactions=[{"name": "+1", "count": 2, "users": ["U1", "U2"]}, {"count": 1}, {"count": "x"}],
    )
    assert message == IncomingMessage(
        source="slack",
        channel="C1",
        external_id="1459036800.000200",
        author="ann",
        text="<b> @Lin Real: see this (https://a.example/x) in #general &lt;",
        sent_at=datetime(2016, 3, 27, 0, 0, 0, 200, tzinfo=UTC),
        reply_to="1459036700.000100",
        thread="1459036700.000100",
        author_id="U1",
        channel_title="general",
        edited_at=datetime(2016, 3, 27, 0, 1, 40, 500_000, tzinfo=UTC),
        details={"reactions": 3},
    )
    first = one(tmp_path, thread_ts=SAID["ts"])
    assert (first.thread, first.reply_to) == (SAID["ts"], None)


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("<@U1>", "@ann"),
        ("<@U9>", "@U9"),
        ("<@U9|zoe>", "@zoe"),
        ("<#C1>", "#general"),
        ("<#C9>", "#C9"),
        ("<!here>", "@here"),
        ("<!subteam^S1|@ops>", "@ops"),
        ("<!subteam^S1>", "@group"),
        ("<!date^1^{date}|3 May>", "3 May"),
        ("<https://a.example>", "https://a.example"),
        ("<https://a.example|https://a.example/>", "https://a.example"),
        ("<https://a.example|a.example>", "a.example"),
        ("<mailto:a@b.example|a@b.example>", "a@b.example"),
        ("<https://files.slack.com/x.js?t=xoxe-1-2-3-abc|x.js>", "x.js (https://files.slack.com/x.js)"),
        ("<not a mark>", "<not a mark>"),
        ("a < b > c", "a < b > c"),
        ("<>", "<>"),
        ("&lt;@U1&gt; &amp;amp;", "<@U1> &amp;"),
    ],
)
def test_marks_are_what_people_saw(mark: str, text: str) -> None:
    assert Marks({"U1": "ann"}.get, {"C1": "general"}).resolved(mark) == text


def test_programs_files_blocks_and_shares_say_something(tmp_path: Path) -> None:
    unrolled = [{"title": "A page", "text": "its words", "from_url": "https://a.example"}]
    assert one(tmp_path, attachments=unrolled).text == "hi"
    by_program = one(
        tmp_path, subtype="bot_message", user=None, bot_id="B1", username="CI", text="", attachments=unrolled
    )
    assert (by_program.text, by_program.author, by_program.author_id, by_program.details) == (
        "A page\nits words",
        "CI",
        "B1",
        {"bot": True},
    )
    assert one(tmp_path, user="U3").details == {"bot": True}
    files = [{"title": "plan.pdf", "mimetype": "application/pdf"}, {"name": "b.png"}]
    assert one(tmp_path, files=files).text == "hi\nplan.pdf\nb.png"
    assert one(tmp_path, text="", files=files[:1], bot_id=None).details == {"media": "document"}
    shared = one(tmp_path, attachments=[{"is_msg_unfurl": True, "text": "said <@U2>"}])
    assert shared.details == {"quote": "said @Lin Real"}
    section = {"type": "rich_text_section", "elements": [
        {"type": "text", "text": "ask "}, {"type": "user", "user_id": "U2"}, {"type": "emoji", "name": "wave"},
        {"type": "link", "url": "https://a.example", "text": "here"},
    ]}  # fmt: skip
    blocks = [
        {"type": "rich_text", "elements": [section]},
        {"type": "section", "text": {"type": "mrkdwn", "text": "*two*"}},
    ]
    assert one(tmp_path, text="", blocks=blocks).text == "ask @Lin Real:wave:here (https://a.example)\n*two*"


def test_what_only_happened_is_counted(tmp_path: Path) -> None:
    entries = [{**SAID, "subtype": kind} for kind in ("channel_join", "channel_leave", "channel_topic", "tombstone")]
    messages, _, tally = day(tmp_path, *entries, {**SAID, "text": ""})
    assert messages == []
    assert dict(tally.noise) == {
        "joined or left": 2,
        "service message (channel_topic)": 1,
        "deleted in Slack": 1,
        "without words": 1,
    }


def test_private_channels_and_conversations_have_names_of_their_own(tmp_path: Path) -> None:
    files = {
        "users.json": USERS,
        "groups.json": [{"id": "G1", "name": "secret"}],
        "dms.json": [{"id": "D1", "members": ["U1", "U2"]}],
        "mpims.json": [{"id": "G2", "name": "mpdm-a--b-1"}],
        "integration_logs.json": [{"nonsense": 1}],
        **{f"{name}/2016-03-27.json": [SAID] for name in ("secret", "D1", "mpdm-a--b-1", "unlisted")},
        "secret/canvas.json": [SAID],
    }
    messages, _, _ = read(packed(tmp_path, files, root="My export/"))
    assert [(one.channel, one.channel_title) for one in messages] == [
        ("D1", "ann, Lin Real"),
        ("G2", "mpdm-a--b-1"),
        ("G1", "secret"),
        ("unlisted", None),
    ]


def test_a_bad_day_keeps_no_other_one_out(tmp_path: Path) -> None:
    files = {
        "general/2016-03-25.json": [SAID, {**SAID, "ts": "x"}, {**SAID, "ts": None}, 7],
        "general/2016-03-26.json": b'[{"type": "message", "ts": "1.000001", "text": "cut"}, {"te',
        "general/2016-03-28.json": {"no": "list"},
        "general/2016-03-29.json": b"",
    }
    messages, skipped, tally = day(tmp_path, {**SAID, "text": "good"}, **files)
    assert [one.text for one in messages] == ["hi", "cut", "good"]
    assert tally.broken == 6
    assert [told.line for told in skipped] == [2, 3, 4, 6, 8, 9]
    for told, words in zip(
        skipped,
        ("ts is no time", "ts is missing", "JSON object", "ends in the middle", "no list", "ends in"),
        strict=True,
    ):
        assert told.reason.startswith("general/2016-03-2")
        assert words in told.reason


def test_a_broken_list_of_users_is_told_before_names_are_wrong_for_ever(tmp_path: Path) -> None:
    path = packed(
        tmp_path, {"channels.json": CHANNELS, "users.json": b'[{"id": "U1"', "general/2016-03-27.json": [SAID]}
    )
    with pytest.raises(InvalidInput, match=r"users\.json ends in the middle"):
        list(open_source(path))


KEYS = st.sampled_from(["text", "elements", "type", "title", "ts", "count", "id"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("<@U1>"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
NAMES = [*SAID, "subtype", "blocks", "attachments", "files", "file", "edited", "reactions", "thread_ts", "bot_id"]
FIELDS = st.sampled_from([*NAMES, "user_profile", "message", "comment"])
ENTRIES = st.dictionaries(FIELDS, ANYTHING).map(lambda given: {**SAID, **given}) | ANYTHING


@settings(deadline=None, max_examples=50)
@given(st.lists(ENTRIES, max_size=6), st.lists(ANYTHING, max_size=3))
def test_whatever_stands_in_an_archive_each_entry_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any], listed: list[Any]
) -> None:
    files = {"users.json": listed, "channels.json": listed, "general/2016-03-27.json": entries}
    messages, skipped, tally = read(packed(tmp_path_factory.getbasetemp(), files))
    assert len(messages) + len(skipped) == tally.lines == len(entries)
