"""Signs a line may open with: explicit marks, votes, agreement, and what only bots and queues say."""

from __future__ import annotations

import re
from enum import StrEnum


class Mark(StrEnum):
    """What a line declares itself to be."""

    TOPIC = "topic"
    PROPOSAL = "proposal"
    RESOLVED = "resolved"
    ACTION = "action"
    QUESTION = "question"
    ANSWER = "answer"
    PROBLEM = "problem"
    SOLUTION = "solution"
    IDEA = "idea"
    RISK = "risk"
    REQUIREMENT = "requirement"
    BLOCKER = "blocker"
    INSIGHT = "insight"


_MARK_WORDS: dict[Mark, str] = {
    Mark.TOPIC: r"topic|sub-?topic|тема",
    Mark.PROPOSAL: r"proposal|proposed|counter[- ]?proposal|proposed resolution|предложение",
    Mark.RESOLVED: (
        r"resolved|resolution|decisions?|decided|we decided|agreed|agreement|решение|решения|решено|решили|"
        r"договорились|постановили|принято"
    ),
    Mark.ACTION: (
        r"actions?|action items?|todos?|to[- ]do|tasks?|next steps?|задач[аи]|сделать|поручени[ея]|надо сделать|"
        r"следующий шаг"
    ),
    Mark.QUESTION: r"questions?|open questions?|q|вопросы?|открытый вопрос",
    Mark.ANSWER: r"answer|a|ответ",
    Mark.PROBLEM: r"problem|bug|проблема|баг|ошибка",
    Mark.SOLUTION: r"solution|fix|work-?around|фикс|обходной путь|исправление",
    Mark.IDEA: r"idea|suggestion|идея",
    Mark.RISK: r"risks?|риски?",
    Mark.REQUIREMENT: r"requirements?|требовани[ея]",
    Mark.BLOCKER: r"blockers?|blocked|блокеры?",
    Mark.INSIGHT: r"insight|lessons?(?: learned)?|til|(?:key )?takeaway|вывод|выводы|урок",
}
_ANY_MARK = "|".join(f"(?P<{mark}>{words})" for mark, words in _MARK_WORDS.items())
_BULLET = r"(?:(?:[-*\u2022]|\d{1,2}[.)])\s{1,3})?"
_OPENING_MARK = re.compile(
    rf"{_BULLET}[*_~`\[(]{{0,3}}(?:{_ANY_MARK})(?:\s{{0,3}}#?\d{{1,5}})?"
    r"(?:[*_~`)\]]{0,3}\s{0,3}[:=\uff1a][*_~`]{0,3}|\](?=\s))\s{0,9}",
    re.IGNORECASE,
)
_LED_DECISION = re.compile(
    r"(?:(?:ok(?:ay)?|so|well|alright|right|then|итак|ок|окей|ладно|ну|так|хорошо)[,.!]?\s{1,3}){1,3}"
    rf"[*_~`\[(]{{0,3}}(?:{_MARK_WORDS[Mark.RESOLVED]})[*_~`)\]]{{0,3}}\s{{0,3}}[:=\uff1a][*_~`]{{0,3}}\s{{0,9}}",
    re.IGNORECASE,
)
"""A decision's mark behind the small words people open with: `OK, decided: …`."""
_OPENING_TASK = re.compile(rf"{_BULLET}(?:\[ \]|(?:TODO|FIXME)\b(?!\s{{0,3}}[:=])|(?<=- )\[ \])\s{{1,9}}")
_TAG = re.compile(rf"(?<![\w#&/])#(?:{_ANY_MARK})\b:?\s{{0,9}}", re.IGNORECASE)
_MARK_SIGNS = re.compile(r"[:=#\uff1a\]]|\b(?:TODO|FIXME)\b")
CONTINUATION = re.compile(r"(?:\.{2,9}|\u2026)\s{0,9}")
LABEL = re.compile(r"([^\W\d_][\w`.|\-]{0,24}(?: [^\W_][\w`.\-]{0,19})?)\s?:(?!/)\s{0,9}(?=\S)")
_VOTE = re.compile(r"[+\-\u2212]\s?\d(?:[.,]\d{1,3})?(?![\w.])|[\U0001f44d\U0001f44e]|:[+-]1:|:thumbsup:|:thumbsdown:")
_AGREEING = re.compile(
    r"(?:(?:yes|yeah|yep|ok|okay|sure|right|so)[,.!: -]{1,3})?(?:\+1\b|agreed?\b|i agree\b|sounds (?:good|great|"
    r"right|fine)|works for me|"
    r"fine (?:with|by) me|i(?:'m| am|[\u2019]m) (?:fine|ok|okay|happy|good) with|i(?:'d| would|"
    r"[\u2019]d) be (?:fine|ok|happy) with|makes sense|"
    r"that makes sense|good idea|great idea|go for it|let[\u2019']?s do (?:that|it|this)|no objections?\b|i(?:'d|"
    r" would) support|i support|"
    r"согласен|согласна|поддерживаю|за\b|я за\b|отлично|хорошая идея)",
    re.IGNORECASE,
)
_BOT_NAMES = re.compile(
    r"(?:voip-?\w{0,8}|zakim|rrsagent|trackbot|ghurlbot|gb|meetbot|\w{1,20}[-_]?bot)\W{0,3}", re.IGNORECASE
)
_BOT_LINE = re.compile(
    r"(?:"
    r"(?:added|removed) \S{1,60} (?:to|from) the speaker queue\b.*|\S{1,60}(?: \S{1,30})? has the floor\b.*|"
    r"the speaker queue is empty.*|"
    r".{1,120}\bhas (?:joined|left) (?:the conference|#\S{1,60}|freenode|the (?:chat|group|channel))\b.*|"
    r".{1,120}\bis (?:now (?:associated with|known as|muted)|in the conference)\b.*|\S{1,60} has been (?:un)?muted.*|"
    r"conference connections:.*|.{0,10}sees .{0,200}on the speaker queue.*|"
    r"q[+\-?=]|q\s?[+-]\s?\S{1,30}|queue[+=-].*|ack \S{1,40}(?: \S{1,20})?|\+?present\s?[+=-].*|present:.*|"
    r"regrets\s?[+:-].*|"
    r"agenda\s?[+:?].*|agendum .*|chair\s?[:+].*|scribe(?:nick)?\s?[:+=].*|meeting\s?:.*|date\s?:.*|voip:.*|"
    r"(?:zakim|rrsagent|trackbot)\s?[,:].*|s/[^/]{1,200}/[^/]{0,200}/?\w?|.{0,4}joined channel #.*|"
    r"channel (?:mode|timestamp) is.*|"
    r"i have made the request to generate.*|logging to http.*|.{1,60}(?: joined| left| joined the channel|"
    r" has quit.{0,120})|"
    r".{1,60} (?:pinned a message|changed the group (?:name|photo)|set the channel topic:?|"
    r"joined the group.{0,60}|invited .{1,60})"
    r")\s*",
    re.IGNORECASE,
)


