"""Topic labels of instructions, of one or two words. Pure; equal texts have equal labels.

`verb noun` where an English instruction, its last sentence, or else a clause of these begins with a
verb of the list (`write poem`) or a question word (`how plant`); else the script (`Han`, `Latin`).
Self-instruct (Wang et al. 2023, figure 3) parses the root verb and its object; a list of verbs and
the position of the noun approximate that. Labels of clusters would depend on the pool, so two pools
could not be compared. The labels serve counts and the balanced choice of parents only.
"""
# ruff: noqa: SIM905 - long lists of words are easier to read as text

from itertools import dropwhile, islice

import regex
from msgspec.structs import replace

from lion.records.rows import Instruction

_VERBS = frozenset(
    """
    add address advise analyse analyze answer argue arrange ask assess assign brainstorm build
    calculate categorise categorize change check choose cite classify collect combine come comment
    compare complete compose compute condense construct continue contrast convert copy correct count
    craft create critique curate debug decide decode define delete demonstrate derive describe
    design detect determine develop devise diagnose discover discuss divide double draft draw edit
    elaborate encode estimate evaluate examine expand explain explore extract fill filter find fix
    format formulate gather generate give guess help identify illustrate imagine implement improve
    infer insert interpret introduce invent judge label link list locate look make match measure
    mention modify move multiply name narrate offer order organise organize outline output
    paraphrase parse perform pick plan play predict prepare present produce propose prove provide
    rank rate read rearrange recall recommend reformulate remove repeat rephrase replace reply
    report research respond retrieve return reverse review revise rewrite role-play roleplay rotate
    say schedule score select sell share shift shorten show simplify simulate sketch solve sort
    specify spell split start state subtract suggest summarise summarize swap tag take teach tell
    test think transcribe transform translate turn update use verify visualise visualize work write
    """.split()
)
_QUESTIONS = frozenset("how what when where which who whom whose why".split())
_YES_OR_NO = frozenset("are did do does has have is were".split())
_TASKS = _VERBS | _QUESTIONS
_ASKED = _TASKS | _YES_OR_NO
_LEADING = frozenset("among at based by for from given in of on to using with".split())
_POLITE = frozenset(
    "and please kindly now first then can could would will you i want need to".split()
)
_BEFORE_TASK = _POLITE | {'"', "\u201c", "("}
_DETERMINERS = frozenset(
    "a an any each every her his its my no our some that the their this your".split()
)
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
_CLAUSE = regex.compile(r"([^.,;:!?\n]+)([.,;:!?\n]|$)")
_READ, _WORDS = 200, 14  # characters and words that are read at the start and at the end
_CLOSING_QUOTES = ' \t\r\n"\u201d)'
_CLOSING = _CLOSING_QUOTES + ".!?"
_PARAGRAPHS = regex.compile(r"\n\s*\n")
_SENTENCES = regex.compile(r"[.!?:\n]\s+")
_SCRIPTS = (
    "Latin Cyrillic Greek Arabic Hebrew Devanagari Bengali Tamil Telugu Thai Hangul Hiragana "
    "Katakana Han Georgian Armenian Ethiopic Khmer Lao Myanmar"
).split()
_SCRIPT = {name: regex.compile(rf"\p{{{name}}}") for name in _SCRIPTS}


def domain(text: str) -> str:
    """Return the label of an instruction's text, at most two words."""
    opening = text[:_READ]
    # a story first, the task in the last sentence
    last = _SENTENCES.split(text[-_READ:].rstrip(_CLOSING))[-1]
    asks = text[-_READ:].rstrip(_CLOSING_QUOTES).endswith("?")
    clauses = f"{_PARAGRAPHS.split(opening)[0]}\n{last}{'?' if asks else ''}"
    label = _task_label(opening) or _task_label(last) or _clause_label(clauses)
    return label or _script(opening)


def labelled(row: Instruction) -> Instruction:
    """Return the row with the label of its last turn."""
    return replace(row, domain=domain(row.messages[-1]["content"]))


def _task_label(sentence: str) -> str:
    """Return the label of a sentence that begins with a verb or a question word."""
    return _label(_words(sentence), _TASKS)


def _clause_label(text: str) -> str:
    """Return the label of the first clause that begins with a task, or else that holds one.

    A question word begins a question only: elsewhere it may be a relative pronoun.
    """
    clauses = [
        (_words(match[1]), _ASKED if match[2] == "?" else _VERBS)
        for match in _CLAUSE.finditer(text)
    ]
    for words, openings in clauses:
        if label := _label(words, openings):
            return label
    for words, openings in clauses:
        if words and words[0] in _LEADING:
            for index in range(1, len(words)):
                label = _label(words[index:], openings & _TASKS)
                if label and not _is_noun(words, index):
                    return label
    return ""


def _is_noun(words: list[str], index: int) -> bool:
    """Return whether a determiner stands before a word, as in `the use of`; in `b c a` is none."""
    before = words[index - 1]
    is_material = before == "a" and index > 1 and len(words[index - 2]) == 1
    return before in _DETERMINERS and not is_material


def _words(sentence: str) -> list[str]:
    """Return the first words and punctuation marks in lower case, without polite ones in front."""
    words = [match[0].lower() for match in islice(_WORD.finditer(sentence), _WORDS)]
    return list(dropwhile(_BEFORE_TASK.__contains__, words))


def _label(words: list[str], openings: frozenset[str]) -> str:
    """Return the label of words that begin with one of `openings`, or an empty text."""
    if not words or words[0] not in openings:
        return ""
    noun = _noun(words[1:])
    return f"{words[0]} {noun}" if noun else words[0]


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
    """Return the last word before the first preposition or punctuation mark, or an empty text.

    A word of one letter is material, as in `reverse a b c`.
    """
    index = 0
    while index < len(words) and words[index] in _BEFORE_NOUN:
        index += 1
    noun = ""
    for word in words[index : index + 5]:
        if word in _AFTER_NOUN or not word[0].isalpha():
            break
        noun = word if len(word) > 1 else noun
    return noun
