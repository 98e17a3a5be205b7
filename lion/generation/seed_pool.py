"""The start of the loop: the base pool, the exam and the base student that params name.

Reads the user's files, or draws from the simulator. Every row becomes an instruction or a `Dropped`
with its reason, or the stage fails with file and line.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from lion import console, pools
from lion.config.settings import (
    EMBEDDED,
    TICKETS,
    Decontaminate,
    Exam,
    Exams,
    Quality,
    Seed,
    Student,
)
from lion.conversations import TaskTemplate, transcript, variable_part
from lion.errors import DataError
from lion.generation.filters import quality
from lion.generation.filters.decontamination import Decontamination
from lion.generation.filters.quality import Count, RejectReason
from lion.readers import files, official_exams
from lion.readers.formats import SourceRow
from lion.records.rows import Dropped, Instruction, Message, Origin, TeacherAnswer, canonical_id
from lion.simulator import task_families, tickets
from lion.student import hub
from lion.student.checkpoint import Pointer, load_libraries

_SHOWN = 10  # problems that one message lists

OnProblem = Literal["error", "drop"]


def base_pool(
    settings: Seed, random_seed: int, task: TaskTemplate | None = None
) -> tuple[list[Instruction], list[Dropped]]:
    """Return the base pool and what was dropped from it. Raises DataError."""
    if settings.source == EMBEDDED:
        tasks = task_families.pool(settings.size, random_seed=random_seed, skew=settings.skew)
        return [_from_task(task, "seed") for task in tasks], []
    if settings.source == TICKETS and task is not None:
        drawn = tickets.ticket_pool(settings.size, random_seed=random_seed, skew=settings.skew)
        return [_from_ticket(ticket, "seed", task) for ticket in drawn], []
    rows: list[SourceRow] = []
    dropped: list[Dropped] = []
    for name in settings.source:
        new_rows, bad_rows = _read(Path(name), settings.on_bad_row, "seed.on_bad_row", task)
        rows += new_rows
        dropped += bad_rows
    unique, repeated = files.split_duplicates(rows)
    dropped += [_duplicate(row, first) for row, first in repeated]
    keep = settings.answers == "keep"
    instructions = [_answered(row) if keep else _instruction(row, "seed") for row in unique]
    if not instructions:
        raise DataError(f"seed.source: no instruction in {settings.source}")
    return instructions, dropped


def base_exam(
    settings: Exam,
    seed: Seed,
    random_seed: int,
    pool: Sequence[Instruction],
    task: TaskTemplate | None = None,
) -> tuple[list[Instruction], list[Instruction]]:
    """Return the base pool without the exam's rows, and the exam. Raises DataError."""
    if settings.file is None:
        rest, held = pools.holdout(pool, seed.holdout)
        return rest, [replace(row, origin="exam", answer=None) for row in held]
    if settings.file == EMBEDDED:
        tasks = task_families.exam(settings.size, random_seed=random_seed)
        return list(pool), [_from_task(task, "exam") for task in tasks]
    if settings.file == TICKETS and task is not None:
        drawn = tickets.ticket_exam(settings.size, random_seed=random_seed)
        return list(pool), [_from_ticket(ticket, "exam", task) for ticket in drawn]
    return list(pool), _exam_file(Path(settings.file), "exam", task)


def _exam_file(path: Path, origin: Origin, task: TaskTemplate | None) -> list[Instruction]:
    """Return the distinct rows of an exam's file. Raises DataError."""
    rows, _ = _read(path, "error", "", task)
    examined: dict[str, Instruction] = {}
    for row in rows:
        item = _instruction(row, origin)
        if examined.setdefault(item.id, item).expected != item.expected:
            raise DataError(
                f"{row.file}, line {row.line}: the question stands there before, with another "
                "answer. Keep one of them."
            )
    return list(examined.values())


def certify_rows(
    settings: Exam, exam: Sequence[Instruction], task: TaskTemplate | None = None
) -> list[Instruction]:
    """Return the rows of the file that `exam.certify` names; none if it names no file.

    Raises DataError, also if a row is one of the exam: that exam has chosen the student.
    """
    if not isinstance(settings.certify, str):
        return []
    rows = _exam_file(Path(settings.certify), "certify", task)
    ids = {row.id for row in exam}
    repeated = [row for row in rows if row.id in ids]
    if repeated:
        raise DataError(
            f"exam.certify: {len(repeated)} of {len(rows)} rows of {settings.certify} stand in the "
            f"exam, too, the first of them {repeated[0].messages[-1]['content']!r:.60}. Remove "
            "them from one of the two."
        )
    return rows


def further_exams(settings: Decontaminate, exams: Exams) -> list[Instruction]:
    """Return the items of `decontaminate.against`, and of BBH and AGIEval where params name them.

    Each item once, with the text of its file. Raises DataError.
    """
    items: dict[str, Instruction] = {}
    official = [
        path for folder in exams.folders for path in official_exams.official_files(Path(folder))
    ]
    for path in [*map(Path, settings.against), *official]:
        for row in _read(path, "error", "")[0]:
            item = _instruction(row, "exam")
            items.setdefault(item.id, item)
    return list(items.values())


