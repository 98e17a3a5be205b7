"""Names of fields in the field's data sets, and what becomes of each. Pure.

A row is brought to the names that `formats` reads. A key with text that is not read is counted.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lion.errors import DataError

Row = Mapping[str, Any]

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "instruction": (
            "prompt",  # TRL, OpenAI's legacy fine-tuning, LLaMA-Factory
            "problem",  # MATH, NuminaMath
            "query",  # where there is no instruction beside it
            "inputs",  # FLAN, P3: where there is no instruction beside it
            "ctx",  # HellaSwag: the beginning that an ending completes
        ),
        "input": (
            "context",  # Dolly
            "inputs",
            "query",  # LLaMA-Factory
        ),
        "output": (
            "response",  # Dolly, OpenOrca, LLaMA-Factory
            "completion",  # TRL, OpenAI's legacy fine-tuning
            "outputs",
            "targets",  # FLAN, P3
            "solution",  # MATH
            "chosen",  # pairs of preferences: the better answer
        ),
        "system": ("system_prompt", "system_message"),  # OpenOrca, LLaMA-Factory
        "conversations": ("conversation", "dialogue"),  # ShareGPT and its heirs
        "choices": ("options", "endings"),  # MMLU-Pro, AGIEval; HellaSwag
        "answer": ("answerKey", "gold"),  # ARC, CommonsenseQA
    }
)
"""The name that is read, and others for the same, in the order in which they are tried."""

READ = frozenset(
    {
        *NAMES,
        "messages", "history", "question", "passage", "expected", "target", "label", "category",
        "classification", "is_classification", "instances", "tools", "functions", "examples",
        "text", "question_id", "answer_index",
    }
)  # fmt: skip
"""Keys that `formats` reads."""

ABOUT = frozenset(
    {
        # what says something of a row and is no part of its question
        "id", "uid", "uuid", "_id", "idx", "index", "ind", "key", "row", "hash", "source",
        "source_id", "dataset", "data_source", "url", "link", "license", "split", "split_type",
        "subset", "meta", "metadata", "created", "created_at", "timestamp", "date", "updated_at",
        "model", "model_name", "generator", "annotator", "author", "user", "title", "name", "file",
        "tags", "tag", "topic", "topics", "subject", "subcategory", "domain", "type", "task",
        "task_type", "task_name", "lang", "language", "difficulty", "level", "score", "scores",
        "rating", "quality", "format", "version", "status", "rank", "parent", "parent_id",
        "conversation_id", "turn_id", "message_id", "activity_label", "most_similar_instructions",
        "avg_similarity_score", "cot_content", "rationale", "explanation", "reason", "reasoning",
        "answer_text", "rejected", "other", "src", "origin", "iteration", "nearest", "closest",
    }
)  # fmt: skip
"""Keys that need not be read: names, sources, labels, answers beside the one that is read."""


def with_known_names(row: Row) -> dict[str, Any]:
    """Return a row with the names that are read. Raises DataError where two names clash."""
    renamed = {key.strip(): value for key, value in row.items()}
    if len(renamed) < len(row):
        raise DataError(f"two keys differ by white space alone: {', '.join(sorted(row))[:80]}")
    if any(renamed.get(key) is not None for key in ("question", "messages", "conversations")):
        names = {name: others for name, others in NAMES.items() if name != "instruction"}
    else:
        names = dict(NAMES)
    for name, others in names.items():
        for other in others:
            if _is_empty(renamed.get(name)) and not _is_empty(renamed.get(other)):
                renamed[name] = renamed.pop(other)
    return renamed


def unread(row: Row) -> Iterator[str]:
    """Yield the keys of a row that hold text and that are not read."""
    for key, value in row.items():
        if key not in READ and key.lower() not in ABOUT and _holds_text(value):
            yield key


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value == []


def _holds_text(value: object) -> bool:
    if isinstance(value, str):
        return len(value.split()) > 1  # a word is a label
    if isinstance(value, list):
        return any(map(_holds_text, value))
    return isinstance(value, dict) and any(map(_holds_text, value.values()))
