"""What secrets look like in a chat: keys of known makers, tokens, passwords that are said to be such, cards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each is bounded or begins with words of its own, so that no text makes them slow. What is masked is the group
# `secret`, or a quoted value, or all of it. A commit's hash, a UUID and a version have the shape of none.
_KEYS = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      sk-[\w-]{16,256}                                                # OpenAI, Anthropic and those who copy them
    | gh[opsur]_[A-Za-z0-9]{30,255} | github_pat_\w{22,255}           # GitHub
    | gl(?:pat|ptt|dt|rt|soat|cbt|ft)-[\w.-]{19,300}\w                 # GitLab
    | xox[a-z]-[A-Za-z0-9-]{10,255} | xapp-[A-Za-z0-9-]{10,255}       # Slack
    | (?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])              # AWS
    | AIza[\w-]{35} | ya29\.[\w-]{20,512} | GOCSPX-[\w-]{20,64}       # Google
    | (?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{10,255} | whsec_[0-9A-Za-z+/=]{16,255}  # Stripe
    | SG\.[\w-]{16,64}\.[\w-]{16,128}                                 # SendGrid
    | npm_[0-9A-Za-z]{30,64} | pypi-[\w-]{32,512} | hf_[0-9A-Za-z]{30,64} | dckr_pat_[\w-]{20,64}
    | do[opr]_v1_[0-9a-f]{64} | dapi[0-9a-f]{32}(?![0-9a-f]) | hv[sb]\.[\w-]{20,512}
    | shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32} | lin_api_[0-9A-Za-z]{30,64} | ntn_[0-9A-Za-z]{30,64}
    | key-[0-9a-f]{32}(?![0-9a-f]) | sq0[a-z]{3}-[\w-]{20,64}
    | winnow_1_[\w-]{16,255} | AGE-SECRET-KEY-1[0-9A-Z]{50,64}
    | eyJ[\w-]{10,4096}\.[\w-]{10,4096}\.[\w-]{0,2048}                # JWT
    | [MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,64}                       # Discord
    )""",
    re.VERBOSE | re.ASCII,
)
_BOT_TOKENS = re.compile(r"(?<![0-9])[0-9]{6,12}:[\w-]{30,64}(?![\w-])", re.ASCII)
_PRIVATE_KEYS = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?P<secret>.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_HOOKS = re.compile(
    r"(?:hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/\d{1,20}/)"
    r"(?P<secret>[\w/+-]{16,256})",
    re.ASCII,
)
_HEADERS = re.compile(
    r"\b(?:authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:bearer|basic|token|digest|apikey)?|bearer)\s{1,3}"
    r"(?P<secret>[\w+/=.~:-]{12,4096})",
    re.IGNORECASE | re.ASCII,
)
_IN_URLS = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/@:\"'<>]{0,128}:(?P<secret>[^\s/@\"'<>]{1,256})@", re.IGNORECASE
)
_IN_QUERIES = re.compile(
    r"[?&#;](?:[a-z0-9]{1,20}[_-])?(?:token|key|api_?key|secret|sig|signature|password|passwd|pwd|auth|code|sas|"
    r"X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential)=(?P<secret>[^\s&#\"'<>]{6,4096})",
    re.IGNORECASE,
)
_BEFORE_NAME = r"(?<![a-zа-яё])(?:[a-z0-9]{1,40}[_-]){0,4}"
_AFTER_NAME = (
    r"(?:[_-][a-z0-9]{1,20})?[\"'`]?"
    r"(?:\s{1,3}(?:for|of|to|on|от|для|к|на)\s{1,3}(?:(?:the|our|my|a|this)\s{1,3})?[^\s:=]{1,40}){0,2}\s{0,3}"
)
_SAYS = r"(?::=|=>|[:=]|\s[-–—]\s)\s{0,3}"
_VALUE = (
    r"(?:\"(?P<quoted>[^\"\n]{1,256})\"|'(?P<single>[^'\n]{1,256})'|`(?P<code>[^`\n]{1,256})`|"
    r"(?P<plain>[^\s\"'`,;<>]{1,256}))"
)
# "password: hunter2", "пароль от базы - 12345", DB_PASSWORD=…
_PASSWORDS = re.compile(
    rf"{_BEFORE_NAME}(?:password|passwd|passwort|passphrase|pwd|пароль|пароля|паролем){_AFTER_NAME}{_SAYS}{_VALUE}",
    re.IGNORECASE,
)
_SAID_PASSWORDS = re.compile(
    r"(?<![a-zа-яё])(?:password|passphrase|pwd|пароль)\s{1,3}(?:(?:is now|is|was|will be|теперь|будет|такой)\s{1,3})?"
    r"(?P<secret>(?=[^\s]{0,64}[0-9])(?=[^\s]{0,64}[A-Za-zА-Яа-я!@#$%^&*_])[^\s\"'`,;<>]{6,128})",
    re.IGNORECASE,
)
# "the password for the staging db is hunter2", "пароль от базы теперь 123456"
_TOLD_PASSWORDS = re.compile(
    r"(?<![a-zа-яё])(?:password|passphrase|passcode|pwd|pass|пароль)\s{1,3}"
    r"(?:(?:for|of|to|on|от|для|к|на)\s{1,3}(?:[^\s:=]{1,40}\s{1,3}){1,4}?)?"
    r"(?:is now|is|was|will be|теперь|будет|такой)\s{1,3}[\"'`]?(?P<secret>(?=[^\s]{0,64}[0-9])[^\s\"'`,;<>]{5,128})",
    re.IGNORECASE,
)
# "user: admin, pass: hunter2", DB_PASS=…; but not "first pass: looks good", "pass: 12/13", nor "pass: true"
_SHORT_NAMED = re.compile(
    rf"{_BEFORE_NAME}pass(?:\s{{0,3}}(?::=|[:=])\s{{0,3}}[\"'`]?(?P<secret>(?=[^\s]{{0,64}}[0-9])"
    r"(?=[^\s]{0,64}[A-Za-zА-Яа-я!@#$%^&*_])[^\s\"'`,;<>]{5,256})|=(?P<plain>[^\s\"'`,;<>]{4,256}))",
    re.IGNORECASE,
)
# "api_key": "…", secret = …, токен: …
_NAMED = re.compile(
    rf"{_BEFORE_NAME}(?:secret|token|credentials?|(?:api|access|private|secret|account)[_ -]?key|токен|секрет|ключ api|"
    rf"api-ключ|ключ доступа){_AFTER_NAME}(?:{_SAYS}|\s(?:is|это)\s){_VALUE}",
    re.IGNORECASE,
)
_RANDOM = re.compile(r"(?=[^0-9]{0,255}[0-9])(?=[^A-Za-z]{0,255}[A-Za-z])[A-Za-z0-9+/=._~$!@#%^&:*-]{8,4096}")
_CARDS = re.compile(r"(?<![\d.,:/_-])(?<!\d )[2-6]\d(?:[ -]?\d){11,17}(?![\d_-])(?! \d)")
_VERSION = re.compile(r"v?\d+(?:\.\d+){1,4}(?:[-+.][0-9A-Z.-]{1,40})?", re.IGNORECASE)
_DURATION = re.compile(r"\d+(?:\.\d+)?(?:ms|s|m|h|%|x)", re.IGNORECASE)  # "pass: 3.12s"
_NO_SECRETS = re.compile(
    r"[*x.•…_-]+|[<{$\[(%].*|.*[({\[].*|none|null|nil|true|false|yes|no|str|string|bytes|int|required|optional|missing|"
    r"empty|unset|changed|wrong|expired|same|todo|tbd|secret|password|the|a|an|is|not|in|on|to|must|should|can|нет|да|"
    r"не|в|на|тот|же|(?:os|env|process|settings|self)\..*|https?://.*",
    re.IGNORECASE,
)
_MAILS = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_PHONES = re.compile(r"(?<![\w.:/-])(?:\+\d{1,3}|8|0)[ -]?(?:\(\d{1,5}\)[ -]?)?\d(?:[ -]?\d){6,11}(?![\w-])")
_PATTERNS = (
    _PRIVATE_KEYS, _KEYS, _BOT_TOKENS, _HOOKS, _HEADERS, _IN_URLS, _IN_QUERIES, _PASSWORDS, _SAID_PASSWORDS,
    _TOLD_PASSWORDS, _SHORT_NAMED, _NAMED, _CARDS,
)  # fmt: skip
# How many digits the numbers of a card have that begin with this one.
_CARD_LENGTHS = {"4": (13, 16, 19), "5": (16,), "2": (16, 17, 18, 19), "6": (16, 17, 18, 19), "3": (14, 15)}
_NINE = 9


