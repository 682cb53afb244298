"""The English cues of what people plan: decisions, requirements, ideas, actions.

`<work>` and the like stand for the phrases at the top; a plain `'` matches the typographic one too.
"""

from __future__ import annotations

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.grades import CANDIDATE, CHOSEN, FAIR, MODEST, STRONG, WEAK, CueRow

ENGLISH_PHRASES: dict[str, str] = {
    "hedged": (
        r"\b(?:if|unless|whether|until|before|once|when) (?:we|the group|they|you)\b|\b(?:not|"
        r"n't) (?:\w{1,12} )?(?:agreed|decided|resolved|settled|agree|decide)\b|\bthought (?:that )?we\b|"
        r"n't think (?:that )?(?:we|that's|it's)\b|\bwhat (?:we|the group) (?:have |had |all )?(?:decided|agreed|"
        r"resolved)\b|\bdid we\b|\bhave we\b|\bneed to (?:decide|agree)|\bshould (?:decide|agree)\b|"
        r"\bto be decided\b|\bhave to decide\b|\bwould be\b|\bcould be\b"
    ),
    "housekeeping": (
        r"mailing.?list|\b(?:issue )?tracker\b|next (?:call|telecon|meeting)|next week|move on|\bpick up (?:at|"
        r"where|from)|\bopen (?:it|this) (?:up)?|on the agenda|the agenda|this call|offline|"
        r"let's (?:just )?say\b(?! that)|scrib(?:e|ing)|straw ?poll|change (?:the )?subject|skip ahead|"
        r"let's (?:not )?(?:make sure|make progress|keep (?:going|moving|this|talking)|leave it there|put this|"
        r"stop here)"
    ),
    "work": (
        r"(?:add|address|announce|approach|ask|book|bring|build|bump|call|change|check|clean|close|commit|"
        r"configure|contact|copy|correct|create|define|deploy|describe|document|double[- ]check|draft|e-?mail|"
        r"edit|email|figure|file|find|finish|fix|follow up|forward|get (?:back|in touch|that|it|this)|give|"
        r"go (?:over|through)|implement|investigate|invite|look|mail|make|merge|migrate|move|open|order|"
        r"organi[sz]e|ping|point|post|prepare|propose|provide|publish|pull|push|put|raise|reach out|refactor|"
        r"release|remove|rename|reply|report|request|reset|respond|restart|review|revert|rewrite|roll|run|"
        r"schedule|send|set ?up|share|ship|sort|split|start|submit|summari[sz]e|switch|sync|take|talk (?:to|with)|"
        r"test|tidy|translate|try (?:these|this|the|that|it|out)|update|upgrade|upload|verify|work on|write)"
    ),
    "choose": (
        r"(?:adopt|allow|avoid|call it|change|choose|close|defer|delete|disallow|drop|exclude|extend|go (?:with|"
        r"for|ahead)|keep|leave|limit|make it|make that|mark|merge|migrate|move to|not (?!worry|forget|get|"
        r"discuss|talk|go)|pick|postpone|publish|put (?!it back|this back|back)|refer|reject|release|remove|"
        r"rename|replace|require|reuse|revert|say that|ship|skip|split|standardi[sz]e|stay with|stick (?:to|with)|"
        r"stop|support|swap|switch|table|use)"
    ),
}

