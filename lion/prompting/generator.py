"""The generator's role: a parent in, a request out; a reply in, a candidate out. No I/O.

New hard: same domain and task type as a hard parent. New easy: same domain as an easy parent, but
rarer, against forgetting (Lion, section 3.3).
"""

import re

from lion.config.settings import Generate
from lion.prompting.protocol import Failure, Outcome, Request
from lion.prompting.templates import Prompts, fence
from lion.records.rows import Dropped, Kind
from lion.words import words

STAGE = "generate"

# models repeat the prompt's own label before the instruction
_LABEL = re.compile(
    r"^\W*(?:the\s+)?(?:new|created|rewritten)\s+(?:instruction|prompt|task)\W*:(?:\*\*|__)?\s*",
    re.IGNORECASE,
)
_OWN_PROMPT = re.compile(r"\bgiven (?:instruction|prompt)\b", re.IGNORECASE)


def generation_request(parent: str, kind: Kind, prompts: Prompts, sample: int) -> Request:
    """Return the question for a new instruction; `sample` tells apart two from one parent."""
    asked = prompts.render(f"{kind}.txt", fence=fence(parent), instruction=parent)
    return Request(prompts.conversation(asked), sample)


def candidate(outcome: Outcome, parent_id: str, settings: Generate) -> str | Dropped:
    """Return the new instruction's text, or why the reply holds none.

    Reasons: the failure's own, `truncated`, `malformed`, `too_short`, `start` (the paper's rule
    against punctuation and non-ASCII), `own_prompt` (it talks about the prompt it was made from).
    """
    if isinstance(outcome, Failure):
        return Dropped(STAGE, outcome.reason, id=parent_id, detail=outcome.detail)
    text = _LABEL.sub("", outcome.text.strip()).strip()
    reason = _flaw(text, outcome.finish_reason, settings)
    if reason is not None:
        return Dropped(STAGE, reason, id=parent_id, text=outcome.text)
    return text


def _flaw(text: str, finish_reason: str, settings: Generate) -> str | None:
    if finish_reason == "length":
        return "truncated"
    if finish_reason == "content_filter":  # other words (eos, null) are servers' own for an end
        return finish_reason
    if not text or "\x00" in text:
        return "malformed"
    if len(words(text, "unicode")) < settings.min_words:
        return "too_short"
    if settings.ascii_start and not (text[0].isascii() and text[0].isalnum()):
        return "start"
    return "own_prompt" if _OWN_PROMPT.search(text) else None
