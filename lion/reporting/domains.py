"""Domains that a reader can take in: at most fifteen names over the many labels of a pool.

A label (`generation.topic_labels`) is a verb or a question word with its object, else the name of a
script. A domain is a kind of verb; what has no label of its own is `other requests`. Pure.
"""

from collections.abc import Mapping
from types import MappingProxyType

OTHER = "other requests"
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "questions": "how what when where which who whom whose why answer ask respond reply guess",
        "writing": "complete compose continue craft create draft fill imagine invent introduce "
        "narrate play perform produce roleplay role-play write",
        "rewriting": "change convert correct edit elaborate expand fix format improve modify "
        "paraphrase reformulate rephrase replace revise rewrite shorten simplify transcribe "
        "transform turn update",
        "translating": "translate",
        "explaining": "define describe discuss explain illustrate interpret outline share show "
        "tell think state",
        "ideas and lists": "add advise brainstorm cite formulate generate give list mention name "
        "offer present propose provide recommend sell suggest",
        "classifying": "categorise categorize classify decide detect determine identify judge "
        "label match specify tag",
        "calculating": "calculate compute construct count derive divide estimate multiply prove "
        "solve subtract",
        "ordering": "arrange order organise organize rank rearrange reverse schedule sort",
        "choosing and finding": "assign choose check delete extract filter find locate parse pick "
        "read retrieve return select split take",
        "summarising": "report summarise summarize",
        "comparing and assessing": "analyse analyze assess combine compare critique debug diagnose "
        "evaluate examine infer predict rate research review score test verify",
        "planning and designing": "build design develop devise draw help implement make plan start "
        "prepare simulate sketch use visualise visualize",
    }
)
_KIND = {word: kind for kind, listed in _KINDS.items() for word in listed.split()}
_LATIN = ("Latin", "none", "other")


def domain_name(label: str) -> str:
    """Return the domain of a label."""
    kind = _KIND.get(label.split(" ", maxsplit=1)[0])
    if kind is not None:
        return kind
    return OTHER if label in _LATIN else "other scripts"
