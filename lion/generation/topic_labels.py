"""Topic labels of instructions, of one or two words. Pure; equal texts have equal labels.

`verb noun` where an English instruction, or its last sentence, begins with a verb of the list
(`write poem`) or a question word (`how plant`); else the script (`Han`, `Latin`). Self-instruct
(Wang et al. 2023, figure 3) parses the root verb and its object; a list of verbs and the position
of the noun approximate that. Labels of clusters would depend on the pool, so two pools could not be
compared. The labels serve counts and the balanced choice of parents only.
"""
# ruff: noqa: SIM905 - long lists of words are easier to read as text

from itertools import islice

import regex
from msgspec.structs import replace

from lion.records.rows import Instruction

_VERBS = frozenset(
    """
    add advise analyse analyze answer arrange ask assess assign brainstorm build calculate
    categorise categorize change check choose cite classify combine compare complete compose
    compute construct continue convert correct count craft create critique debug decide define
    delete derive describe design detect determine develop devise diagnose discuss divide draft
    draw edit elaborate estimate evaluate examine expand explain extract fill filter find fix
    format formulate generate give guess help identify illustrate imagine implement improve
    infer interpret introduce invent judge label list locate make match mention modify multiply
    name narrate offer order organise organize outline paraphrase parse perform pick plan play
    predict prepare present produce propose prove provide rank rate read rearrange recommend
    reformulate rephrase replace reply report research respond retrieve return reverse review
    revise rewrite roleplay role-play schedule score select sell share show shorten simplify
    simulate sketch solve sort specify split start state subtract suggest summarise summarize
    tag take tell test think transcribe transform translate turn update use verify visualise
    visualize write
    """.split()
)
_QUESTIONS = frozenset("how what when where which who whom whose why".split())
_POLITE = frozenset("please kindly now first then can could would will you i want need to".split())
_BEFORE_NOUN = frozenset(
    """
    a all an another any at both each every her his i if is it its me most my of one our out
    several some that the their them these this those three two up us you your are be do does
    did can could should would will was were has have had for with as in into on
    """.split()
)
_AFTER_NOUN = frozenset(
    """
    about after against and are as at based because before between but by can could do does for
    from given has have if in into is like of on or over should so such than that to under use
    used using was were when where which while who will with within without would
    """.split()
)
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}'\u2019-]*|[.,;:!?()\"\u201c\u201d\n]")
_READ, _WORDS = 200, 14  # characters and words that are read at the start and at the end
_CLOSING = ' \t\r\n.!?"\u201d)'
_SCRIPTS = (
    "Latin Cyrillic Greek Arabic Hebrew Devanagari Bengali Tamil Telugu Thai Hangul Hiragana "
    "Katakana Han Georgian Armenian Ethiopic Khmer Lao Myanmar"
).split()
_SCRIPT = {name: regex.compile(rf"\p{{{name}}}") for name in _SCRIPTS}


def domain(text: str) -> str:
    """Return the label of an instruction's text, at most two words."""
    opening = text[:_READ]
    label = _task_label(opening)
    if not label and len(text) > 1:
        # a story first, the task in the last sentence
        label = _task_label(regex.split(r"[.!?:\n]\s+", text[-_READ:].rstrip(_CLOSING))[-1])
    return label or _script(opening)


def labelled(row: Instruction) -> Instruction:
    """Return the row with the label of its last turn."""
    return replace(row, domain=domain(row.messages[-1]["content"]))


def _task_label(sentence: str) -> str:
    words = [match[0].lower() for match in islice(_WORD.finditer(sentence), _WORDS)]
    index = 0
    while index < len(words) and words[index] in _POLITE:
        index += 1
    opening = words[index] if index < len(words) else ""
    if opening not in _VERBS and opening not in _QUESTIONS:
        return ""
    noun = _noun(words[index + 1 :])
    return f"{opening} {noun}" if noun else opening


def _script(beginning: str) -> str:
    """Return the script of most letters, `none` for a text without letters.

    Japanese is `Hiragana` or `Katakana` where kana are more frequent than kanji, else `Han`.
    """
    if beginning.isascii():
        return "Latin" if any(letter.isalpha() for letter in beginning) else "none"
    counts = {name: len(pattern.findall(beginning)) for name, pattern in _SCRIPT.items()}
    most = max(counts, key=lambda name: counts[name])
    if counts[most]:
        return most
    return "other" if regex.search(r"\p{L}", beginning) else "none"


def _noun(words: list[str]) -> str:
    """Return the last word before the first preposition or punctuation mark, or an empty text."""
    index = 0
    while index < len(words) and words[index] in _BEFORE_NOUN:
        index += 1
    noun = ""
    for word in words[index : index + 5]:
        if word in _AFTER_NOUN or not word[0].isalpha():
            break
        noun = word
    return noun
