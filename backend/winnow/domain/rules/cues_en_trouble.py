"""The English cues of what people run into: blockers, problems, risks, solutions, insights."""

from __future__ import annotations

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.grades import FAIR, STRONG, CueRow

TROUBLE_CUES: tuple[CueRow, ...] = (
    CueRow(
        AtomType.BLOCKER,
        STRONG,
        says=(
            (
                r"\b(?:blocked (?:on|by|until|because)|blocking (?:us|me|the|our|this)|(?:is|are|as) a blocker|"
                r"(?:a )?blocker for|show-?stopper|roadblock)\b"
            ),
            (
                r"\b(?:can't|cannot|can not|couldn't|unable to) (?:\w{1,10} )?(?:proceed|continue|move (?:forward|"
                r"on|to)|go (?:ahead|forward|to)|publish|release|ship|merge|deploy|progress|start|"
                r"finish)\b.{0,80}\b(?:until|without|because|unless|before|since)\b"
            ),
        ),
        unless=(
            r"\bwant to be block",
            r"\b(?:not|isn't|no longer|non-?) ?(?:a |really a )?block",
            r"un-?block",
            r"blocking (?:call|i/?o|code|io)",
            r"\bad ?block",
            r"not a show",
            r"don't (?:see|think).{0,40}block",
        ),
    ),
    CueRow(
        AtomType.BLOCKER,
        FAIR,
        says=(
            (
                r"\b(?:still )?waiting (?:for|on) .{3,80}\b(?:before|to (?:finish|land|reply|respond|approve|"
                r"merge|publish|decide)|so (?:that )?we)\b"
            ),
        ),
    ),
    CueRow(
        AtomType.PROBLEM,
        STRONG,
        says=(
            (
                r"\b(?:doesn't|does not|don't|do not|didn't|did not|won't|isn't|is not|not|never|stopped|"
                r"stops) (?:seem to |appear to |really |actually |quite |currently )?(?:work|working|works|"
                r"compile|build|boot|load|render|respond|start)\b(?! (?:on (?:it|that|this)|for (?:a|the)\b|"
                r"with the))"
            ),
            (
                r"\b(?:is|are|was|were|seems|looks|got|gets|completely|currently|still) (?:\w{1,12} )?(?:broken|"
                r"buggy|down again|corrupt(?:ed)?)\b"
            ),
            (
                r"\b(?:there(?:'s| is| are| was| were| seems to be)|found|have|hit|seeing|noticed|got) (?:a |an |"
                r"some |another |still |\w{1,8} )?(?:\w{1,14} )?(?:bugs?|regressions?|crash(?:es)?|memory leaks?|"
                r"deadlocks?|race conditions?)\b"
            ),
        ),
        unless=(
            r"\bstop(?:s|ped)? working (?:on|for|with|at)\b",
            r"\b(?:no|not a|isn't a|any) (?:\w{1,12} )?(?:bug|problem|issue)",
            r"n't (?:find|found|seen?|have|had) (?:\w{1,8} ){0,2}bug",
            r"\bif (?:it|that|this|you|the)\b.{0,60}(?:work|broken)",
            r"\b(?:should|may|might|could|would|must) (?:not|be)\b",
            r"\bfixed\b",
            r"\bfind bugs\b",
            r"\bdebug",
            r"bug ?(?:report|tracker|list)",
            r"\bnot (?:start|load) (?:with|from)\b",
            r"\bnot working (?:group|on)\b",
        ),
    ),
    CueRow(
        AtomType.PROBLEM,
        STRONG,
        says=(
            (
                r"\b(?:issue|problem|trouble|difficulty|bug|catch|downside|drawback|challenge|concern) (?:here |"
                r"there |now |i have |i had |we have |we had |i see |we saw |with \S{1,30} |"
                r"with \S{1,30} \S{1,30} |of course )?(?:is|was|being)\b (?!not\b|fixed|resolved|solved|closed|"
                r"what\b|how\b|about\b|whether)"
            ),
            (
                r"\b(?:i(?:'m| am)|we(?:'re| are)|\w{2,20} (?:is|was)) (?:\w{1,10} )?(?:concerned|unhappy|"
                r"not happy|uncomfortable|not comfortable) (?:that|about|with|by)\b"
            ),
            (
                r"\b(?:has|have|had|having|ran into|run into|runs into|hit|see|causes?|caused|creates?) (?:a |an |"
                r"some |several |many |big |serious )?(?:\w{1,12} )?(?:problems?|trouble|difficult(?:y|"
                r"ies)) (?:with|when|that|because|in|if|here|:)"
            ),
        ),
        unless=(
            r"\b(?:no|not a|not an|any|isn't a|isn't an) (?:\w{1,12} )?(?:problem|issue|concern|trouble)",
            r"n't (?:see|have|had|think|be) (?:\w{1,8} ){0,2}(?:problem|issue|concern|trouble)",
            r"\bissue is (?:found|raised|created|filed|open|closed|here|there)",
            r"\bno longer\b",
            r"\bnot (?:really )?concerned",
            r"\bproblem is (?:solved|fixed|gone)",
            r"\bthe issue is (?:closed|resolved|on|at|open)",
            r"\bif\b",
        ),
    ),
    CueRow(
        AtomType.PROBLEM,
        FAIR,
        says=(
            (
                r"\b(?:fails|failing|failed|crash(?:es|ed)|hangs|freezes|blew up|blows up|times? out|timed out|"
                r"segfaults?|breaks|broke)\b (?:with|to|when|on|if|because|due|after|for|in|at|the|our|my|all|"
                r"every)\b"
            ),
            (
                r"\b(?:get|gets|getting|got|gives?|throws?|seeing|returns?) (?:an? |the |this |some |me an? |"
                r"\w{1,6} )?(?:\w{1,20} )?(?:error|exception|traceback|segfault|timeout)s?\b"
            ),
            (
                r"\b(?:can't|cannot|could not|couldn't|unable to) (?:\w{1,10} )?(?:parse|load|open|connect|"
                r"install|boot|start|access|find|mount|reproduce|build|compile|read|log ?in|reach|round-?trip)\b"
            ),
        ),
        unless=(
            r"\bif (?:it|that|this|you|we|the|a)\b",
            r"\bshould\b",
            r"\bwould\b",
            r"\bmust\b",
            r"\berror (?:handling|code|message text)",
            r"\bno errors?\b",
            r"\bneeds? to\b",
            r"\bwhen it fails\b",
            r"\bfixed\b",
            r"\bthrow an error",
            r"\braise an",
            r"\bcan't find (?:my|the link|that link)",
        ),
    ),
    CueRow(
        AtomType.RISK,
        FAIR,
        says=(
            (
                r"\b(?:the|a|some|one|big|another|real|high) (?:\w{1,12} )?(?:risk|danger) (?:is|of|that|here|"
                r"with|in|to|with)\b"
            ),
            r"\b(?:risky|dangerous) (?:to|because|if|since|for)\b",
            (
                r"\b(?:i(?:'m| am)|we(?:'re| are)|bit|\w{2,20}(?:'s| is)) (?:\w{1,10} )?(?:worried|afraid|scared|"
                r"nervous) (?:that|about|of|we|it|this|if)\b"
            ),
            (
                r"\b(?:might|may|could|would|will|going to) (?:\w{1,10} )?(?:break|blow up|backfire|corrupt|"
                r"destabili[sz]e|leak|bite us)\b"
            ),
            r"\b(?:security )?vulnerab(?:le|ility|ilities)\b",
        ),
        unless=(
            r"\bat[- ]risk\b",
            r"\b(?:no|low|little|not a) (?:\w{1,10} )?risk",
            r"\bnot (?:worried|afraid|risky|dangerous)",
            r"\bi(?:'m| am) afraid (?:not|i)\b",
            r"\bbreak (?:out|into|up|it (?:up|down))\b",
            r"\bfixed\b",
            r"\bwouldn't break\b",
        ),
    ),
    CueRow(
        AtomType.SOLUTION,
        STRONG,
        says=(
            (
                r"\b(?:the|a|one|an easy|a possible|best|simple|quick|my) (?:\w{1,12} )?(?:fix|work-?around|"
                r"solution|cure) (?:for \S{1,30} |for \S{1,30} \S{1,30} |here |to \S{1,30} \S{1,30} )?(?:is|was|"
                r"would be|will be|could be)\b"
            ),
            (
                r"\b(?:fixed|solved|resolved|mitigated|worked around) (?:it|this|that|the \S{1,30}|"
                r"the \S{1,30} \S{1,30}|by|with|in)\b"
            ),
            r"\b(?:i|we|he|she|they) (?:have |just |already |now |'ve )?(?:fixed|solved|worked around)\b",
            r"\bwork-?around(?: is)?: ",
        ),
        unless=(
            r"\bif\b",
            (
                r"\b(?:not|n't|never|needs? to be|should be|to be|must be|will be|can be|could be|"
                r"be) (?:\w{1,10} )?(?:fixed|solved|resolved)"
            ),
            r"\bwould (?:have|like)\b",
            r"\bwe (?:have )?resolved to\b",
            r"\bwhich is fixed\b",
            r"\bresolved (?:by|against|in|with|the)\b",
            r"\bsolution (?:is|was) (?:needed|required)",
            r"\bfixed (?:in|with) the\b",
            r"\b(?:good|nice|right|elegant|ideal) solution\b",
        ),
    ),
    CueRow(
        AtomType.INSIGHT,
        FAIR,
        says=(
            r"\b(?:it )?(?:turns|turned) out (?:that |to |the |we |it |there )",
            (
                r"\b(?:i|we) (?:just |now |recently |'ve |have |also |later |finally )?(?:reali[sz]ed|discovered|"
                r"learn(?:ed|t)|noticed|figured out|found out|found that) (?!a bug|some bugs)"
            ),
            r"\b(?:the )?lessons? learn(?:ed|t)\b",
            r"\b(?:the )?root cause\b",
            (
                r"\bthe (?:main |real |only |key )?(?:reason|point|difference|advantage|benefit) (?:here |"
                r"for (?:this|that) |i \w{1,10} \w{1,10} |of \S{1,30} |we \w{1,10} \w{1,10} )?(?:is|was)\b"
            ),
        ),
        unless=(
            r"\bif\b",
            r"\bwhat(?:'s| is| was) the (?:reason|difference|point)",
            r"\bthe point is not\b",
        ),
    ),
)