def usable(
    pool: Sequence[Instruction],
    settings: Quality,
    tokens: Count | None,
    task: TaskTemplate | None = None,
) -> tuple[list[Instruction], list[Dropped]]:
    """Return the rows that pass `quality`, and the others as dropped.

    An answer of the file, which is trained on as it is, must pass the test of encoding too. Raises
    DataError where no row passes.
    """
    kept: list[Instruction] = []
    dropped: list[Dropped] = []
    for row in pool:
        text = variable_part(row.messages, task)
        why = quality.reject_reason(text, settings, tokens) or _answer_reason(row, settings)
        if why is None:
            kept.append(row)
        else:
            dropped.append(Dropped("seed", why.reason, row.id, text[:200], why.detail))
    if pool and not kept:
        raise DataError(
            f"none of {len(pool)} instructions passes `quality`; the first: {dropped[0].reason} "
            f"({dropped[0].detail}). Fix the files or the section `quality`."
        )
    return kept, dropped


def _answer_reason(row: Instruction, settings: Quality) -> RejectReason | None:
    if row.answer is None or not settings.encoding:
        return None
    why = quality.encoding(row.answer.text)
    return None if why is None else RejectReason(why.reason, f"in the answer: {why.detail}")


def split_contaminated(
    pool: Sequence[Instruction],
    guard: Decontamination,
    on_contaminated: OnProblem,
    task: TaskTemplate | None = None,
) -> tuple[list[Instruction], list[Dropped]]:
    """Split the base pool into rows without and rows with overlap with the exam.

    Raises DataError if there are rows with overlap and `on_contaminated` is `error`.
    """
    kept: list[Instruction] = []
    leaked: list[Dropped] = []
    for instruction in pool:
        text = variable_part(instruction.messages, task)
        overlap = guard.find_overlap(text)
        if overlap is None:
            kept.append(instruction)
        else:
            leaked.append(Dropped("seed", "contaminated", instruction.id, text[:200], str(overlap)))
    if leaked and on_contaminated == "error":
        lines = [f"  {row.id} meets {row.detail}: {row.text!r:.80}" for row in leaked[:_SHOWN]]
        raise DataError(
            f"{len(leaked)} rows of the base pool meet the exam:\n" + "\n".join(lines) + "\n"
            "Remove them from the file, or set seed.on_contaminated: drop."
        )
    return kept, leaked


def write_student(
    folder: Path, settings: Student, pool: Sequence[Instruction], random_seed: int
) -> None:
    """Write the base student: a pointer, or a new checkpoint of the simulator's tiny student."""
    if settings.model == EMBEDDED:
        load_libraries()  # imported lazily: only this student needs torch
        from lion.simulator import tiny_student

        tiny_student.build(folder, [transcript(row.messages) for row in pool], random_seed)
    elif Path(settings.model).expanduser().is_dir():
        Pointer("folder", settings.model).write(folder)
    else:
        Pointer("hub", settings.model, hub.pinned(settings)).write(folder)


def _read(
    path: Path, on_bad_row: OnProblem, parameter: str, task: TaskTemplate | None = None
) -> tuple[Sequence[SourceRow], list[Dropped]]:
    loaded = files.read_rows(path, task)
    for key, count in loaded.unread.most_common(5):
        console.say(f"{path}: the text under {key!r} of {count:,} rows is not read")
    if loaded.problems and on_bad_row == "error":
        lines = [f"  {problem}" for problem in loaded.problems[:_SHOWN]]
        more = len(loaded.problems) - _SHOWN
        lines += [f"  and {more} more"] if more > 0 else []
        advice = f"Fix them, or set {parameter}: drop." if parameter else "Fix them."
        raise DataError(
            f"{len(loaded.problems)} rows cannot be read:\n" + "\n".join(lines) + f"\n{advice}"
        )
    return loaded.rows, [
        Dropped("seed", "bad_row", detail=str(problem)) for problem in loaded.problems
    ]


def _instruction(row: SourceRow, origin: Origin) -> Instruction:
    return Instruction(
        id=canonical_id(row.messages),
        messages=row.messages,
        origin=origin,
        parent=None,
        iteration="0",
        category=row.category,
        expected=row.expected,
    )


def _answered(row: SourceRow) -> Instruction:
    """Return the row with its own answer as the teacher's. Raises DataError where it has none."""
    if row.expected is None:
        raise DataError(
            f"{row.file}, line {row.line}: seed.answers is `keep`, but the row brings no answer. "
            "Set seed.answers: ask."
        )
    instruction = _instruction(row, "seed")
    return replace(instruction, answer=TeacherAnswer(row.expected, "stop", None))


def _duplicate(row: SourceRow, first: SourceRow) -> Dropped:
    detail = f"{row.file}, line {row.line} repeats {first.file}, line {first.line}"
    return Dropped("seed", "duplicate", id=_instruction(row, "seed").id, detail=detail)


def _from_task(task: task_families.Task, origin: Origin) -> Instruction:
    message: Message = {"role": "user", "content": task.instruction}
    return Instruction.new(
        [message],
        origin=origin,
        iteration="0",
        category=task.family,
        expected=task.answer if origin == "exam" else None,
    )


def _from_ticket(ticket: tickets.Ticket, origin: Origin, task: TaskTemplate) -> Instruction:
    return Instruction.new(
        task.render(ticket.fields),
        origin=origin,
        iteration="0",
        category=ticket.facts.kind.name,
        expected=ticket.facts.answer if origin == "exam" else None,
    )
