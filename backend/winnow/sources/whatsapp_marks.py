"""What WhatsApp itself writes into its exports, in the languages of its users: files, deletions, edits, votes.

WhatsApp translates every word of it and changes the words over the years. So a sign is told by its shape (angle
brackets, a left-to-right mark, a file's name) and, where people could write that shape too, by the stem of a word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.domain.messages import Details

MARKS = "\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_MARK = re.compile(f"[{MARKS}]+")
_ENDS_A_SIGN = (">", "\u200e", "\u200f", "\u202c", "\u2069", " ")
_LONGEST_SIGN = 400
_LONGEST_KIND = 60

_EDITED = re.compile(
    rf"[\s{MARKS}]*<[{MARKS}]*[^<>\n]{{0,40}}?(?:edited|editó|editad[oa]|bearbeitet|bewerkt|modifi[ée]|modificat[oa]"
    rf"|измен[её]н|отредактир|відредаг|змінен|düzenlendi|edytowan|upraven|redig|muokattu|diedit|编辑|編集|수정|تعديل)"
    rf"[^<>\n]{{0,20}}>[\s{MARKS}]*\Z",
    re.IGNORECASE,
)
_KINDS: Mapping[str, str] = {
    "photo": r"image|photo|bild|foto|im[aá]ge[mn]|immagine|afbeelding|изображени|зображенн|görüntü|resim|obraz|obrázek"
    r"|图片|画像",
    "video": r"v[ií]d[eé]o|видео|відео|视频|動画",
    "voice": r"audio|áudio|sprachnachricht|аудио|аудіо|ses kaydı|dźwięk|zvuk|音频|音声",
    "sticker": r"sticker|aufkleber|figurinha|стикер|наліпк|çıkartma|naklejk|nálepk|贴图|スタンプ",
    "gif": r"gif",
    "contact": r"contact|kontakt|contatto|contato|контакт|kişi kartı|联系人|連絡先",
    "document": r"dokument|document|documento|документ|belge|文档|ドキュメント",
}
_LEFT_OUT = (
    r"omi(?:tted|tid[oa]|s|ssa|sso|tida)\b|weggelassen|ausgeschlossen|absente?|ocultad[oa]|oculta|weggelaten"
    r"|отсутству|пропущен|опущен|без медиа|відсутн|dahil edilmedi|pominięt|vynech|utelat|udelad|jätetty|忽略|省略"
)
_OMITTED = re.compile(rf"(?P<before>.{{1,80}}?)\s(?:{_LEFT_OUT})\w*", re.IGNORECASE)
_ENDS_LEFT_OUT = re.compile(rf"(?:{_LEFT_OUT})\w*\Z", re.IGNORECASE)
_KIND_WORDS = {kind: re.compile(rf"(?:{words})\w*\Z", re.IGNORECASE) for kind, words in _KINDS.items()}
_NO_MEDIA = re.compile(
    rf"[{MARKS}]*<(?:[^<>\n]{{0,20}}(?:medi[aeo]|m[ée]di[ae]|mídia|медиа|медіа|multimedia|媒体|メディア|미디어)[^<>\n]{{0,30}})>",
    re.IGNORECASE,
)
_ATTACHED = re.compile(rf"[{MARKS}]*<[^<>:\n]{{2,30}}:[\s{MARKS}]*(?P<name>[^<>\n]{{1,200}}\.\w{{1,8}})>")
_FILE = re.compile(
    rf"(?P<marked>[{MARKS}])?[{MARKS}]*(?P<name>[^\n<>]{{1,200}}\.\w{{1,8}}) \((?P<word>[^()\n]{{3,40}})\)"
)
_GIVEN_BY_WHATSAPP = re.compile(
    r"(?:IMG|VID|PTT|AUD|STK|DOC)-\d{8}-WA\d+|\d{8}-(?:PHOTO|VIDEO|AUDIO|STICKER|GIF)-", re.IGNORECASE
)
_FILE_KINDS = (
    ("sticker", re.compile(r"STK-|STICKER|\.webp\Z", re.IGNORECASE)),
    ("photo", re.compile(r"IMG-|PHOTO|\.(?:jpe?g|png|heic)\Z", re.IGNORECASE)),
    ("gif", re.compile(r"-GIF-|\.gif\Z", re.IGNORECASE)),
    ("video", re.compile(r"VID-|VIDEO|\.(?:mp4|mov|3gp)\Z", re.IGNORECASE)),
    ("voice", re.compile(r"PTT-|AUD-|AUDIO|\.(?:opus|m4a|ogg|aac|mp3)\Z", re.IGNORECASE)),
    ("contact", re.compile(r"\.vcf\Z", re.IGNORECASE)),
)
_POLL = re.compile(
    rf"[{MARKS}]*(?:POLL|UMFRAGE|ENCUESTA|SONDAGE|SONDAGGIO|ENQUETE|PEILING|ОПРОС|ОПИТУВАННЯ|ANKET|ANKIETA):\s*\Z"
)
_PLACE = re.compile(r"https://maps\.google\.com/\?q=|https://foursquare\.com/v/")
_DELETED = re.compile(
    rf"[{MARKS}🚫⊘ ]*(?:this message was deleted|you deleted this message|diese nachricht wurde gelöscht"
    r"|du hast diese nachricht gelöscht|se eliminó este mensaje|eliminaste este mensaje|este mensaje fue eliminado"
    r"|ce message a été supprimé|vous avez supprimé ce message|questo messaggio è stato eliminato"
    r"|hai eliminato questo messaggio|mensagem apagada|esta mensagem foi apagada|você apagou esta mensagem"
    r"|данное сообщение удалено|сообщение удалено|это сообщение удалено|вы удалили данное сообщение"
    r"|вы удалили это сообщение|це повідомлення видалено|ви видалили це повідомлення|dit bericht is verwijderd"
    r"|je hebt dit bericht verwijderd|bu mesaj silindi|bu mesajı sildiniz|wiadomość została usunięta"
    r"|ta wiadomość została usunięta)(?: (?:by|von|por|par|da|администратором|door) .{1,80})?[.!]?",
    re.IGNORECASE,
)


def unmarked(text: str) -> str:
    """The text without the invisible marks of direction."""
    return text if text.isascii() else _MARK.sub("", text)


def tells_a_deletion(text: str) -> bool:
    """Whether the words are all that is left of a deleted message."""
    return len(text) <= _LONGEST_SIGN and _DELETED.fullmatch(text.strip()) is not None


def without_edited(text: str) -> tuple[str, bool]:
    """The text without the sign that it was edited, and whether it had one."""
    if not text.endswith(_ENDS_A_SIGN):
        return text, False
    found = _EDITED.search(text, max(0, len(text) - 120))
    return (text[: found.start()], True) if found else (text, False)


def media_of(text: str) -> tuple[str, Details]:
    """What came with a message by its words, and the words that people wrote; a document's name is among these."""
    first, line_end, rest = text.partition("\n")
    if len(first) > _LONGEST_SIGN and not line_end:
        return text, {}
    if first.endswith(":") and _POLL.fullmatch(first):
        return unmarked(rest), {"media": "poll"}
    if (found := _file_name(first)) is not None:
        own = "" if _GIVEN_BY_WHATSAPP.search(found) else found
        return own + ("\n" if own and rest else "") + rest, {"media": _kind_of_file(found)}
    if "<" in first and _NO_MEDIA.fullmatch(first.strip()):
        return rest, {"media": "file"}
    if not rest and (len(first) <= _LONGEST_KIND or "•" in first) and (left_out := _left_out(unmarked(first).strip())):
        return left_out
    return text, {"media": "location"} if "https://" in first and _PLACE.search(first) else {}


def _left_out(sign: str) -> tuple[str, Details] | None:
    """`image omitted`, or `plan.pdf • 2 pages document omitted`, whose first part is the name."""
    if not _ENDS_LEFT_OUT.search(sign, max(0, len(sign) - 40)):
        return None
    name, bullet, last = sign.rpartition("•")
    found = _OMITTED.fullmatch(last.strip())
    if found is None:
        return None
    for kind, pattern in _KIND_WORDS.items():
        if (word := pattern.search(found["before"])) and (bullet or word.start() == 0):
            return name.strip(), {"media": kind}
    return None


def _file_name(first: str) -> str | None:
    stripped = first.rstrip(" ")
    if not stripped.endswith((">", ")")):
        return None
    if found := _ATTACHED.fullmatch(stripped):
        return unmarked(found["name"])
    if (found := _FILE.fullmatch(stripped)) and (found["marked"] or _GIVEN_BY_WHATSAPP.match(found["name"])):
        return unmarked(found["name"])
    return None


def _kind_of_file(name: str) -> str:
    return next((kind for kind, pattern in _FILE_KINDS if pattern.search(name)), "document")