def parse_mark(text: str) -> tuple[Mark, int] | None:
    """The explicit mark a line opens with, after any `speaker:` label, and where the words after it start.

    A hashtag that stands later (`we keep it #decision`) marks the whole line: its words start at its beginning.
    """
    if _MARK_SIGNS.search(text) is None:
        return None
    start = _skip_space(text, 0)
    if continuation := CONTINUATION.match(text, start):
        start = continuation.end()
    for _ in range(2):
        found = opening_mark(text, start, len(text))
        if found is not None and text[found[1] : found[1] + 1].strip():
            return found
        label = LABEL.match(text, start)
        if label is None:
            break
        start = label.end()
    tag = _TAG.search(text) if "#" in text else None
    return None if tag is None else (Mark(tag.lastgroup or ""), 0)


def opening_mark(text: str, start: int, end: int) -> tuple[Mark, int] | None:
    """The mark that stands at `start`, and where it ends: a word with a colon, a hashtag, or an open task's box."""
    match = _OPENING_MARK.match(text, start, end) or _TAG.match(text, start, end)
    if match is not None:
        return Mark(match.lastgroup or ""), match.end()
    led = _LED_DECISION.match(text, start, end)
    if led is not None:
        return Mark.RESOLVED, led.end()
    task = _OPENING_TASK.match(text, start, end)
    return None if task is None else (Mark.ACTION, task.end())


def vote_of(text: str) -> float | None:
    """The vote a line opens with (`+1`, `-0.5`, a thumb), after any `speaker:` label; None when it is no vote."""
    start = _skip_space(text, 0)
    if label := LABEL.match(text, start):
        start = label.end()
    match = _VOTE.match(text, start)
    if match is None:
        return None
    words = match.group().replace("\u2212", "-").replace(",", ".").replace(" ", "")
    if not words[-1].isascii() or words.startswith(":"):
        return -1.0 if words in {"\U0001f44e", ":-1:", ":thumbsdown:"} else 1.0
    try:
        return float(words)
    except ValueError:  # a digit of another script
        return None


def agrees(text: str) -> bool:
    """Whether a line opens by agreeing with what was said before."""
    return _AGREEING.match(text, _skip_space(text, 0)) is not None


def is_bot_line(text: str, author: str) -> bool:
    """Whether a bot says it, or it only steers one (speaker queue, attendance, telephone bridge)."""
    if author and _BOT_NAMES.fullmatch(author):
        return True
    stripped = text[:600].strip()
    return "\n" not in stripped and _BOT_LINE.fullmatch(stripped) is not None


def _skip_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start
