"""The words of a mail: decoded, without what it quotes, without signatures and lists' footers."""

from __future__ import annotations

import binascii
import html
import quopri
import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.parser import BytesParser
from email.policy import compat32
from itertools import islice
from typing import TYPE_CHECKING

from winnow.sources.base import decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

_MOST_PARTS = 100
_SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature"})
_FOOTER_LINES = 12
_ATTRIBUTION_LINES = 3
_ATTRIBUTION_CHARACTERS = 300

_CHARSET = re.compile(r"charset\s*=\s*\"?(?P<name>[\w.:+-]{1,40})", re.IGNORECASE)
_TAG = re.compile(r"<(?:(?P<comment>!--)|[!?][^<>]*>|(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9]{0,15})\b[^<>]*>)")
_SPACES = re.compile(r"\s+")
_BREAKS = frozenset("p br div tr li h1 h2 h3 h4 h5 h6 pre table ul ol hr blockquote".split())  # noqa: SIM905
_HIDDEN_ENDS = {
    "<!--": re.compile("-->"),
    **{name: re.compile(f"</{name}[^<>]*>", re.IGNORECASE) for name in ("script", "style", "head", "title")},
}
_RULE = re.compile(r"[_]{20,}\s*\Z")
_ORIGINAL = re.compile(
    r"-{2,}\s*(?:Original Message|Original-Nachricht|Ursprüngliche Nachricht|Mensaje original|Message d'origine"
    r"|Messaggio originale|Mensagem original|Исходное сообщение|Forwarded message)\s*-{2,}\s*\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Words:
    """What a mail's author wrote, what the mail quotes, whether letters were guessed, and what came with it."""

    text: str
    quote: str = ""
    guessed: bool = False
    media: str | None = None


def header_text(value: str) -> str:
    """A header's value as it is meant to be read: folded lines joined, RFC 2047 words decoded."""
    if "=?" not in value:
        return " ".join(value.split())
    try:
        parts = decode_header(value)
    except (ValueError, HeaderParseError):
        return " ".join(value.split())
    words = [part if isinstance(part, str) else in_charset(part, charset)[0] for part, charset in parts]
    return " ".join("".join(words).split())


def in_charset(raw: bytes, charset: str | None) -> tuple[str, bool]:
    """The text of bytes in the charset they are said to be in, or, where that is wrong, as files are decoded."""
    if charset and charset.lower() not in {"utf-8", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "8bit"}:
        try:
            return raw.decode(charset), False
        except (LookupError, ValueError):
            pass
    return decode(raw)


def words_of(headers: dict[str, str], head: bytes, body: bytes) -> Words:
    """What a mail says; `head` and `body` are its bytes above and below the first empty line."""
    kind = headers.get("content-type", "").split(";", 1)[0].strip().lower() or "text/plain"
    if "/" not in kind or kind == "text":
        kind = "text/plain"  # what mailers of the last century wrote
    if kind.startswith("multipart/"):
        return _of_parts(BytesParser(policy=compat32).parsebytes(head + b"\n\n" + body))
    if not kind.startswith("text/"):
        return Words("", media="document")
    raw = _decoded(body, headers.get("content-transfer-encoding", ""))
    found = _CHARSET.search(headers.get("content-type", ""))
    text, guessed = in_charset(raw, found["name"] if found else None)
    return _said(text, guessed=guessed, marked_up=kind == "text/html")


def _decoded(body: bytes, encoding: str) -> bytes:
    name = encoding.strip().lower()
    if name == "quoted-printable":
        return quopri.decodestring(body)
    if name == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            cut = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
            return binascii.a2b_base64(cut[: len(cut) // 4 * 4])
    return body


def _of_parts(mail: Message) -> Words:
    """The first plain text among the parts, else the first HTML; anything with a name is an attachment."""
    texts: dict[str, Message] = {}
    media: str | None = None
    for part in islice(mail.walk(), _MOST_PARTS):
        kind = part.get_content_type()
        if kind.startswith("multipart/") or kind in _SIGNATURES:
            continue
        if "attachment" in str(part.get("content-disposition", "")).lower() or not kind.startswith("text/"):
            media = media or ("photo" if kind.startswith("image/") else "document")
        else:
            texts.setdefault(kind, part)
    best = texts.get("text/plain", texts.get("text/html"))
    if best is None:
        return Words("", media=media)
    body = best.get_payload(decode=True)
    found = _CHARSET.search(str(best.get("content-type", "")))
    text, guessed = in_charset(body if isinstance(body, bytes) else b"", found["name"] if found else None)
    said = _said(text, guessed=guessed, marked_up="text/plain" not in texts)
    return Words(said.text, said.quote, said.guessed, media)


def _said(text: str, *, guessed: bool, marked_up: bool) -> Words:
    if marked_up:
        text = text_of_html(text)
    own, quoted = without_quotes(text)
    return Words(own, quoted, guessed)


def without_quotes(text: str) -> tuple[str, str]:
    """What somebody wrote himself, and what he quotes: lines with `>`, and what is below `-----Original Message-----`.

    The line that introduces a quotation, a signature below `-- ` and a mailing list's footer are in neither.
    """
    own: list[str] = []
    quoted: list[str] = []
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines):
        stripped = line.rstrip()
        if stripped == "--" or (_RULE.match(stripped) and len(lines) - number <= _FOOTER_LINES):
            break
        if line.startswith("-") and _ORIGINAL.match(stripped):
            quoted.extend(lines[number + 1 :])
            break
        if line.startswith(">"):
            _drop_attribution(own)
            quoted.append(line.lstrip("> "))
        else:
            own.append(stripped)
    return _trimmed(own), _trimmed(quoted)


def _drop_attribution(own: list[str]) -> None:
    """Takes `On Monday, Ana wrote:` off the end, which may be wrapped over some lines."""
    while own and not own[-1]:
        own.pop()
    if not own or not own[-1].endswith(":"):
        return
    begin = len(own) - 1
    while begin > 0 and len(own) - begin < _ATTRIBUTION_LINES and own[begin - 1] and not own[begin - 1].endswith("."):
        begin -= 1
    said = " ".join(own[begin:])
    introduces = begin == len(own) - 1 or "@" in said or any(letter.isdigit() for letter in said)
    if introduces and len(said) <= _ATTRIBUTION_CHARACTERS:
        del own[begin:]


def _trimmed(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n")


def text_of_html(markup: str) -> str:
    """The words of HTML, a quotation with `> ` before its lines; broken markup is read as far as it goes.

    Takes time in proportion to its length, which html.parser does not.
    """
    lines = ("".join(pieces).strip() for pieces in _lines_of_html(markup))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _lines_of_html(markup: str) -> Iterator[list[str]]:
    """The pieces of each line that a browser would begin."""
    line: list[str] = []
    quoting = at = 0
    while at < len(markup):
        found = _TAG.search(markup, at)
        end = found.start() if found else len(markup)
        if words := _SPACES.sub(" ", html.unescape(markup[at:end])):
            line.append(f"> {words.lstrip()}" if quoting and not line and words.strip() else words)
        if found is None:
            break
        name, at = (found["name"] or "").lower(), found.end()
        if name == "blockquote":
            quoting = max(0, quoting + (-1 if found["close"] else 1))
        if name in _BREAKS:
            yield line
            line = []
        elif (hidden := _HIDDEN_ENDS.get(found[0] if found["comment"] else name)) and not found["close"]:
            closed = hidden.search(markup, at)
            at = closed.end() if closed else len(markup)
    yield line
