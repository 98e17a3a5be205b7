"""The student answers in a stage: itself, or through the server that params name."""

from collections.abc import Sequence
from pathlib import Path

from lion import console, project
from lion.model import student
from lion.records import Answer, Instruction
from lion.stage import Work


def answers(
    work: Work, rows: Sequence[Instruction], folder: Path, iteration: str, random_seed: int
) -> list[Answer]:
    """Return the answers of iteration `iteration`'s student, in folder `folder`, in order.

    What is done is kept until the stage ends well. Raises ModelError, DataError, EndpointError.
    """
    if not rows:
        return []
    settings = work.settings
    if settings.student.endpoint is not None:
        from lion.model import served

        return served.answers(work, rows, folder, iteration, random_seed)
    student.load_libraries()  # torch, which a loop that has stopped does not need
    from lion.model import answering

    task = answering.Task(
        folder, settings.student, settings.answering, random_seed, f"student-{iteration}"
    )
    with console.progress(f"{work.stage}@{work.iteration}: student") as update:
        return answering.answer(rows, task, keep=project.kept_answers(work.name), progress=update)
