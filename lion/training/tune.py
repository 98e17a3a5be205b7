"""The phase `tune`: the student is fine-tuned on the new answers and a sample of old ones.

The loss is over the response only. This module chooses the rows and refuses too many long ones; it
reads and writes checkpoints.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lion import pools
from lion.config.settings import Settings, Student, Tune
from lion.failure_limit import check_dropped
from lion.records.rows import Dropped, Instruction, Verdict
from lion.student import chat_format, checkpoint
from lion.student.prompt import StudentPrompt, student_rows
from lion.student.student_formatter import student_formatter
from lion.training.lengths import fit
from lion.training.report import TuneReport

Examples = Sequence[chat_format.Example]
FineTune = Callable[[Examples, Examples, Path, Path, Tune, int], TuneReport]
"""The fine-tuning: examples to train on and to validate on, folder to read, folder to write,
settings, random seed."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The new rows, the ids of the replayed ones, the validation rows, and the training's report.

    `new` and `validated` are numbers of rows.
    """

    new: int
    replayed: tuple[str, ...]
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
    verdicts: Iterable[Verdict] = (),
) -> Tuned | None:
    """Fine-tune the student of `before` on the rows of `cache` whose ids are in `new`, into `out`.

    `rules.replay` old rows per new row are drawn in addition, as `rules.replay_choice` says; by
    `forgotten` half of them as this iteration's `verdicts` say. A share `rules.validation_share` of
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
    rng = pools.rng_for(random_seed=settings.random_seed, purpose="replay", depth=depth)
    forgotten = pools.forgetting(verdicts) if rules.replay_choice == "forgotten" else None
    old = pools.replayed(fresh, cache, rules.replay, rng, forgotten)
    prompt = StudentPrompt.of(rules, settings.task)
    examples = _examples(student_rows([*fresh, *old], prompt), before, settings.student)
    _refuse_too_long(examples, rules)
    validation = _examples(student_rows(apart, prompt), before, settings.student)
    report = fine_tune(examples, validation, before, out, rules, settings.random_seed + depth)
    if prompt is not None:
        prompt.write(out)
    return Tuned(len(fresh), tuple(row.id for row in old), len(validation), report)


def _examples(
    rows: Sequence[Instruction], before: Path, settings: Student
) -> list[chat_format.Example]:
    encoder = student_formatter(before, settings)
    return encoder.examples(
        [(row.id, row.messages, row.answer.text) for row in rows if row.answer is not None]
    )


def _refuse_too_long(examples: Sequence[chat_format.Example], rules: Tune) -> None:
    left_out = set(fit(examples, rules).too_long)
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
