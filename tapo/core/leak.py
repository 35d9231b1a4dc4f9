"""Whether a constructed text speaks of what only the construction prompt showed."""

import re

_GOOD = r"(?:correct|right|reference|official|model|sample|expected|ground[- ]truth)"
_BAD = r"(?:wrong|incorrect|flawed|erroneous|failed|faulty)"
_SHOWN = r"(?:given|provided|shown|supplied|presented|attached)"
_OTHER = r"(?:other|second|sibling|alternative)"
_WORK = r"(?:solutions?|attempts?|responses?|rollouts?|answers?|work(?:ing)?|write-?up|derivation)"
_SOURCE = r"(?:solution|attempt|response|rollout|answer|derivation|write-?up)"
_SAYS = (
    r"(?:(?:says?|states?|gives?|gets?|uses?|takes?|obtains?|finds?|proceeds?|subtracts?|adds?|divides?|counts?|treats?"
    r"|handles?|arrives?|reaches|concludes?|begins?|starts?|assumes?|computes?|applies|splits|sets|goes|does|has|shows?)\b"
    r"(?!\s+up\b)|(?:used|took|said|gave|got|found|made|had|did|went|\w+ed)\b(?!\s+(?:to\s+be|set)\b)"
    r"|multipl\w+|instead\b)"
)
_SEES = (
    r"(?:look(?:ing)?\s+(?:back\s+)?at|compar(?:e|ed|ing)(?:\s+\w+){0,3}?(?:\s+(?:to|with|against))?|check(?:ing|ed)?"
    r"(?:\s+\w+){0,2}\s+against|against|according\s+to|as\s+(?:in|per|shown\s+(?:in|by)|noted\s+in|seen\s+in)|per|based\s+on"
    r"|following|unlike|from|in|see(?:n)?\s+(?:in|from))"
)

