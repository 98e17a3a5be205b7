"""What a generator's reply says: one instruction, or why it is none. Pure.

Models refuse politely, announce what they write, number or quote it, and offer more of it. Each
rule asks for words about the instruction itself: a letter's "let me know" is no offer.
"""

import re
from collections.abc import Sequence

# --- refusals ----------------------------------------------------------------------------------

_UNABLE = (
    r"(?:can(?:['\u2019]t|not| not)|won['\u2019]t|will not|am (?:unable|not able) to"
    r"|['\u2019]m (?:unable|not able) to|must decline to|have to decline to"
    r"|(?:['\u2019]d| would) rather not)"
)
_ACT = (
    r"(?:help|assist|fulfil+|comply|create|generate|write|provide|rewrite|produce|complete|process"
    r"|engage|continue|support|respond|answer|proceed|offer)"
)
_OBJECT = (  # of a refusal: the request, or the instruction that was asked for
    r"(?:(?:you\s+)?(?:with|to)\s+(?:this|that|your|creating|writing|it|such)\b|you\s?[.!,]"
    r"|(?:this|that|such)\s?(?:[.!,]|$|(?:an?\s+)?(?:kind|type|sort|request|instruction|prompt|task|content))"
    r"|(?:the|your|an?|any|new)\s+(?:\w+\s+){0,3}?(?:instruction|prompt|request|content)s?\b)"
)
_REFUSAL = re.compile(
    r"\W*(?:(?:(?:I['\u2019]m|I am)\s+(?:very\s+|really\s+)?sorry|sorry|I apologi[sz]e|apologies"
    r"|my apologies|unfortunately|regrettably)\W{1,3}(?:but\s+|however,?\s+)?"
    r"|I(?:['\u2019]d| would) (?:be happy|love|like) to (?:help|assist)\W{1,3}but\s+"
    r"|I (?:appreciate|understand)\s[^.\n]{0,60}?\bbut\s+"
    r"|thank(?:s| you) for [^.!\n]{0,40}[.!]\s+(?:however,?\s+|but\s+|unfortunately,?\s+)?)?"
    rf"(?:(?:I|we)\s?{_UNABLE}\s+{_ACT}\s+{_OBJECT}"
    rf"|I\s?{_UNABLE}\s+do\s+(?:this|that)\W*$"
    r"|I\s(?:must|have to|will have to)\s+(?:respectfully |politely )?decline"
    r"(?:\W*$|\s+(?:this|your) request)"
    r"|(?:this|that)(?:['\u2019]s| is) not something (?:that )?I\b"
    r"|(?:this|that|it)\s+(?:goes against|violates)\s+(?:\w+\s+){0,3}"
    r"(?:guidelines|polic(?:y|ies))\b"
    r"|(?:request\s+)?(?:refused|declined|denied)\W*$"
    r"|(?:this|that|the|your)\s+(?:request|instruction|prompt|topic|content)\s+"
    r"(?:goes against|violates|is against|conflicts with)"
    rf"|as an? (?:AI|artificial|large)\b[^.\n]{{0,40}}I\s?(?:{_UNABLE}|do not|don['\u2019]t)\b"
    r"|(?:it (?:seems|looks like|appears)(?: that| as if)?|I (?:notice|see) that)\s[^.\n]{0,60}"
    r"\b(?:instruction|input|prompt|request|message)\b[^.\n]{0,40}"
    r"(?:empty|missing|cut off|incomplete|not (?:been )?(?:provided|included|given))"
    r"|(?:please|could you(?: please)?|can you(?: please)?)\s+(?:provide|share|send|paste)\s+"
    r"(?:me\s+)?(?:with\s+)?(?:the|your)\s+(?:\w+\s+)?(?:instruction|prompt)\b)",
    re.IGNORECASE,
)
_REFUSAL_ELSEWHERE = re.compile(  # in other languages
    r"\W*(?:(?:Es tut mir leid|Tut mir leid|Entschuldigung)\W{1,3}(?:aber\s+)?[^.\n]{0,40}"
    r"\bnicht\s+(?:helfen|erf\u00fcllen|erstellen|schreiben|unterst\u00fctzen|nachkommen)"
    r"|(?:Je suis d\u00e9sol\u00e9e?|D\u00e9sol\u00e9e?)\W{1,3}(?:mais\s+)?"
    r"je ne (?:peux|suis)\s+pas\b"
    r"|Lo siento\W{1,3}(?:pero\s+)?no puedo\s+"
    r"(?:ayudar|cumplir|crear|generar|escribir|proporcionar)"
    r"|(?:Desculpe|Sinto muito)\W{1,3}(?:mas\s+)?n\u00e3o posso\s+(?:ajudar|atender|criar|escrever)"
    r"|Mi dispiace\W{1,3}(?:ma\s+)?non posso\s+(?:aiutar|soddisfare|creare|scrivere)"
    r"|(?:\u6211?(?:\u5f88|\u975e\u5e38)?\u62b1\u6b49|\u5bf9\u4e0d\u8d77)\W{1,2}(?:\u4f46)?\u6211(?:\u65e0\u6cd5|\u4e0d\u80fd)"
    r"|\u7533\u3057\u8a33\u3042\u308a\u307e\u305b\u3093)",
    re.IGNORECASE,
)