def find_secrets(text: str, *, contacts: bool = False) -> list[tuple[int, int]]:
    """Where passwords, keys, tokens, and card numbers stand, in order and apart from each other.

    Args:
        text: any.
        contacts: telephone numbers and e-mail addresses are found, too.
    """
    patterns = (*_PATTERNS, _MAILS, _PHONES) if contacts else _PATTERNS
    found = sorted(span for pattern in patterns for span in _spans(pattern, text))
    apart: list[tuple[int, int]] = []
    for start, end in found:
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        group = match.lastgroup or 0
        if not _is_innocent(pattern, match[group]):
            yield match.span(group)


def _is_innocent(pattern: re.Pattern[str], words: str) -> bool:
    """Whether what stands in a secret's place is none."""
    plain = words.rstrip(".!?:)")
    if pattern is _CARDS:
        return not _is_card("".join(filter(str.isdigit, words)))
    if pattern is _SHORT_NAMED and _DURATION.fullmatch(plain):
        return True
    if pattern in (_PASSWORDS, _SAID_PASSWORDS, _TOLD_PASSWORDS, _SHORT_NAMED):
        return bool(_NO_SECRETS.fullmatch(plain))
    if pattern is _NAMED or pattern is _HEADERS:
        return not _RANDOM.fullmatch(plain) or bool(_VERSION.fullmatch(plain) or _NO_SECRETS.fullmatch(plain))
    return not words


def _is_card(digits: str) -> bool:
    """Whether a payment card may have this number: its length, and Luhn's check digit."""
    if len(digits) not in _CARD_LENGTHS.get(digits[0], ()) or len(set(digits)) == 1:
        return False
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(number - _NINE * (number > _NINE) for number in doubled)
    return total % 10 == 0