_ENGLISH = rf"""
    \b(?:
        # the prompt's own names for things
        reference\s+(?:solution|answer|response|rollout)
      | (?:according\s+to|per|as\s+in|in)\s+the\s+(?:reference|answer\s+key)\b(?!\s+(?:frame|point|angle|triangle|system|line))
      | (?:answer|solution)\s+key
      | ground[- ]truth
      | first\s+critical\s+error | critical\s+error\s+(?:in|of)\s+(?:the|my|this)
      | sibling\s+{_WORK} | rollouts?
      | (?:model|sample|official|expert|teacher(?:'s)?|textbook)\s+solution
      | as\s+(?:instructed|requested)
      | the\s+(?:user|prompt)\s+(?:says|said|told|tells|states|gave|provided)
      | the\s+(?:reconstruction|reconstructed)\b
      | (?:as\s+noted\s+)?in\s+the\s+analysis\b(?!\s+(?:of|for)\b)
        # an attempt as a thing
      | my\s+(?:(?:previous|earlier|prior|original|initial|old|first|last|own)\s+)?attempt(?!\s+(?:at|to)\b|s\b)
      | the\s+(?:(?:previous|earlier|prior|original|initial|old)\s+)?attempt(?!\s+(?:at|to|fails|of)\b|s\b)
        (?:\s+above)?(?='s\b|\s*(?:[:,.;)]|was|is|had|has|says|said|incorrectly|wrongly|concluded|got|made|ignored|missed|dropped
        |stops|stopped|took|assum|comput|used|treat|above|so\s+that|multipl|reach|went|goes|failed\s+to))
      | (?:rewrite|copy|correct|mend|fix|redo)\s+(?:the|my)\s+attempt
      | (?:my|the|this|that)\s+{_BAD}\s+(?:attempt|response|rollout)
      | the\s+{_BAD}\s+solution\s+(?:goes|{_SAYS})
      | (?:both|two)\s+attempts\s+(?:agree|differ)
      | this\s+attempt\s+(?:is|was)\s+(?:wrong|incorrect)
      | my\s+(?:previous|earlier|prior|original|initial|last)\s+(?:solution|response)
      | the\s+(?:previous|earlier|prior|original|initial)\s+(?:response|solution\s+{_SAYS}|attempt\b)
        # a solution that was shown
      | provided\s+(?:\w+\s+)?(?:solution|response|attempt|answer)(?!\s+(?:choices?|options?|contains?\s+\d))
      | (?:{_GOOD}|{_OTHER}|{_BAD})\s+(?:solution|attempt|response|answer|approach)\s+(?:that\s+|which\s+)?
        (?:(?:was|is)\s+|i\s+(?:was|have\s+been|am|got)\s+)?(?:{_SHOWN}|above|below)(?!\s+(?:the|that|these|this|an?|by)\b)
      | (?:solution|attempt|response|answer)\s+(?:that\s+)?(?:(?:was|is)\s+)?{_SHOWN}\s+
        (?:above|below|to\s+(?:me|us)|here|uses|says|has|is|begins)
      | (?:solution|attempt|response|answer)\s+(?:that\s+|which\s+)?(?:i|we)\s+(?:was|were|am|are|have\s+been)\s+{_SHOWN}
      | the\s+given\s+(?:{_GOOD}\s+)?(?:solution|answer|response|attempt)\s+{_SAYS}
      | given\s+{_GOOD}\s+(?:solution|answer|response)
      | the\s+(?:correct|right)\s+(?:solution|response|attempt|rollout|approach)\s+{_SAYS}
      | the\s+(?:correct|right)\s+(?:solution|response)\s+(?!(?:is|are|was|to|of|for|set|must|should|would|will|can|could|may
        |might|has\s+to|in|on|at|here|rate|and|or|only|exists?|lies|depends|satisfies|consists|equals|becomes|follows|requires|needs|if|when|by|from|then|that|which|as\s+[a-z]\b)\b)[a-z]{{3,}}\b
      | (?:us(?:ing|e)|with|from|to|than)\s+the\s+(?:correct|right|given|provided)\s+(?:solution|response)\b(?!\s+(?:to|of|for|set|y|x)\b)
      | read(?:ing)?\s+the\s+(?:correct|right|given|provided)\s+(?:solution|response|answer)\b
      | given\s+(?:a|the)\s+(?:solution|response)\s+(?:that|which)\s+(?:reaches|is\s+right|is\s+correct|gets)
      | the\s+(?:sample|reference)\s+answer | the\s+reference\s+{_SAYS}
      | (?:correct|right|sibling)\s+(?:rollout|attempt)
      | the\s+(?:other|sibling|alternative)\s+(?:response|attempt|rollout)\b(?!\s+variable)
      | (?:as|since|because|given\s+that|knowing\s+that)\s+the\s+(?:correct|right|true)\s+answer\s+(?:is|was|should\s+be)\b
      | the\s+analysis\s+(?:above|below|says|shows\s+the\s+error)
      | the\s+(?:{_OTHER})\s+solution\s+(?:gets|uses|says|shows|which\s+is\s+right|,\s*which\s+is\s+(?:right|correct))
      | {_SEES}\s+(?:the|this)\s+(?:(?:correct|right|given|other|provided)\s+)+(?:solution|response|attempt)
      | {_SEES}\s+the\s+(?:correct|right|given|expected)\s+answer\b
      | compar\w+\s+the\s+(?:two|both)\s+(?:solutions|attempts|answers|responses)
      | solution\s+(?:above\s+|here\s+)?(?:that|which)\s+is\s+(?:right|correct)\b
      | the\s+given\s+answer\s+(?:is|says)
      | (?:correct|right)\s+answer\s+(?:says|states|shows(?!\s+up)|uses|does|given(?=\s*(?:[.,:;]|is|as|in\s+the\s+solution|to\s+me|above)))
      | (?:correct|right)\s+answer\s+(?:is|was)\s+(?:given|provided|shown|supplied)
      | the\s+expected\s+answer\s+(?:is|was|says)\b(?!\s+(?:an?|the|in|not)\b)
      | (?:i\s+was\s+told|(?:the\s+)?(?:problem|prompt|task)\s+(?:says|tells\s+me|states))\s+(?:that\s+)?(?:this|my|the)\s+
        (?:attempt|answer|solution|response)
    )
    | \bthe\s+second\s+solution\s*,\s*which\s+is\s+(?:right|correct)
"""

_CHINESE = r"""
    参考(?:答案|解答|解法|解)|标准(?:答案|解答|解法)|(?:对照|根据|按照|参照|参考|比较|对比|依照|从)(?:\w{0,6}?)正确(?:的)?(?:答案|解答|解法|解)
  | (?:给出|给定|提供|展示)的(?:正确)?(?:的)?(?:答案|解答|解法|解)(?!集)|正确(?:的)?(?:解法|解答)(?:中|里|使用|采用|用的|说|指出|是先|先)
  | (?:与|和|同|跟)(?:\w{0,4})正确(?:的)?(?:答案|解答|解法)(?:相比|比较|对比|对照|不同|不符|不一致)
  | (?:我|之前|先前|前面)的?(?:之前的?|先前的?|错误的?|上一?次的?|前一?次的?)?(?:尝试|解答)|错误的(?:尝试|解答)|第一个关键错误|另一个(?:正确的?)?解答
"""

_JAPANESE = r"""
    模範解答|参考解答|正解の解答|(?:正しい|与えられた|示された|提示された|別の)解答(?:では|によ|を見|と比|の通り|に従)|(?:前回|以前)の(?:解答|試み)|誤った解答(?:では|は)
"""

