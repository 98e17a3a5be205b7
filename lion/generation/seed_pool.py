"""What the loop starts from: the base pool, the exam and the base student that params name.

Reads the user's files or the embedded families. Nothing is lost silently: a row becomes an
instruction or a `Dropped` with its reason, or the stage fails and names file and line.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from lion import pools
from lion.config.settings import EMBEDDED, Decontaminate, Exam, Exams, Quality, Seed, Student
from lion.errors import DataError
from lion.generation.filters import quality
from lion.generation.filters.decontamination import Decontamination
from lion.readers import files, official_exams
from lion.readers.formats import SourceRow
from lion.records.rows import Dropped, Instruction, Message, Origin, TeacherAnswer, canonical_id
from lion.simulator import task_families
from lion.student import hub
from lion.student.chat_format import transcript
from lion.student.checkpoint import Pointer, load_libraries
from lion.student.tokens import Count

_SHOWN = 10  # problems that one message lists

OnProblem = Literal["error", "drop"]


def base_pool(settings: Seed, random_seed: int) -> tuple[list[Instruction], list[Dropped]]:
    """Return the base pool and what was dropped from it. Raises DataError."""
    if settings.source == EMBEDDED:
        tasks = task_families.pool(settings.size, random_seed=random_seed, skew=settings.skew)
        return [_embedded(task, "seed") for task in tasks], []
    rows: list[SourceRow] = []
    dropped: list[Dropped] = []
    for name in settings.source:
        read, bad = _read(Path(name), settings.on_bad_row, "seed.on_bad_row")
        rows += read
        dropped += bad
    unique, repeated = files.split_duplicates(rows)
    dropped += [_duplicate(row, first) for row, first in repeated]
    make = _kept if settings.answers == "keep" else _asked
    found = [make(row) for row in unique]
    if not found:
        raise DataError(f"seed.source: no instruction in {settings.source}")
    return found, dropped


def base_exam(
    settings: Exam, seed: Seed, random_seed: int, found: Sequence[Instruction]
) -> tuple[list[Instruction], list[Instruction]]:
    """Return the base pool without the exam's rows, and the exam. Raises DataError."""
    if settings.file is None:
        rest, held = pools.holdout(found, seed.holdout)
        return rest, [_held(row) for row in held]
    if settings.file == EMBEDDED:
        tasks = task_families.exam(settings.size, random_seed=random_seed)
        return list(found), [_embedded(task, "exam") for task in tasks]
    rows, _ = _read(Path(settings.file), "error", "")
    examined: dict[str, Instruction] = {}
    for row in rows:
        made = _instruction(row, "exam")
        if examined.setdefault(made.id, made).expected != made.expected:
            raise DataError(
                f"{row.file}, line {row.line}: the question stands there before, with another "
                "answer. Keep one of them."
            )
    return list(found), list(examined.values())


def further_exams(settings: Decontaminate, exams: Exams) -> list[Instruction]:
    """Return the items of `decontaminate.against` and of BBH and AGIEval, where students sit them.

    Each once, with the text of its file. Raises DataError.
    """
    found: dict[str, Instruction] = {}
    official = [path for folder in exams.folders for path in official_exams.files(Path(folder))]
    for path in [*map(Path, settings.against), *official]:
        for row in _read(path, "error", "")[0]:
            made = _instruction(row, "exam")
            found.setdefault(made.id, made)
    return list(found.values())


def usable(
    found: Sequence[Instruction], settings: Quality, tokens: Count | None
) -> tuple[list[Instruction], list[Dropped]]:
    """Return the rows without a flaw, and the others with theirs. Raises DataError where none is.

    A student can learn nothing from the latter, so they are dropped and no error. An answer that
    the file brought, and that will be learnt as it is, must be well encoded too.
    """
    kept: list[Instruction] = []
    dropped: list[Dropped] = []
    for row in found:
        text = transcript(row.messages)
        flaw = quality.flaw(text, settings, tokens) or _answer_flaw(row, settings)
        if flaw is None:
            kept.append(row)
        else:
            told = {"id": row.id, "text": text[:200], "detail": flaw.detail}
            dropped.append(Dropped("seed", flaw.reason, **told))
    if found and not kept:
        raise DataError(
            f"none of {len(found)} instructions passes `quality`; the first: {dropped[0].reason} "
            f"({dropped[0].detail}). Mend the files or the section `quality`."
        )
    return kept, dropped


def _answer_flaw(row: Instruction, settings: Quality) -> quality.Flaw | None:
    if row.answer is None or not settings.encoding:
        return None
    flaw = quality.encoding(row.answer.text)
    return None if flaw is None else quality.Flaw(flaw.reason, f"in the answer: {flaw.detail}")


def clean(
    found: Sequence[Instruction], guard: Decontamination, on_contaminated: OnProblem
) -> tuple[list[Instruction], list[Dropped]]:
    """Return the pool without what meets the exam. Raises DataError where params say so."""
    kept: list[Instruction] = []
    leaked: list[Dropped] = []
    for instruction in found:
        text = transcript(instruction.messages)
        meeting = guard.meets(text)
        if meeting is None:
            kept.append(instruction)
            continue
        told = {"id": instruction.id, "text": text[:200], "detail": str(meeting)}
        leaked.append(Dropped("seed", "contaminated", **told))
    if leaked and on_contaminated == "error":
        lines = [f"  {row.id} meets {row.detail}: {row.text!r:.80}" for row in leaked[:_SHOWN]]
        raise DataError(
            f"{len(leaked)} rows of the base pool meet the exam:\n" + "\n".join(lines) + "\n"
            "Remove them from the file, or set seed.on_contaminated: drop."
        )
    return kept, leaked


def write_student(
    folder: Path, settings: Student, found: Sequence[Instruction], random_seed: int
) -> None:
    """Write what the base student is: a pointer, or the embedded recipe's fresh checkpoint."""
    if settings.model == EMBEDDED:
        load_libraries()  # torch: only this student needs it here
        from lion.simulator import tiny_student

        tiny_student.build(folder, [transcript(row.messages) for row in found], random_seed)
    elif Path(settings.model).expanduser().is_dir():
        Pointer("folder", settings.model).write(folder)
    else:
        Pointer("hub", settings.model, hub.pinned(settings)).write(folder)


def _read(
    path: Path, on_bad_row: OnProblem, parameter: str
) -> tuple[Sequence[SourceRow], list[Dropped]]:
    loaded = files.read_rows(path)
    if loaded.problems and on_bad_row == "error":
        lines = [f"  {one}" for one in loaded.problems[:_SHOWN]]
        more = len(loaded.problems) - _SHOWN
        lines += [f"  and {more} more"] if more > 0 else []
        mend = f"Mend them, or set {parameter}: drop." if parameter else "Mend them."
        raise DataError(
            f"{len(loaded.problems)} rows cannot be read:\n" + "\n".join(lines) + f"\n{mend}"
        )
    return loaded.rows, [Dropped("seed", "bad_row", detail=str(one)) for one in loaded.problems]


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


def _asked(row: SourceRow) -> Instruction:
    return _instruction(row, "seed")


def _kept(row: SourceRow) -> Instruction:
    """Take the file's answer as the teacher's. Raises DataError where the row has none."""
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


def _held(row: Instruction) -> Instruction:
    return replace(row, origin="exam", answer=None)


def _embedded(task: task_families.Task, origin: Origin) -> Instruction:
    message: Message = {"role": "user", "content": task.instruction}
    return Instruction.new(
        [message],
        origin=origin,
        iteration="0",
        category=task.family,
        expected=task.answer if origin == "exam" else None,
    )