# --- words around an instruction ---------------------------------------------------------------

_KIND = r"(?:instruction|prompt|task|question|request|one|example)"
_NEW = r"(?:new|created|rewritten|generated|rarer?|another|different|similar|harder|alternative)"
_AGREED = (
    r"(?:(?:sure(?: thing)?|certainly|of course|okay|ok|absolutely|alright|got it|understood|great)"
    r"\s?[!.,]\s*)"
)
_ANNOUNCED = (
    r"(?:here(?:['\u2019]s|\s+is|\s+are)|below is|this is"
    r"|I(?:['\u2019]ve| have) (?:written|created|made))"
    r"\s+(?:an?\s+|the\s+|my\s+|your\s+)?"
)
_MORE = (
    r"(?:\s+(?:for|in|of|that|which|based|from|with|similar|inspired|within|on)\b[^\n:]{0,100})?"
)
_PREFACES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # announced as new, or agreed to; else on a line of its own
        rf"\W*{_AGREED}?{_ANNOUNCED}(?:\w+\s+){{0,2}}?{_NEW}\s+(?:\w+\s+){{0,2}}?{_KIND}{_MORE}\s*:\s*",
        rf"\W*{_AGREED}{_ANNOUNCED}(?:\w+\s+){{0,3}}?{_KIND}{_MORE}\s*:\s*",
        rf"\W*{_AGREED}?{_ANNOUNCED}(?:\w+\s+){{0,3}}?{_KIND}{_MORE}\s*[.:]?\s*\n+",
        rf"\W*{_AGREED}\n+",
        # a label: new, on a line of its own, or plain with a colon; also with the code of a mark
        rf"\W*(?:the\s+)?{_NEW}\s+{_KIND}(?:\s+[0-9a-f]{{8}})?\s?(?:[*_#\])]*:[*_]*\s*|[*_#\])]*\n+)",
        r"\W*(?:instruction|prompt|task)(?:\s+[0-9a-f]{8})?\s?(?:[*_#\])]*:[*_]*\s+|[*_#\])]*\n+)",
    )
)
_OFFER = re.compile(
    r"(?:(?:please\s+)?(?:let me know|feel free)|would you like|do you want|shall I"
    r"|if you(?:['\u2019]d|\s+would)?\s+(?:like|need|want))\b[^\n]{0,80}"
    r"\b(?:another|more|instructions?|prompts?|tasks?|changes|adjust\w*|modif\w+|revis\w+|generate|different)\b[^\n]*"
    r"|I hope (?:this|that|it)(?:\s+(?:new\s+)?(?:instruction|prompt|task))?\s+"
    r"(?:helps|works|meets|fits)\b[^\n]*"
    r"|[(*_\[]*(?:note|explanation|rationale|reasoning)\b[^\n]*"
    r"\b(?:instruction|prompt|given|original|rarer|domain)\b[^\n]*"
    r"|[(*_\[]*this (?:new )?(?:instruction|prompt|task) "
    r"(?:is|requires|remains|keeps|stays|maintains|has|involves|focuses|belongs)\b[^\n]*"
    r"|\W*end(?:\s+[0-9a-f]{8})?\W*|-{3,}",
    re.IGNORECASE,
)
_MARK_AT_END = re.compile(r"(?:\n[^\w\n]{0,8}end\s+[0-9a-f]{8}[^\w\n]{0,8})+\Z", re.IGNORECASE)
_FENCE = re.compile(r"(`{3,}|~{3,})\w*\n(.*?)\n\1", re.DOTALL)
_WRAPPED = re.compile(
    r'"([^"]+)"|\u201c([^\u201c\u201d]+)\u201d|\u00ab\s?([^\u00ab\u00bb]+?)\s?\u00bb|\u201e([^\u201e\u201c]+)\u201c'
    r"|\*\*((?:(?!\*\*).)+)\*\*|__((?:(?!__).)+)__",
    re.DOTALL,
)
_ITEM = re.compile(r"(?:(?P<number>\d{1,2})[.)]|[-*\u2022])\s+")
_NTH = re.compile(
    r"^[^\w\n]*(?:(?:new|created|rewritten)\s+)?(?:instruction|prompt|task)\s+#?\d{1,2}\b\W{0,4}[:\n]",
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER = re.compile(
    r"^[^\w\n]*(?:output|response|answer)\b[*_]*\s?:", re.IGNORECASE | re.MULTILINE
)


def instruction_of(reply: str) -> str:
    """Return the instruction of a reply, without what the model says about it."""
    text = reply.strip()
    for _ in range(3):  # a model agrees, announces and labels
        before = text
        for preface in _PREFACES:
            text = preface.sub("", text, count=1) if preface.match(text) else text
        text = _without_offers(_unwrapped(text.strip()))
        if text == before:
            break
    return text


def refuses(reply: str) -> bool:
    """Say whether a reply declines, or asks for the instruction that it was given."""
    return any(pattern.match(reply) for pattern in (_REFUSAL, _REFUSAL_ELSEWHERE))


def holds_several(reply: str) -> bool:
    """Say whether a reply holds several instructions, or an instruction and its answer."""
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    if len(_NTH.findall(reply)) > 1 or _is_numbered_list(lines):
        return True
    return any(preface.match(reply) for preface in _PREFACES) and bool(_ANSWER.search(reply))


def _is_numbered_list(lines: Sequence[str]) -> bool:
    items = [_ITEM.match(line) for line in lines]
    numbers = [item["number"] for item in items if item is not None]
    return len(lines) > 1 and numbers == [str(number) for number in range(1, len(lines) + 1)]


def _without_offers(text: str) -> str:
    """Return `text` without paragraphs and marks at its end that speak of the instruction."""
    for gap in reversed(list(re.finditer(r"\n[ \t]*\n", text))):
        lines = text[gap.end() :].strip().splitlines()
        if not all(map(_OFFER.fullmatch, lines)):
            break
        text = text[: gap.start()]
    return _MARK_AT_END.sub("", text).strip()


def _unwrapped(text: str) -> str:
    """Return `text` without a fence, quotation marks, bold or a bullet around all of it."""
    fence = _FENCE.fullmatch(text)
    if fence is not None:
        return fence[2].strip()
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped is not None:
        return str(next(filter(None, wrapped.groups()))).strip()
    item = _ITEM.match(text)
    single = item is not None and "\n" not in text and item["number"] in (None, "1")
    return text[item.end() :] if item is not None and single else text
