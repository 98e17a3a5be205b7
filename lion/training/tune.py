"""The phase `tune`: the student is fine-tuned on the new answers, and on old ones beside them.

The loss is on the response alone. Reads and writes checkpoints; what is drawn, and what is too long
to be learnt, is decided here.
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

FineTune = Callable[[Sequence[chat_format.Example], Path, Path, Tune, int], "TuneReport"]
"""Fine-tunes: examples, the checkpoint before, the one to write, settings, random seed."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a student was tuned on: the numbers of new rows and of old ones, and the report."""

    new: int
    replayed: int
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
    """Write to `out` the student of `before`, tuned on the rows of `cache` whose ids are `new`.

    `rules.replay` old rows per new one are drawn beside them. Returns None, and writes nothing,
    where no row is new. Raises TooManyDroppedError before a step is made where more than
    `tune.max_dropped` of the examples are too long.
    """
    fresh = [row for row in cache if row.id in new]
    if not fresh:
        return None
    checkpoint.load_libraries(
        "transformers.trainer"
    )  # and torch, which standing still does not need
    old = pools.replayed_at(depth, fresh, cache, rules.replay, settings.random_seed)
    examples = _examples([*fresh, *old], before, settings.student)
    _refuse_too_long(examples, rules)
    report = fine_tune(examples, before, out, rules, settings.random_seed + depth)
    return Tuned(len(fresh), len(old), report)


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
