"""Domains that a reader can take in: at most fifteen names over the many labels of a pool.

A label (`generation.topic_labels`) is a verb or a question word with its object, else the name of a
script. A domain is a kind of verb; what has no label of its own is `other requests`. A label that
`topic_labels` does not make names itself. Pure.
"""

from collections.abc import Mapping
from types import MappingProxyType

OTHER = "other requests"
OTHER_SCRIPTS = "other scripts"
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "questions": "how what when where which who whom whose why answer ask respond reply "
        "guess are did do does has have is were",
        "writing": "address complete compose continue craft create draft fill imagine introduce "
        "invent narrate output perform play produce role-play roleplay write",
        "rewriting": "change condense convert copy correct decode double edit elaborate encode "
        "expand fix format improve insert modify paraphrase reformulate remove repeat rephrase "
        "replace revise rewrite shorten simplify spell transcribe transform turn update",
        "translating": "translate",
        "explaining": "argue comment define demonstrate describe discuss explain illustrate "
        "interpret outline say share show state teach tell think",
        "ideas and lists": "add advise brainstorm cite come curate formulate generate give list "
        "mention name offer present propose provide recommend sell suggest",
        "classifying": "categorise categorize classify decide detect determine identify judge "
        "label match specify tag",
        "calculating": "calculate compute construct count derive divide estimate measure "
        "multiply prove solve subtract work",
        "ordering": "arrange move order organise organize rank rearrange reverse rotate schedule "
        "shift sort swap",
        "choosing and finding": "assign check choose collect delete discover explore extract "
        "filter find gather link locate look parse pick read recall retrieve return select split "
        "take",
        "summarising": "report summarise summarize",
        "comparing and assessing": "analyse analyze assess combine compare contrast critique "
        "debug diagnose evaluate examine infer predict rate research review score test verify",
        "planning and designing": "build design develop devise draw help implement make plan start "
        "prepare simulate sketch use visualise visualize",
    }
)
_KIND = {word: kind for kind, listed in _KINDS.items() for word in listed.split()}
_SCRIPTS: Mapping[str, str] = MappingProxyType(
    {
        OTHER: "Latin none other",
        OTHER_SCRIPTS: "Cyrillic Greek Arabic Hebrew Devanagari Bengali Tamil Telugu Thai Hangul "
        "Hiragana Katakana Han Georgian Armenian Ethiopic Khmer Lao Myanmar",
    }
)
_OF_SCRIPT = {script: name for name, listed in _SCRIPTS.items() for script in listed.split()}


def domain_name(label: str) -> str:
    """Return the domain of a label."""
    return _KIND.get(label.split(" ", maxsplit=1)[0]) or shown_label(label)


def shown_label(label: str) -> str:
    """Return a label as people see it: a domain in the place of the name of a script."""
    return _OF_SCRIPT.get(label, label)


def is_about(label: str, wanted: str) -> bool:
    """Return whether `wanted` is the label, or its domain, in upper case or lower."""
    return wanted.casefold() in (label.casefold(), domain_name(label).casefold())
