"""Names of fields in the field's data sets, and what becomes of each. Pure.

A row is brought to the names that `formats` reads. A key with text that is not read is counted.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lion.errors import DataError

Row = Mapping[str, Any]

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # hiyouga/LLaMA-Factory:data/README.md, dataset_info.json; huggingface/trl:docs/source/
        # dataset_formats.md; axolotl-ai-cloud/axolotl:docs/dataset-formats/inst_tune.qmd;
        # EleutherAI/lm-evaluation-harness:lm_eval/tasks (doc_to_text, doc_to_target)
        "instruction": (
            "prompt",  # TRL, LLaMA-Factory, OpenAI's legacy fine-tuning
            "definition",  # Super-NaturalInstructions
            "problem",  # MATH, NuminaMath, AIME
            "query",  # MetaMathQA: where there is no instruction beside it
            "inputs",  # FLAN, P3: where there is no instruction beside it
            "inputs_pretokenized",  # P3
            "ctx",  # HellaSwag: the beginning that an ending completes
            "goal",  # PIQA
            "message_1",  # axolotl: camel_ai
        ),
        "question": ("question_stem",),  # OpenBookQA
        "input": (
            "context",  # Dolly, SQuAD; axolotl: context_qa.load_v2
            "inputs",
            "query",  # LLaMA-Factory
            "article",  # RACE; axolotl: context_qa
            "support",  # SciQ
            "body",  # ASDiv, SVAMP
        ),
        "output": (
            "response",  # Dolly, OpenOrca, LLaMA-Factory; axolotl: gpteacher
            "completion",  # TRL, OpenAI's legacy fine-tuning
            "outputs",
            "targets",  # FLAN, P3
            "targets_pretokenized",  # P3
            "solution",  # MATH, AIME
            "canonical_solution",  # openai/human-eval
            "chosen",  # TRL, LLaMA-Factory: the better answer of a pair
            "generation",  # axolotl: metharme
            "message_2",  # axolotl: camel_ai
        ),
        "system": ("system_prompt", "system_message"),  # OpenOrca
        "conversations": ("conversation", "dialogue"),  # LMSYS, WildChat
        "choices": ("options", "endings"),  # MMLU-Pro, AGIEval, RACE; HellaSwag
        "answer": (
            "answerKey",  # ARC, CommonsenseQA, OpenBookQA
            "gold",
            "correct",  # AQuA, MathQA
            "correct_answer",  # SciQ
            "best_answer",  # TruthfulQA
            "answers",  # SQuAD
            "ground_truth",  # TRL:docs/source/grpo_trainer.md
        ),
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

_ALL = READ | {other for others in NAMES.values() for other in others}


def is_read(name: str) -> bool:
    """Return whether a field of this name is read, by its own name or for another."""
    return name in _ALL


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
    renamed = _in_lower_case(renamed)
    has_question = _has(renamed, "question") or _has(renamed, "messages")
    for name, others in NAMES.items():
        if name == "instruction" and (has_question or _has(renamed, "conversations")):
            continue
        for other in others:
            if (
                not _has(renamed, name)
                and _has(renamed, other)
                and not isinstance(renamed[other], bool)
            ):
                renamed[name] = renamed.pop(other)
    if not has_question and not _has(renamed, "instruction"):
        _without_instruction(row, renamed)
    elif "text" in renamed and "output" not in renamed and "prompt" in row:  # Cosmopedia
        renamed["output"] = renamed.pop("text")
    return renamed


def _in_lower_case(row: Row) -> dict[str, Any]:
    """Return a row with known names in lower case: GPQA, AIME and SVAMP write Question, Answer."""
    lower = {key: key.lower() for key in row if key not in _ALL and key.lower() in _ALL}
    return {
        lower[key] if key in lower and lower[key] not in row else key: value
        for key, value in row.items()
    }


def _without_instruction(row: Row, renamed: dict[str, Any]) -> None:
    """Take the `input` of a row that has nothing else for the instruction: axolotl, Firefly."""
    if "instruction" not in renamed and _has(row, "input") and not _has(renamed, "conversations"):
        renamed["instruction"] = renamed.pop("input")


def without_feedback(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without a person's mark of its answer, and without an answer that is bad.

    TRL's and LLaMA-Factory's unpaired preferences say it by a `label` of true or false.
    """
    label = row.get("label")
    if not isinstance(label, bool) or not _has(row, "output"):
        return row
    dropped = ("label",) if label else ("label", "output")
    return {key: value for key, value in row.items() if key not in dropped}


_READ_ALONE = frozenset({"question", "passage"})
"""Keys that are read where no instruction stands beside them."""


def unread(row: Row, text: str) -> Iterator[str]:
    """Yield the keys of a row that hold text, are not read, and do not stand in `text`."""
    read = READ - _READ_ALONE
    for key, value in row.items():
        if key in read or key.lower() in ABOUT or not _holds_text(value):
            continue
        if not (isinstance(value, str) and value.strip() in text):
            yield key


_TURN_KEYS = frozenset({"role", "from", "content", "value", "rejected_value", "weight"})


def unread_in_turns(turns: object, key: str, text: str) -> Iterator[str]:
    """Yield the keys of turns, as `messages[].context`, that hold text which is not read."""
    found = {
        name
        for turn in (turns if isinstance(turns, list) else [])
        if isinstance(turn, dict)
        for name in unread({k: v for k, v in turn.items() if k not in _TURN_KEYS}, text)
    }
    yield from (f"{key}[].{name}" for name in sorted(found))


def _has(row: Row, key: str) -> bool:
    return not _is_empty(row.get(key))


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value == []


_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_SENTENCE = 8
"""Characters of Thai, Lao, Khmer, Chinese or Japanese that are more than a label."""


def _holds_text(value: object) -> bool:
    if isinstance(value, str):  # a word is a label; some scripts have no spaces
        return len(value.split()) > 1 or len(_UNSPACED.findall(value)) >= _SENTENCE
    if isinstance(value, list):
        return any(map(_holds_text, value))
    return isinstance(value, dict) and any(map(_holds_text, value.values()))
