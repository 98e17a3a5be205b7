"""Case studies: exam rows with the answers of several students side by side, as the paper's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from rich.console import Group, RenderableType
from rich.text import Text

from lion.config.settings import Settings
from lion.pipeline.revisions import Place
from lion.records.rows import Row
from lion.reporting.exam_rows import RIGHT_OR_WRONG, exam_rows, labelled_text, row_head


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """An answer, and whether it is right; None where nothing marks it."""

    text: str
    correct: bool | None


@dataclass(frozen=True, slots=True)
class CaseStudy:
    """A row of the exam, the teacher's answer and those of students by iteration."""

    id: str
    category: str | None
    question: str
    expected: str | None
    teacher: CaseAnswer | None
    students: Mapping[str, CaseAnswer]

    @property
    def failed(self) -> bool:
        """Whether one of the students is wrong."""
        return any(answer.correct is False for answer in self.students.values())


def case_studies(place: Place, names: Sequence[str], settings: Settings) -> list[CaseStudy]:
    """Return the exam as the students of the iterations `names` answered it, in its order.

    A row that one of them has not answered is left out. Raises DataError where a student has
    answered none.
    """
    by_student = {
        name: {row.id: row for row in exam_rows(replace(place, iteration=name), settings)}
        for name in dict.fromkeys(names)
    }
    first, *others = by_student.values()
    return [
        CaseStudy(
            id=row.id,
            category=row.category,
            question=row.question,
            expected=row.expected,
            teacher=None if row.teacher is None else CaseAnswer(row.teacher, row.teacher_correct),
            students={
                name: CaseAnswer(rows[row.id].student or "", rows[row.id].student_correct)
                for name, rows in by_student.items()
            },
        )
        for row in first.values()
        if all(row.id in rows for rows in others)
    ]


def case_as_json(case: CaseStudy) -> Row:
    """Return a case study for JSON."""
    return asdict(case)


def case_studies_as_text(cases: Sequence[CaseStudy], whole: bool) -> RenderableType:
    """Return case studies for a terminal of any width."""
    return Group(*(part for case in cases for part in _shown(case, whole)))


def _shown(case: CaseStudy, whole: bool) -> Iterator[RenderableType]:
    yield row_head(case.id, case.category)
    yield labelled_text("", case.question, whole)
    if case.expected is not None:
        yield labelled_text("expected: ", case.expected, whole)
    answers = {"teacher": case.teacher, **{f"student {n}": a for n, a in case.students.items()}}
    for who, answer in answers.items():
        word, style = RIGHT_OR_WRONG[None if answer is None else answer.correct]
        text = labelled_text(f"{who}, {word}: ", None if answer is None else answer.text, whole)
        text.stylize(style, start := len(f"  {who}, "), start + len(word))
        yield text
    yield Text()
