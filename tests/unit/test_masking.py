"""Secrets leave no trace in a masked text, what only looks like one stays, and every place can be found again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.masking import Masking
from winnow.domain.secret_shapes import find_secrets

HEX = "3f786850e387550fdab836ed7e6dc881de23001b"
LETTERS = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"

SECRETS = [
    f"sk-proj-{LETTERS}", f"sk-ant-api03-{LETTERS}", f"ghp_{LETTERS}", f"github_pat_{LETTERS}", f"glpat-{LETTERS[:20]}",
    "xoxb-123456789012-abcdefghij", "AKIAIOSFODNN7EXAMPLE", f"AIza{LETTERS[:35]}", f"sk_live_{LETTERS[:24]}",
    f"npm_{LETTERS}", f"hf_{LETTERS}", f"pypi-{LETTERS}", f"SG.{LETTERS[:22]}.{LETTERS}", f"winnow_1_{LETTERS}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", f"123456789:{LETTERS[:35]}",
    "4111 1111 1111 1111", "4111111111111111", "5500-0055-5555-5559", "378282246310005", "2200000000000004",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "it is {}, do not tell", "«{}»", "x={}\ny", "вот {}.", '"{}"'])
def test_keys_tokens_and_cards_of_known_shapes(secret: str, around: str) -> None:
    assert Masking().mask(around.format(secret)).text == around.format("[secret 1]")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("password: hunter2", "password: [secret 1]"),
        ("Password = 'correct horse'", "Password = '[secret 1]'"),
        ("DB_PASSWORD=swordfish", "DB_PASSWORD=[secret 1]"),
        ("пароль: 12345", "пароль: [secret 1]"),
        ("пароль от базы - Qwerty", "пароль от базы - [secret 1]"),
        ("the password is hunter2 now", "the password is [secret 1] now"),
        ("user: admin, pass: hunter2", "user: admin, pass: [secret 1]"),
        ("DB_PASS=swordfish", "DB_PASS=[secret 1]"),
        ("pass is hunter2", "pass is [secret 1]"),
        ("the password for the db is hunter2, ok?", "the password for the db is [secret 1], ok?"),
        ("password of our staging server is now 123456", "password of our staging server is now [secret 1]"),
        ("password for the db: swordfish", "password for the db: [secret 1]"),
        ("пароль от базы теперь 123456", "пароль от базы теперь [secret 1]"),
        ('{"api_key": "abc123def456"}', '{"api_key": "[secret 1]"}'),
        (f"token: {HEX}", "token: [secret 1]"),
        (f"токен = {LETTERS}", "токен = [secret 1]"),
        (f"Authorization: Bearer {LETTERS}", "Authorization: Bearer [secret 1]"),
        (f"curl -H 'authorization: basic {LETTERS}=='", "curl -H 'authorization: basic [secret 1]'"),
        ("postgresql://winnow:pa55@db:5432/w", "postgresql://winnow:[secret 1]@db:5432/w"),
        ("redis://:pa55@cache/0", "redis://:[secret 1]@cache/0"),
        ("https://x.org/a?b=1&access_token=abcdef12", "https://x.org/a?b=1&access_token=[secret 1]"),
        (f"https://hooks.slack.com/services/T000/B000/{LETTERS}", "https://hooks.slack.com/services/[secret 1]"),
        (f"https://api.telegram.org/bot123456789:{LETTERS[:35]}/getMe", "https://api.telegram.org/bot[secret 1]/getMe"),
        (
            f"take {PRIVATE_KEY} and go",
            "take -----BEGIN RSA PRIVATE KEY-----[secret 1]-----END RSA PRIVATE KEY----- and go",
        ),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb", "-----BEGIN OPENSSH PRIVATE KEY-----[secret 1]"),
    ],
)
def test_what_is_said_to_be_secret(text: str, masked: str) -> None:
    assert Masking().mask(text).text == masked


@pytest.mark.parametrize(
    "text",
    [
        f"see {HEX}", f"fixed in {HEX[:9]}", "id 550e8400-e29b-41d4-a716-446655440000", "v1.2.3-rc1+build5",
        "python 3.11.9", f"https://github.com/a/b/commit/{HEX}", f"sha256:{HEX}{HEX[:24]}",
        "the password is wrong", "password: required", "password: ********", "password=os.environ['DB']",
        "password: <yours>", "DB_PASSWORD=${DB_PASSWORD}", "reset your password", "token: expired",
        "the token is 3.2.1", "a secret santa", "the key is to wait", "Bearer of bad news arrives",
        "order 1234567812345678", "at 1700000000000", "message 1234567890123456789", "4111 1111 1111 1112",
        "-1001234567890", "10:30-11:45", "call 112", "ann@example.org +49 151 23456789",
        "http://localhost:8420/api", "sk-learn is fine", "пароль не подходит", "passwordless login",
        "first pass: looks good", "tests pass: 12/13", "pass=True", "pass: 3.12s", "compass: north1", "bypass=abcd",
        "the password for the db is wrong", "password is 8 characters", "all tests pass in v1.2.3",
        "2026-11-20T10:11:12", "class Token: pass", "git@github.com:owner/repo.git", "0000 0000 0000 0000",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert Masking().mask(text).text == text


def test_the_same_secret_has_the_same_mark_in_all_texts() -> None:
    masking = Masking()
    first, second = (masking.mask(f"{one} password: hunter2") for one in (f"ghp_{LETTERS},", "again"))
    assert first.text == "[secret 1], password: [secret 2]"
    assert second.text == "again password: [secret 2]"


@pytest.mark.parametrize(
    "text",
    ["mail ann.b+c@mail.example.org", "ring +49 151 23456789", "ring 8 (912) 345-67-89", "тел. +7 912 345 67 89"],
)
def test_contacts_are_masked_where_somebody_wants_that(text: str) -> None:
    assert Masking().mask(text).text == text
    assert Masking(contacts=True).mask(text).text == f"{text.partition(' ')[0]} [secret 1]"


PIECES = st.sampled_from(
    [*SECRETS, "password: x1", " ", "\n", "and ", "[secret 1]", "é", "👍", "token=", ":", "-----BEGIN"]
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=12).map("".join)


@given(TEXTS, st.booleans(), st.data())
def test_every_place_of_a_masked_text_is_one_of_the_original(text: str, contacts: bool, data: st.DataObject) -> None:
    masked = Masking(contacts=contacts).mask(text)
    start = data.draw(st.integers(0, len(masked.text)))
    end = data.draw(st.integers(start, len(masked.text)))
    first, last = masked.original_span(start, end)
    assert 0 <= first <= len(text)
    assert 0 <= last <= len(text)
    if start < end:
        assert first < last
        touches = any(mark_start < end and start < mark_end for mark_start, mark_end in masked.marks)
        if not touches:
            assert text[first:last] == masked.text[start:end]
        for (mark_start, mark_end), (secret_start, secret_end) in zip(masked.marks, masked.secrets, strict=True):
            if mark_start < end and start < mark_end:
                assert first <= secret_start
                assert secret_end <= last


@given(TEXTS, st.booleans())
def test_secrets_are_in_order_and_apart_and_nothing_else_changes(text: str, contacts: bool) -> None:
    spans = find_secrets(text, contacts=contacts)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    masked = Masking(contacts=contacts).mask(text)
    rest, done = "", 0
    for start, end in masked.marks:
        rest += masked.text[done:start] + "\0"
        done = end
    rest += masked.text[done:]
    want, done = "", 0
    for start, end in spans:
        want += text[done:start] + "\0"
        done = end
    assert rest == want + text[done:]


@given(st.lists(st.sampled_from(SECRETS), min_size=1, max_size=5), st.text("abc .,\n", min_size=1, max_size=5))
def test_no_secret_is_left(secrets: list[str], between: str) -> None:
    masked = Masking().mask(f" {between} ".join(secrets)).text
    assert not [secret for secret in secrets if secret in masked]


@pytest.mark.parametrize(
    "text",
    [
        "a1_" * 30_000, "password " * 10_000, "-----BEGIN PRIVATE KEY-----" * 3_000, "a@" * 40_000,
        "http://" * 10_000 + ":", "eyJ" * 30_000, "4 " * 40_000, "token=" * 15_000, "+1 (" * 20_000, "sk-" * 30_000,
        "Bearer " * 10_000,
    ],
)  # fmt: skip
def test_hostile_texts_take_no_time(text: str) -> None:
    """The suite's own limit is the only clock here."""
    find_secrets(text, contacts=True)