_KOREAN = r"""
    모범\s?답안|참고\s?(?:답안|풀이|해답)|(?:주어진|제시된|올바른|정확한)\s?(?:풀이|해답|답안)(?:에서|에\s?따르|를\s?보|와\s?비교)|이전\s?(?:시도|풀이|답안)
"""

_EUROPEAN = r"""
    \b(?:
        musterlösung\w* | (?:vorgegebene|angegebene|gezeigte|bereitgestellte|mitgelieferte)n?\s+(?:richtige\w*\s+|korrekte\w*\s+)?
        (?:lösung|antwort)
      | (?:in|laut|nach|gemäß|wie\s+in|mit|von|aus|gegenüber)\s+der\s+(?:richtigen|korrekten|anderen)\s+(?:lösung|antwort)
      | (?:vergleich|vergleicht|vergleiche|vergleichen)\b.{0,20}\b(?:zur|mit\s+der)\s+(?:\w+\s+)?(?:lösung|antwort)
      | (?:mein|der)\s+(?:vorheriger?|früherer?|erster?|voriger?|falscher?)\s+(?:lösungs)?versuch
      | (?:la\s+)?(?:solution|réponse)\s+(?:de\s+référence|fournie|proposée|qui\s+m['’]a\s+été)
      | (?:dans|selon|d['’]après|comme\s+dans)\s+la\s+(?:bonne|solution|réponse)\s*(?:solution|réponse|correcte|juste|donnée)
      | ma\s+tentative | (?:la\s+)?tentative\s+(?:précédente|erronée|incorrecte) | corrigé\s+type
      | (?:solución|respuesta)\s+(?:correcta\s+)?(?:de\s+referencia|proporcionada|dada|mostrada)
      | (?:en|según|como\s+en)\s+la\s+(?:solución|respuesta)\s+correcta
      | mi\s+(?:intento|respuesta\s+anterior|solución\s+anterior)
      | (?:solução|resposta|soluzione|risposta)\s+(?:de\s+referência|fornecida|mostrada|di\s+riferimento|fornita)
      | (?:na|segundo\s+a|conforme\s+a)\s+(?:solução|resposta)\s+correta | minha\s+tentativa
      | (?:nella|secondo\s+la|come\s+nella)\s+(?:soluzione|risposta)\s+corretta | (?:il\s+)?mio\s+tentativo
      | (?:in|volgens|zoals\s+in)\s+(?:de|het)\s+(?:juiste|correcte|gegeven)\s+(?:oplossing|antwoord) | mijn\s+(?:vorige\s+)?poging
      | (?:в|согласно|как\s+в)\s+(?:правильн\w+|верн\w+|эталонн\w+|приведённ\w+)\s+(?:решени\w+|ответ\w+)
      | (?:эталонн\w+|предоставленн\w+)\s+(?:решени\w+|ответ\w*) | мо\w+\s+(?:предыдущ\w+|прошл\w+)\s+(?:попытк\w+|решени\w+)
    )\b
"""

_LEAK = re.compile("|".join((_ENGLISH, _EUROPEAN, _CHINESE, _JAPANESE, _KOREAN)), re.IGNORECASE | re.VERBOSE)

_STEMS = (
    *("solution", "approach", "attempt", "respon", "answer", "rollout", "reference", "ground", "critical error", "instruct"),
    *("request", "reconstruct", "analysis", "lösung", "antwort", "versuch", "réponse", "tentati", "corrigé", "soluci"),
    *("respuesta", "intento", "soluç", "resposta", "soluzion", "rispost", "oplossing", "poging", "решени", "ответ"),
    *("попытк", "答", "解", "尝试", "关键错误", "試み", "풀이", "답안", "시도", "derivation", "write"),
)
"""Every leak holds one of these."""

_AROUND = 90
"""Characters around a stem that a leak may take up."""


def find_leak(text: str) -> str | None:
    """The first words that speak of a solution, an attempt or instructions that were shown; None if none do.

    Own steps ("my previous calculation"), tries of the mathematics ("a first attempt at factoring") and answers and
    solutions in their mathematical sense ("the correct answer is 12") are no leak.
    """
    # The stems cost a hundredth of the pattern, and most of a solution holds none.
    end = 0
    for at in _stems(text.lower()):
        if at < end:
            continue
        end = at + _AROUND
        if match := _LEAK.search(text, max(at - _AROUND, 0), end):
            return match[0]
    return None


def _stems(text: str) -> list[int]:
    found = []
    for stem in _STEMS:
        at = text.find(stem)
        while at >= 0:
            found.append(at)
            at = text.find(stem, at + len(stem))
    return sorted(found)
