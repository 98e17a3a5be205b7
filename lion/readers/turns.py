"""Turns of conversations as data sets write them, brought to roles and texts. Pure.

OpenAI's messages, ShareGPT (`from`, `value`), LMSYS and WildChat, LIMA (texts in turn), TRL's
conversational rows and LLaMA-Factory's pairs of preferences.
"""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

from lion.errors import DataError

_SPEAKERS: Mapping[str, str] = {
    "human": "user",  # ShareGPT: hiyouga/LLaMA-Factory:data/README.md
    "user": "user",
    "prompter": "user",  # LAION-AI/Open-Assistant
    "gpt": "assistant",  # ShareGPT, and its other bots in lm-sys/FastChat
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "model": "assistant",  # Gemini
    "chatbot": "assistant",  # Cohere's fine-tuning
    "system": "system",
    "developer": "system",  # OpenAI since o1
}


def as_turns(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row whose prompt or answer is a list of turns as a conversation; others unchanged.

    TRL's conversational prompt with a completion or a chosen answer, its preferences without a
    prompt (the chosen conversation is whole), and LLaMA-Factory's chosen turn after a conversation.
    """
    prompt, answer = _turns(value.get("instruction")), _turns(value.get("output"))
    if value.get("messages") is not None or (prompt is None and answer is None):
        return value
    if answer is None:  # of text, or none
        text = value.get("output")
        answer = [] if text is None else [{"role": "assistant", "content": text}]
    before = prompt or value.get("conversations")
    others = {key: part for key, part in value.items() if key not in ("instruction", "output")}
    return {**others, "conversations": [*before, *answer] if isinstance(before, list) else answer}


def _turns(value: object) -> list[Any] | None:
    """Return turns: objects with a speaker each, or one such object; None for other values."""
    turns = value if isinstance(value, list) else [value]
    if turns and all(isinstance(turn, dict) and {"role", "from"} & turn.keys() for turn in turns):
        return turns
    return None


def read_turns(turns: object, key: str) -> list[dict[str, Any]]:
    """Return turns with `role` and `content`, from the names of any format above.

    `key` is the field that holds the turns. Raises DataError if they cannot be read.
    """
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{key}: a list of turns is expected, with one at least")
    if key == "conversations" and all(isinstance(turn, str) for turn in turns):  # LIMA
        roles = cycle(("user", "assistant"))
        return [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return [_turn(turn, number, key) for number, turn in enumerate(turns, start=1)]


def _turn(turn: object, number: int, key: str) -> dict[str, Any]:
    if not isinstance(turn, dict):
        raise DataError(f"{key}: turn {number} is not an object")
    speaker = turn.get("from", turn.get("role"))
    role = _SPEAKERS.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        raise DataError(
            f"{key}: turn {number} is from {speaker!r:.60}; "
            f"one of {', '.join(_SPEAKERS)} is expected"
        )
    return {"role": role, "content": _content(turn.get("value", turn.get("content")))}


def _content(content: object) -> object:
    """Return content in parts of text as one text; other content unchanged."""
    if not isinstance(content, list):
        return content
    texts = [
        part.get("text")
        for part in content
        if isinstance(part, dict) and part.get("type", "text") == "text"
    ]
    is_text = len(texts) == len(content) and all(isinstance(text, str) for text in texts)
    return "".join(map(str, texts)) if is_text else content


def history(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the turns before an instruction: LLaMA-Factory's pairs of question and answer."""
    pairs = value.get("history")
    if pairs in (None, [], ""):
        return []
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in pairs
    ):
        raise DataError(f"history: pairs [question, answer] are expected, found {pairs!r:.60}")
    if not all(isinstance(text, str) and text.strip() for pair in pairs for text in pair):
        raise DataError(f"history: a turn is empty or no text, found {pairs!r:.60}")
    return [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
