"""The phase `tune`: the student is fine-tuned on the new answers and a sample of old ones.

The loss is over the response only. This module chooses the rows and refuses too many long ones; it
reads and writes checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lion import pools
from lion.config.settings import Settings, Student, Tune
from lion.failure_limit import check_dropped
from lion.records.rows import Dropped, Instruction
from lion.student import chat_format, checkpoint

if TYPE_CHECKING:
    from lion.training.finetune import TuneReport

Examples = Sequence[chat_format.Example]
FineTune = Callable[[Examples, Examples, Path, Path, Tune, int], "TuneReport"]
"""The fine-tuning: examples to train on and to validate on, folder to read, folder to write,
settings, random seed."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The numbers of new, replayed and validation rows, and the report of the training."""

    new: int
    replayed: int
    validated: int
    report: TuneReport


def tune(
    cache: Sequence[Instruction],
    new: Collection[str],
    before: Path,
    out: Path,
    settings: Settings,
    rules: Tune,
    fine_tune: FineTune,
    *,
    depth: int,
) -> Tuned | None:
    """Fine-tune the student of `before` on the rows of `cache` whose ids are in `new`, into `out`.

    `rules.replay` old rows per new row are drawn in addition. A share `rules.validation_share` of
    the base pool is never trained on: it chooses the weights. Returns None, and writes nothing,
    where no row is new. Raises TooManyDroppedError, before the first step, where more than
    `tune.max_dropped` of the examples are too long.
    """
    apart, cache = pools.validation_rows(cache, rules.validation_share)
    fresh = [row for row in cache if row.id in new]
    if not fresh:
        return None
    # imports torch, which an iteration without new rows does not need
    checkpoint.load_libraries("transformers.trainer")
    old = pools.replayed_at(depth, fresh, cache, rules.replay, settings.random_seed)
    examples = _examples([*fresh, *old], before, settings.student)
    _refuse_too_long(examples, rules)
    validation = _examples(apart, before, settings.student)
    report = fine_tune(examples, validation, before, out, rules, settings.random_seed + depth)
    return Tuned(len(fresh), len(old), len(validation), report)


def _examples(
    rows: Sequence[Instruction], before: Path, settings: Student
) -> list[chat_format.Example]:
    encoder = chat_format.ChatFormatter(
        checkpoint.load_tokenizer(before, settings), settings.prompt_format
    )
    return encoder.examples(
        [(row.id, row.messages, row.answer.text) for row in rows if row.answer is not None]
    )


def _refuse_too_long(examples: Sequence[chat_format.Example], rules: Tune) -> None:
    from lion.training import finetune

    left_out = set(finetune.fit(examples, rules).too_long)
    dropped = [
        Dropped(
            "tune",
            "too_long",
            id=example.id,
            detail=f"{len(example.input_ids)} of {rules.max_length} tokens",
        )
        for example in examples
        if example.id in left_out
    ]
    check_dropped(dropped, rules.max_dropped, len(examples), "tune.max_dropped")