PLANNING_CUES: tuple[CueRow, ...] = (
    CueRow(
        AtomType.DECISION,
        STRONG,
        says=(
            (
                r"\b(?:we|the group|the team|the wg|the cg|everyone|everybody|all) (?:have |had |has |all |just |"
                r"already |also )?(?:agreed?|decided|resolved|settled|concluded|voted|"
                r"chose)\b (?:\w{1,12} )?(?:to|that|on|not|against|upon|for|with)\b"
            ),
        ),
        unless=(
            r"<hedged>",
            (
                r"\b(?:everyone|everybody|all|we) (?:all )?agree (?:that|on|with)\b.{0,60}\b(?:good|nice|bad|"
                r"problem)"
            ),
            r"\bpropos",
            r"\bagree with (?:that|this|it|you|him|her)\b",
            r"\b(?:what|can|could|may|might|will) (?:we|all) (?:can )?agree",
            r"\bwe (?:can|could) agree",
        ),
    ),
    CueRow(
        AtomType.DECISION,
        STRONG,
        says=(
            (
                r"\b(?:consensus|general agreement|agreement|decision|conclusion|resolution|outcome) (?:here |"
                r"there )?(?:is|was|seems to be|appears to be|has been)\b(?! (?:not|no|needed|required|hard|"
                r"unclear|still|pending))"
            ),
            r"\b(?:fair|general|rough|clear|full) (?:consensus|agreement) (?:to|on|that|is)\b",
            r"\b(?:we|seems like we) (?:now )?have consensus (?:to|on|that|around)\b",
            r"\bconsensus(?: here)?: ",
        ),
        unless=(
            r"<hedged>",
            r"\bwhat we have consensus\b",
            r"\bmy conclusion",
            r"\b(?:no|any|more|without|reach|towards?) consensus\b",
            r"\bnice consensus\b",
            r"\bproposed resolution\b",
            r"\bif\b",
        ),
    ),
    CueRow(
        AtomType.DECISION,
        STRONG,
        says=(
            (
                r"\b(?:it(?:'s| is| was| has been)|that(?:'s| is| was)|this (?:is|was)|has been|"
                r"have been) (?:now |already |been )?(?:decided|agreed|settled|approved)\b(?! (?:yet|by))"
            ),
        ),
        unless=(r"<hedged>",),
    ),
    CueRow(
        AtomType.DECISION,
        STRONG,
        says=(
            (
                r"\b(?:let's|lets) (?:just |then |simply |rather |all |please |definitely |"
                r"stay and )?(?:go with\b|go for\b|stick (?:to|with)\b)"
            ),
            r"\bwe(?:'re| are) going (?:with|to go with|for)\b",
            (
                r"\b(?:so|ok|okay|then|yes|right|alright|good|fine)\b[,: -]{1,3}(?:then |so )?we(?:'ll|"
                r" will) (?:just |now |then )?<choose>\b"
            ),
            r"\bwe(?:'ll| will) (?:just |then )?(?:go with|stick (?:to|with))\b",
        ),
        unless=(
            r"<hedged>",
            r"<housekeeping>",
        ),
    ),
    CueRow(
        AtomType.DECISION,
        STRONG,
        says=(
            (
                r"^\W{0,3}(?:(?:ok|okay|yes|right|so)\b[,. ]{1,3})?(?:agreed|decided|settled)[,.;!] {0,2}"
                r"(?:then |so )?"
                r"(?!that\b|this\b|it\b|i\b|you\b|but\b|with\b).{2,60}?\b(?:moves?|stays?|goes|go with|"
                r"ships?|starts?|becomes?|gets|will be|is now|"
                r"we(?:'ll| will| use| keep| drop| move| ship| switch| take| stay))\b"
            ),
            r"\b(?:agreed|decided|settled)[,.;!] {0,2}(?:so )?we(?:'ll| will)? (?:use|keep|drop|move|ship)\b",
            r"\bwe(?:'ve)? (?:have |all )?changed our minds?(?: and|[:;,.] | [-\u2013\u2014]) {0,2}\w",
        ),
        unless=(r"<hedged>", r"\?\W{0,3}$", r"\bagreed,? (?:but|though)\b"),
    ),
    CueRow(
        AtomType.DECISION,
        CHOSEN,
        says=(
            (
                r"\b(?:let's|lets) (?:just |then |simply |rather |please |definitely )?(?:use|adopt|switch to|"
                r"move to|migrate to|keep|stay with|standardi[sz]e on) (?!(?:that|this|it|them|these|those|going|"
                r"moving|talking|discussing|things?|something|in mind|our|your|my|the (?:next|time|"
                r"queue|agenda|discussion|"
                r"call|topic|same))\b)\w"
            ),
        ),
        unless=(r"<hedged>", r"<housekeeping>", r"\?\W{0,3}$", r"\bfor (?:now|example|instance)\b"),
    ),
    CueRow(
        AtomType.DECISION,
        FAIR,
        says=(r"\b(?:let's|lets) (?:just |then |simply |rather |please |definitely )?<choose>\b",),
        unless=(
            r"<hedged>",
            r"<housekeeping>",
        ),
    ),
    CueRow(
        AtomType.REQUIREMENT,
        MODEST,
        says=(
            (
                r"\b(?:need|needs|has|have) to (?:be able to|support|handle|work (?:with|on|in|for|without)|"
                r"be (?:compatible|possible|backwards?))\b"
            ),
            (
                r"\bmust (?:not |also |always |never |at least )?(?:be able|support|handle|work|have|be|use|keep|"
                r"contain|include|return|accept|allow|provide|ensure|preserve|define|specify|match|fit|run|pass)\b"
            ),
            (
                r"\b(?:we|they|clients|users|services|backups) must (?:not |also |always |never )?(?:encrypt|sign|"
                r"store|log|delete|erase|retain|mask|protect|audit|back up|comply|rotate|restrict|"
                r"limit|validate|verify|"
                r"notify|record|archive|anonymi[sz]e|authenticate|separate|document|publish|report)\b"
            ),
            r"\b(?:a|the|one|hard|our|key|main|another) (?:\w{1,12} )?requirement (?:is|was|that|for)\b",
            r"\bwe need (?:a way|some way|support for)\b",
        ),
        unless=(
            r"\bmust (?:have been|be (?:missing|wrong|kidding|something|a (?:bug|mistake|typo)|because|nice))",
            r"\bwe must have\b",
            r"\bmust have (?:missed|forgotten|\w{1,12}ed)\b",
            r"\bdoesn't (?:need|have) to",
            r"\bdon't (?:need|have) to",
            r"\bnot a requirement",
            r"\bno requirement",
            r"\bi must\b",
            r"\bif\b",
            r"\bi(?:'d| would)\b",
            r"\bwe say\b",
            r"\bsays?\b",
            r"\bin rdf\b",
            r"\bmust be\b.{0,30}\bi (?:think|guess)",
        ),
    ),
    CueRow(
        AtomType.IDEA,
        FAIR,
        says=(
            r"\b(?:how about (?!the\b|if\b)|what if (?:we|i|it|the|you)\b)",
            (
                r"\b(?:i|i'd|we|my|i would|\w{2,20}'s) (?:would |'d )?(?:also )?(?:like to )?(?:propose|suggest|"
                r"suggestion(?: is|:)|proposal (?:is|was|would)|idea (?:is|was|would)) "
            ),
            (
                r"\b(?:one|another|an|the other|a third|second) (?:\w{1,12} )?(?:option|alternative|approach|"
                r"possibility|idea|suggestion|proposal) (?:is|was|would|could|might|here)\b"
            ),
            r"^(?:\W{0,3}\w{1,10}\W{1,3})?(?:proposal|suggestion|idea)(?: is|:| would be) ",
        ),
        unless=(
            r"\b(?:not|n't) (?:propos|suggest)",
            r"\bbad idea\b",
            r"\bthe idea (?:is|was) (?:bad|good)",
            r"\bfirst idea\b",
            r"\bno idea\b",
        ),
    ),
    CueRow(
        AtomType.IDEA,
        CANDIDATE,
        says=(
            (
                r"\b(?:maybe|perhaps|alternatively|possibly|otherwise)[, ]{1,2}(?:we|it|the|you|one|i|"
                r"a) (?:\w{1,14} )?(?:should|could|might|can)\b"
            ),
            (
                r"\bwe (?:could|might want to|may want to|could also|could just|could perhaps|should maybe|"
                r"should probably|should consider|should think about) (?:just |also |maybe |always |then |"
                r"simply )?(?!say|see|talk|do that|be\b|have a|discuss)"
            ),
            (
                r"\b(?:we|it|i think you) (?:\w{1,12} )?should (?:just |also |probably |really |definitely |not |"
                r"maybe )?<choose>\b"
            ),
            (
                r"\bi(?:'d| would) (?:rather |just |also )?(?:choose|go (?:with|for)|prefer|vote for|"
                r"be in favou?r of|like (?:to|us to))\b"
            ),
            r"\bi prefer\b",
        ),
        unless=(
            r"\b(?:could|couldn't) (?:not|n't)",
            r"\bsee if we could\b",
            r"\bbefore we could\b",
            r"\bso (?:that )?we could\b",
            r"\bif\b",
            r"\bmailing.?list\b",
            r"\bmaybe (?:i|you) (?:can|could|should) (?:ask|see|try|say)",
        ),
    ),
    CueRow(
        AtomType.ACTION,
        STRONG,
        says=(
            (
                r"\b(?:i'll|i will|i shall) (?:also |then |just |definitely |probably |try (?:and|to) |quickly |"
                r"go (?:and|ahead and) |have to |\w{2,10}ly )?<work>\b"
            ),
        ),
        unless=(
            (
                r"\bi(?:'ll| will) (?:\w{2,10} )?(?:take (?:your|a break|it that|that as|this as|a nap|"
                r"the opposite)|give (?:you )?(?:an example|a brief|it (?:a )?\+|up\b)|start (?:with|by|scrib)|"
                r"try (?:not|again|to (?:explain|be|answer|scribe|say))|point out|put (?:that|it) (?:this|"
                r"another) way|call (?:back|in|you|it)|go (?:over|through)|find (?:it|out)|run (?:out|late)|"
                r"move on|open (?:the|this|it) (?:up )?(?:for|to)|make (?:it|do) )"
            ),
            r"\bif (?:i'll|i will)",
            r"\bscribe\b",
            r"\bi will not\b",
        ),
    ),
    CueRow(
        AtomType.ACTION,
        STRONG,
        says=(
            (
                r"\b(?:i'll|i will) (?:\w{2,10}ly )?(?:do that|do it|do this|do so|handle that|handle it|handle this|"
                r"own that|own it|own this)\b"
            ),
            r"\b(?:i'll|i will|i can) take (?:that|this|the|an?) (?:action|task|one)\b",
            r"\b(?:action item|todo|to-do) (?:for|on|to) \w{2,20}\b",
            r"^\W{0,3}action (?:for|on|to) \w{2,20}\b",
        ),
        unless=(r"\bif (?:i'll|i will)\b",),
    ),
    CueRow(
        AtomType.ACTION,
        FAIR,
        says=(
            (
                r"\b(?:can|could|would|will) (?:you|someone|somebody|anyone|anybody) (?:please |maybe |also |"
                r"then |kindly |possibly )?<work>\b(?! (?:us|it) (?:through|clear)| (?:a )?(?:question|"
                r"an example))"
            ),
            r"\b(?:do|would) you mind (?:\w{2,12}ing)\b",
            r"\b(?:please|pls|plz) (?:also |do |don't forget to |make sure to |remember to )?<work>\b",
        ),
        unless=(
            (
                r"\b(?:can|could|would) you (?:please )?(?:give|describe|provide|find|ask|take us|make (?:a|"
                r"the) case|address (?:that|this)|run (?:us|me)|start scribing)"
            ),
            r"\bscrib",
            r"\bthank",
            r"\bmove on\b",
            r"\bif you (?:can|could)\b",
        ),
    ),
    CueRow(
        AtomType.ACTION,
        WEAK,
        says=(
            (
                r"\b(?:we|someone|somebody) (?:still |really |also |now |just |probably |should |will )?(?:need|"
                r"needs|have|has|ought) to (?:also |still |just |please )?(?:add|announce|ask|book|check|contact|"
                r"create|deploy|document|draft|e-?mail|edit|file|finish|fix|follow up|invite|merge|open|ping|post|"
                r"prepare|publish|raise|release|remove|rename|reply|respond|restart|review|rewrite|schedule|send|"
                r"submit|test|update|upgrade|upload|write)\b"
            ),
            r"\b(?:i'm|i am|we're|we are) (?:going to|gonna) <work>\b",
            (
                r"\b(?:we'll|we will|we should) (?:also |then |just |probably |definitely |try (?:and|"
                r"to) )?(?:get (?:an?|the) e?-?mail|send|ask|contact|ping|e-?mail|announce|invite|schedule|file|"
                r"write (?:up|to|an?)|follow up|prepare|set up|reach out|respond|reply)\b"
            ),
            (
                r"\b(?:let's|lets) (?:just |also |then |please )?(?:send|ask|contact|ping|e-?mail|announce|invite|"
                r"schedule|file|write (?:up|to|an?)|follow up|prepare|set up|reach out|respond|reply|create|test|"
                r"fix|review|update|document)\b"
            ),
        ),
        unless=(
            r"\b(?:not|n't) (?:need|have) to\b",
            r"\bif\b",
            r"\bwhy\b",
            r"\bwhen we\b",
            r"\bwhether\b",
            r"\b(?:what|that|which|how|algorithm|thing|ones?) (?:i'm|we're|i am|we are|we'll|we will) ",
            r"\breview (?:of|the agenda)",
            r"\b(?:ask|asked) (?:ourselves|why)",
        ),
    ),
)
