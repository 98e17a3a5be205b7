"""A student sits BBH and AGIEval: items in, one text or letter each, figures out.

Through the same answering path as the pool's examination. Writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lion.config.settings import Answering, Exams, Student
from lion.evaluation import option_marks
from lion.evaluation.option_marks import Choice
from lion.inference.batch_inference import AnsweringTask, Progress, answer
from lion.readers import official_exams
from lion.readers.official_exams import Item
from lion.records.rows import Answer
from lion.student import checkpoint as students


@dataclass(frozen=True, slots=True)
class Sat:
    """What a student chose for each item, and what it wrote (None: by likelihood)."""

    choices: list[Choice]
    answers: list[Answer] | None


def read_exams(exams: Exams) -> list[Item]:
    """Return the items of all folders, in their order. Raises DataError."""
    return [item for folder in exams.folders for item in official_exams.read_items(Path(folder))]


def sit(
    items: Sequence[Item],
    *,
    student: Path,
    settings: Student,
    exams: Exams,
    answering: Answering,
    random_seed: int,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> Sat:
    """Let the student in folder `student` sit the exams, in batches as `answering` says.

    Greedy: one item has one answer. Batches that are done are kept in `keep` (see `answering`); by
    likelihood none are. Raises ModelError, and DataError where a template refuses.
    """
    students.load_libraries()
    if exams.scoring == "likelihood":
        from lion.evaluation import likelihood

        found = likelihood.likeliest(
            items,
            student=student,
            settings=settings,
            batch_size=answering.batch_size,
            progress=progress,
        )
        return Sat([Choice(*pair) for pair in zip(items, found, strict=True)], None)
    greedy = answering.model_copy(update={"temperature": 0.0, "max_tokens": exams.max_tokens})
    task = AnsweringTask(student, settings, greedy, random_seed, student.parent.name)
    answers = answer([item.instruction() for item in items], task, keep, progress)
    return Sat(option_marks.choose(items, [one.text for one in answers], exams.scoring), answers)
