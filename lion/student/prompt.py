"""The student's prompt: a conversation of the teacher's in the shorter form that a student learns.

Prompt distillation (Askell et al., *A General Language Assistant as a Laboratory for Alignment*,
2021, section 2.2: context distillation): the teacher is asked with the whole prompt, the student
answers without it. The form lies beside the student's weights, so that whoever asks the student
renders what it was trained on. Without that file it has the teacher's own conversation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from lion.config.settings import TaskSettings, Tune
from lion.conversations import TaskTemplate, variable_part
from lion.records import jsonl, output_marks
from lion.records.rows import Instruction, Message
from lion.student.checkpoint import resolve

FILE = "prompt.json"


@dataclass(frozen=True, slots=True)
class StudentPrompt:
    """`task` reads the teacher's conversations, `form` writes the student's.

    Without a `form` it is one user turn of the task's fields, a paragraph each. A conversation that
    is not of the task loses its system turns, or stays as it is where there is a form.
    """

    task: TaskTemplate | None
    form: TaskTemplate | None

    @classmethod
    def of(cls, rules: Tune, task: TaskSettings) -> Self | None:
        """Return the prompt that params name; None where it is the teacher's."""
        if rules.prompt == "same":
            return None
        if rules.prompt == "none":
            return cls(TaskTemplate.declared(task), None)
        form = task.model_copy(update={"messages": rules.prompt})
        return cls(TaskTemplate.declared(task), TaskTemplate.declared(form))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the prompt of the student in `folder`; None where it is the teacher's.

        Raises ModelError where there is no student, DataError where the file is damaged.
        """
        source = resolve(folder)
        path = (source.adapter or Path(source.base)) / FILE
        if not path.is_file():
            return None
        row = jsonl.read_document(path)
        fields = tuple(row["fields"])
        task, form = (
            TaskTemplate(fields, tuple(turns)) if turns else None
            for turns in (row["task"], row["student"])
        )
        return cls(task, form)

    def write(self, folder: Path) -> None:
        """Write the prompt beside the student's weights; the folder is noted again."""
        task, form = self.task, self.form
        document = {
            "fields": [] if task is None else list(task.fields),
            "task": None if task is None else list(task.turns),
            "student": None if form is None else list(form.turns),
        }
        jsonl.write_document(folder / FILE, document)
        output_marks.remember_output(folder, folder)

    def render(self, messages: Sequence[Message]) -> list[Message]:
        """Return the student's form of a conversation."""
        values = None if self.task is None else self.task.read(messages)
        if values is None:
            return [turn for turn in messages if self.form or turn["role"] != "system"]
        if self.form is None:
            return [{"role": "user", "content": variable_part(messages, self.task)}]
        return self.form.render(values)

    def rows(self, rows: Sequence[Instruction]) -> list[Instruction]:
        """Return the rows with the student's conversations; ids are those of the teacher's."""
        return [replace(row, messages=tuple(self.render(row.messages))) for row in rows]


def student_messages(messages: Sequence[Message], prompt: StudentPrompt | None) -> list[Message]:
    """Return a conversation as the student gets it."""
    return list(messages) if prompt is None else prompt.render(messages)


def student_rows(
    rows: Sequence[Instruction], prompt: StudentPrompt | None
) -> Sequence[Instruction]:
    """Return rows as the student gets them."""
    return rows if prompt is None else prompt.rows(rows)
