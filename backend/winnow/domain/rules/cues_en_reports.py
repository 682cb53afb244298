"""The English cues of reports and offers, as in issue threads: less sure than the plain ones, and asked after them."""

from __future__ import annotations

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.grades import CANDIDATE, FAIR, MODEST, STRONG, WEAK, CueRow

REPORT_CUES: tuple[CueRow, ...] = (
    CueRow(
        AtomType.PROBLEM,
        FAIR,
        says=(
            (
                r"\b(?:freezes|freezing|froze|hangs|hanging|crashes|crashing|crashed|gets? stuck|is stuck|segfaults?|"
                r"segmentation fault|core dumped|deadlocks)\b"
            ),
            (
                r"\b(?:have|has|having|had|get|getting|got|see|seeing|face|facing|faced|hit|hitting|"
                r"experiencing|run into|"
                r"ran into|still) (?:the |a |an |this |that )?(?:exact |very )?(?:same|similar|identical|exact) "
                r"(?:\w{1,12} )?(?:problem|issue|error|bug|trouble|behaviou?r|crash|message)"
            ),
            r"\b(?:same|similar) (?:problem|issue|error|behaviou?r) (?:on|here|with|when|as|for|in)\b",
            r"\w(?:error|exception)\b|\btraceback \(most",
            (
                r"\b(?:strange|weird|unexpected|wrong|incorrect|odd|inconsistent|"
                r"garbage) (?:\w{1,14} )?(?:behaviou?rs?|"
                r"results?|outputs?|values?|messages?|errors?)\b"
            ),
            r"\b(?:no longer|stopped|stops|not) (?:work|works|working|run|running|compil\w{1,4}|respond\w{0,3})\b",
            (
                r"\b(?:work|works|worked|runs|ran) (?:fine|well|ok|perfectly)\b.{0,60}\b(?:but|unless|otherwise|"
                r"except|until|before)\b"
            ),
        ),
        unless=(
            r"\b(?:no|any) (?:error|problem|issue|exception)s?\b",
            r"\bfixed\b",
            r"\bif\b",
            r"\bshould (?:raise|throw)\b",
            r"\bstop(?:s|ped)? (?:working|running) (?:on|for|with|at)\b",
            r"\b(?:raise|throw) (?:an? )?\w{1,30}(?:error|exception)",
        ),
    ),
    CueRow(
        AtomType.PROBLEM,
        WEAK,
        says=(
            r"\b(?:can|could|able to|managed to|i) (?:still |also |easily |now )?reproduce\b",
            r"\b(?:steps|code|snippet|script|example) to reproduce\b",
            r"\b(?:is|not|isn't) reproducible\b",
            r"\b(?:fails|failing|failed|failure|broken|breaks)\b",
            (
                r"\b(?:i|we) (?:get|got|am getting|are getting|keep getting|see) (?:the |this |an? |"
                r"these )?(?:following|error|warning|message)"
            ),
        ),
        unless=(r"\bfixed\b", r"\bif\b", r"\bwould\b"),
    ),
    CueRow(
        AtomType.SOLUTION,
        FAIR,
        says=(
            r"\b(?:get|got|getting|gets) around (?:this|it|that|the)\b",
            (
                r"\b(?:the |this |that )?(?:above|following|this|that) (?:work|works|worked|fixed it|"
                r"did the trick|helped)(?: for me)?\b"
            ),
            r"\b(?:did the trick|solved (?:my|the|this|it)|fixes (?:the|this|it)|resolves (?:the|this|it))\b",
            r"\b(?:as a|a|one|another|temporary|possible|following|quick) work-?around\b",
            (
                r"\b(?:downgrad(?:e|ed|ing)|revert(?:ed|ing)?|roll(?:ed|ing)? back|upgrad(?:ed|ing)|"
                r"reinstall(?:ed|ing)?) "
                r"(?:\S{1,20} ){0,3}(?:to|fixed|solved|worked|helped)\b"
            ),
        ),
        unless=(r"\bif\b", r"n't (?:work|help|fix|solve)", r"\bnot (?:work|help|fix|solve)"),
    ),
    CueRow(
        AtomType.SOLUTION,
        CANDIDATE,
        says=(
            (
                r"\byou can (?:just |also |always |simply |now |either |then )?(?:use|run|set|try|install|add|"
                r"replace|remove|"
                r"disable|enable|call|pass|change|create|get|avoid|specify|write)\b"
            ),
            (
                r"^\W{0,4}(?:try|use|set|install|run|make sure|remove|replace|downgrade|upgrade|add) (?:to )?\S{2,40}\b"
                r".{0,80}\b(?:instead|first|then|again|to|before|from)\b"
            ),
            r"\bwork-?arounds?\b",
        ),
        unless=(r"\bif\b", r"\?$"),
    ),
    CueRow(
        AtomType.REQUIREMENT,
        FAIR,
        says=(
            r"\bfeature request\b",
            r"\b(?:would|'d) (?:really |also )?(?:love|like) to (?:see|have|be able)\b",
            (
                r"\b(?:i|we) (?:would )?(?:expect|expected) (?:\w{1,14} ){0,3}(?:to|that)\b|"
                r"\bexpected (?:behaviou?r|result|output)\b"
            ),
            (
                r"\bshould (?:be able to|support|work|return|raise|allow|not (?:be|fail|crash|raise)|always|never|"
                r"just work)\b"
            ),
            (
                r"\b(?:please|should|could you) (?:\w{1,10} )?(?:add|support|provide|"
                r"implement) (?:\w{1,14} )?(?:support|an? (?:option|api|way))\b"
            ),
        ),
        unless=(r"\bi should\b", r"\bif\b"),
    ),
    CueRow(
        AtomType.REQUIREMENT,
        CANDIDATE,
        says=(
            (
                r"\b(?:it )?would be (?:really |very |so |a )?(?:nice|great|awesome|good|useful|helpful|cool|"
                r"ideal|wonderful|interesting)\b"
            ),
            r"\bsupport (?:for|of) \S{2,30} (?:would|is|should)\b",
            r"\b(?:interested in|waiting for|looking forward to|need for|the goal is|goal:) ",
        ),
        unless=(r"\bif you\b", r"\bcould you\b"),
    ),
    CueRow(
        AtomType.INSIGHT,
        MODEST,
        says=(
            (
                r"\b(?:is|was|are|were|be|probably|likely) (?:\w{1,12} )?(?:caused by|due to|related to|"
                r"because of|a result of|"
                r"specific to)\b"
            ),
            r"\b(?:has|have|had|having) (?:something|nothing|anything|to) (?:to )?do with\b",
            (
                r"\b(?:i|we) (?:suspect|confirmed?|verified|investigated|debugged|tracked (?:it|this) down|"
                r"narrowed (?:it|this) down)\b"
            ),
            r"\bthe (?:culprit|cause|root of|explanation)\b",
        ),
        unless=(r"\bif\b", r"\?$"),
    ),
    CueRow(
        AtomType.INSIGHT,
        CANDIDATE,
        says=(
            r"\b(?:it |this |that )?(?:seems|looks|appears) (?:like|that|to be|as if)\b",
            (
                r"\b(?:i|we) (?:just |have |also |then )?(?:checked|tested|tried|ran|compared|measured|looked at|"
                r"upgraded|installed)\b"
            ),
        ),
        unless=(r"\bif\b", r"\blooks (?:good|great|fine)\b"),
    ),
    CueRow(
        AtomType.PATTERN,
        MODEST,
        says=(
            r"\b(?:every|each) time (?:we|i|you|it|the|they|there|somebody|someone|a)\b",
            (
                r"\b(?:we|it|this|they|i) (?:always|keeps?|constantly|repeatedly|regularly|"
                r"tends? to) (?:\w{2,14}ing|fails?|breaks?|happens?|crash\w{0,2}|forgets?)\b"
            ),
            (
                r"\b(?:again and again|over and over|for the (?:second|third|fourth|fifth|nth) time|as (?:usual|"
                r"always),|happens (?:every|whenever|each))\b"
            ),
        ),
        unless=(r"\?$", r"\bif\b"),
    ),
    CueRow(
        AtomType.ACTION,
        FAIR,
        says=(
            (
                r"\b(?:i|we)(?:'m| am|'re| are|'d be| would be)? (?:also |very |more than |still |currently |"
                r"now )?(?:willing|"
                r"happy|glad|planning|keen|ready) to (?:\w{1,12} )?(?:help|contribute|work|take|try|look|lend|"
                r"do|write|make|"
                r"implement|add|review|test|submit|open|send|start|fix)\b"
            ),
            (
                r"\b(?:would|i'd|will|'ll) (?:gladly|happily|love to|be glad to|like to) (?:help|contribute|lend|"
                r"work|take|collaborate)\b"
            ),
            r"\b(?:lend a hand|work in progress|help wanted|prs? (?:is |are )?welcome)\b",
            r"\b(?:i|we)(?:'m| am|'re| are) (?:still |currently |now |already |also |actively )?working on\b",
            r"\bfeel free to (?:\w{1,10} )?(?:open|submit|patch|send|add|take|contribute|create|make|work)\b",
        ),
        unless=(r"\bif i\b",),
    ),
    CueRow(
        AtomType.ACTION,
        WEAK,
        says=(
            r"\b(?:i|we) can (?:\w{1,10} )?(?:take|try|check|look into|help|submit|send|open|make a|write|work on)\b",
            (
                r"\b(?:i|we)(?:'ve| have)? (?:just )?(?:pushed|published|submitted|opened|released|merged|"
                r"created|uploaded) "
                r"(?:a |an |the |my )?"
            ),
            r"^\W{0,4}(?:just )?(?:pushed|published|submitted|opened|merged|working on|pinging|still in progress)\b",
        ),
        unless=(r"\?$",),
    ),
    CueRow(
        AtomType.DECISION,
        STRONG,
        says=(
            (
                r"^\W{0,4}(?:ok(?:ay)?,? )?(?:re-?)?(?:closing|opening) (?:this|it|as|for|out|since|in favou?r|"
                r"the|because)\b"
            ),
            (
                r"\b(?:issue|thread|pr|ticket|bug) (?:can|has been|was|should|is|will) (?:now )?(?:be )?(?:closed|"
                r"locked|merged)\b"
            ),
            r"\b(?:closed|fixed|superseded|resolved) (?:by|via|in favou?r of|as (?:a )?(?:duplicate|fixed)|in) #?\d",
            (
                r"\b(?:i'll|i will|i am going to|let me|i'm) (?:now )?(?:close|closing|reopen|reopening|merge|"
                r"merging) (?:this|it|the)\b"
            ),
        ),
        unless=(r"\bif\b", r"\bopening (?:the|a) (?:file|page|app)"),
    ),
    CueRow(
        AtomType.IDEA,
        WEAK,
        says=(
            (
                r"\b(?:i think|imo|imho|i guess|i believe) (?:we|it|you|that|this|"
                r"the \w{2,14}) (?:\w{1,10} )?(?:should|could|"
                r"might|can|would)\b"
            ),
            (
                r"\b(?:another|one|alternative|better|easiest|best|simplest|right|other) (?:\w{1,12} )?(?:way|"
                r"option|approach|solution|alternative|idea)\b"
            ),
            r"\b(?:i|we|i'd|we'd) (?:would )?(?:strongly )?(?:recommend|suggest|propose|advise)\b",
            (
                r"\b(?:could|might|may) (?:also |perhaps |maybe |then |just |instead )?(?:be (?:used|done|"
                r"possible|better|worth)|use|try|add|make|have|consider)\b"
            ),
        ),
        unless=(r"\bcould not\b", r"\bno (?:other )?way\b", r"\bcould you\b", r"\bthank"),
    ),
    CueRow(
        AtomType.IDEA,
        CANDIDATE,
        says=(
            r"\b(?:we|you|it|they) (?:could|should|might|can|would need to|would have to|need to)\b",
            r"\b(?:instead of|rather than|alternatively|in theory|ideally)\b",
            r"\b(?:would|should) (?:also |just |probably |then )?(?:be|make|require|need|allow|work|help)\b",
        ),
        unless=(r"\bcould you\b", r"\bcan you\b", r"\bthank"),
    ),
)
