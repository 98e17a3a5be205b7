"""Multiple-choice exams, BBH and AGIEval: a student's answers, the chosen options, accuracies.

The macro average over tasks is the paper's. Accuracy on these exams measures output format as much
as reasoning, so chance, the share of answers without an option, and scores within their interval of
chance are reported beside it. Writes no file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any, Literal

import orjson
import yaml

from lion import statistics
from lion.config.settings import Answering, Exams, Student
from lion.inference.batch_inference import answer
from lion.inference.batch_job import AnsweringTask, Progress
from lion.metrics.exams import ExamAccuracy, TaskAccuracy, UnanswerableItem
from lion.readers import official_exams
from lion.readers.official_exams import OFFICIAL, Item
from lion.records.rows import Answer
from lion.statistics import Bootstrap
from lion.student import checkpoint as students
from lion.student.paper_format import paper_prompt

Extraction = Literal["first_letter", "stated"]

PAPER: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "agieval": MappingProxyType(
            {
                "Lion-7B": 26.3,
                "Vicuna-7B": 22.6,
                "Lion-13B": 34.2,
                "Vicuna-13B": 29.3,
                "ChatGPT": 47.2,
            }
        ),
        "bbh": MappingProxyType(
            {
                "Lion-7B": 32.0,
                "Vicuna-7B": 21.9,
                "Lion-13B": 36.2,
                "Vicuna-13B": 23.3,
                "ChatGPT": 48.9,
            }
        ),
    }
)
"""Macro averages in percent, as the paper reports them."""

_STATED = re.compile(
    r"\(([A-Z])\)|(?:answer|option|choice)(?: is)?:?\s*\**([A-Z])\b|^\W*([A-Z])(?:[.):,]|\W*$)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The option that an answer chooses; `letter` is None if no option can be read."""

    item: Item
    letter: str | None

    @property
    def right(self) -> bool:
        """Whether the choice is right: False if the answer is unread or no option is right."""
        return self.letter is not None and self.letter == self.item.answer


@dataclass(frozen=True, slots=True)
class TakenExams:
    """What a student chose for each item, and its answers (None if scored by likelihood)."""

    choices: list[Choice]
    answers: list[Answer] | None


def read_exams(exams: Exams) -> list[Item]:
    """Return the items of all folders, in their order. Raises DataError."""
    return [item for folder in exams.folders for item in official_exams.read_items(Path(folder))]


def take_exams(
    items: Sequence[Item],
    *,
    student: Path,
    settings: Student,
    exams: Exams,
    answering: Answering,
    random_seed: int,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> TakenExams:
    """Return the options that the student in the folder `student` chooses for `items`.

    It answers in batches as `answering` says, but decodes greedily, or its options are scored by
    likelihood (`exams.scoring`). Finished batches of answers are kept in the folder `keep`, from
    which a killed run resumes. Raises ModelError, and DataError if the chat template fails.
    """
    students.load_libraries()
    if exams.scoring == "likelihood":
        from lion.evaluation import likelihood

        likeliest = likelihood.likeliest(
            items,
            student=student,
            settings=settings,
            batch_size=answering.batch_size,
            progress=progress,
        )
        return TakenExams([Choice(*pair) for pair in zip(items, likeliest, strict=True)], None)
    greedy = answering.model_copy(update={"temperature": 0.0, "max_tokens": exams.max_tokens})
    task = AnsweringTask(student, settings, greedy, random_seed, student.parent.name)
    answers = answer([item.instruction() for item in items], task, keep, progress)
    return TakenExams(
        choose(items, [response.text for response in answers], exams.scoring), answers
    )


def extract(text: str, letters: str, rule: Extraction) -> str | None:
    """Return the option that `text` chooses, of `letters`, or None.

    first_letter: the first character that is one of the letters, as AGIEval's authors extract it
    zero-shot, and the paper does; the B of `Because` counts. stated: the first letter in
    brackets, behind `answer`, or alone at the beginning of a line.
    """
    if rule == "first_letter":
        return next((character for character in text if character in letters), None)
    letters_stated = (next(filter(None, match.groups())) for match in _STATED.finditer(text))
    return next((letter for letter in letters_stated if letter in letters), None)


def letters_by_task(items: Sequence[Item]) -> dict[tuple[str, str], str]:
    """Return the option letters of each (exam, task), from its item with the most options."""
    by_task: dict[tuple[str, str], str] = {}
    for item in items:
        by_task[item.exam, item.task] = max(
            by_task.get((item.exam, item.task), ""), item.letters, key=len
        )
    return by_task


def choose(items: Sequence[Item], texts: Sequence[str], rule: Extraction) -> list[Choice]:
    """Return the choice of each answer, in the order of `items`."""
    letters_of = letters_by_task(items)
    return [
        Choice(item, extract(text, letters_of[item.exam, item.task], rule))
        for item, text in zip(items, texts, strict=True)
    ]


def exam_accuracies(choices: Sequence[Choice], bootstrap: Bootstrap) -> dict[str, ExamAccuracy]:
    """Return each exam's macro average and its tasks."""
    by_exam = groupby(choices, key=lambda choice: choice.item.exam)
    return {exam: _exam(exam, list(exam_choices), bootstrap) for exam, exam_choices in by_exam}


def _exam(exam: str, choices: Sequence[Choice], bootstrap: Bootstrap) -> ExamAccuracy:
    by_task = {
        task: list(task_choices)
        for task, task_choices in groupby(choices, key=lambda choice: choice.item.task)
    }
    tasks = {
        task: _task(task_choices, OFFICIAL[exam][task], bootstrap.confidence)
        for task, task_choices in by_task.items()
    }
    macro = statistics.macro_accuracy(
        [(choice.item.task, choice.right) for choice in choices], bootstrap.confidence
    )
    assert macro is not None  # every task file has items
    chance = fmean(accuracy.chance_percent for accuracy in tasks.values())
    official = sum(OFFICIAL[exam].values())
    return ExamAccuracy(
        average_percent=100 * macro.value,
        interval_percent=_percent(macro.low, macro.high),
        chance_percent=chance,
        within_chance=_within(chance, macro.low, macro.high),
        items=len(choices),
        official_items=official,
        subset=len(tasks) < len(OFFICIAL[exam]) or len(choices) != official,
        missing_tasks=tuple(task for task in OFFICIAL[exam] if task not in tasks),
        unread_percent=100 * fmean(choice.letter is None for choice in choices),
        without_right_option=tuple(
            UnanswerableItem(choice.item.task, choice.item.number, choice.item.target)
            for choice in choices
            if choice.item.answer is None
        ),
        paper_percent=dict(PAPER[exam]),
        tasks=tasks,
    )


def _task(choices: Sequence[Choice], official: int, confidence: float) -> TaskAccuracy:
    estimate = statistics.accuracy([choice.right for choice in choices], confidence)
    assert estimate is not None
    chance = 100 * fmean(1 / len(choice.item.options) for choice in choices)
    return TaskAccuracy(
        accuracy_percent=100 * estimate.value,
        interval_percent=_percent(estimate.low, estimate.high),
        chance_percent=chance,
        within_chance=_within(chance, estimate.low, estimate.high),
        unread_percent=100 * fmean(choice.letter is None for choice in choices),
        items=len(choices),
        official_items=official,
    )


def _percent(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (100 * low, 100 * high)


def _within(chance: float, low: float | None, high: float | None) -> bool | None:
    """Return whether chance lies within the interval; None without an interval."""
    return None if low is None or high is None else 100 * low <= chance <= 100 * high


def sentence(exam: str, accuracy: ExamAccuracy) -> str:
    """Return an exam's outcome in one sentence."""
    part = f" (a subset: {accuracy.items:,} of {accuracy.official_items:,} items)"
    near = ", within its interval of chance" if accuracy.within_chance else ""
    return (
        f"{exam} {accuracy.average_percent:.1f} %{part if accuracy.subset else ''}{near}; "
        f"chance {accuracy.chance_percent:.1f} %, unread {accuracy.unread_percent:.1f} %"
    )


_NO_OPTION = "[no option]"
"""Target of an item without a right option: no extracted letter equals it."""


def write_tasks(items: Sequence[Item], out: Path, *, max_tokens: int, chat: bool) -> int:
    """Write each task's rows and two task files (generated, likelihood), and a group for each exam.

    `chat`: write the bare question, for a chat template, instead of the paper's prompt format.
    Returns the number of task files.
    """
    out.mkdir(parents=True, exist_ok=True)
    letters_of = letters_by_task(items)
    groups: dict[str, list[str]] = {}
    for (exam, task), task_items in groupby(items, key=lambda item: (item.exam, item.task)):
        data = (out / f"{exam}_{task}.jsonl").absolute()
        data.write_bytes(b"".join(orjson.dumps(_row(item, chat)) + b"\n" for item in task_items))
        generated = _generated(letters_of[exam, task], max_tokens)
        for kind, settings in (("", generated), ("_likelihood", _LIKELIHOOD)):
            name = f"lion_{exam}_{task}{kind}"
            _write(out / f"{name}.yaml", {"task": name, **_common(data), **settings})
            groups.setdefault(f"lion_{exam}{kind}", []).append(name)
    for group, tasks in groups.items():
        _write(out / f"{group}.yaml", _group(group, tasks))
    return sum(map(len, groups.values()))


def _group(name: str, tasks: list[str]) -> dict[str, Any]:
    by_likelihood = name.endswith("_likelihood")
    metric = {
        "metric": "acc" if by_likelihood else "exact_match",
        "weight_by_size": False,
        "filter_list": ["none" if by_likelihood else "first_letter"],
    }
    return {"group": name, "task": tasks, "aggregate_metric_list": [metric]}


def _row(item: Item, chat: bool) -> dict[str, Any]:
    messages = item.instruction().messages
    return {
        "prompt": messages[0]["content"] if chat else paper_prompt(messages),
        "letters": list(item.letters),
        "answer": item.answer or _NO_OPTION,
    }


def _common(data: Path) -> dict[str, Any]:
    return {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metadata": {"version": 1},
    }


def _generated(letters: str, max_tokens: int) -> dict[str, Any]:
    pattern = {"function": "regex", "regex_pattern": f"([{letters}])", "group_select": 0}
    return {
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_tokens},
        "filter_list": [
            {"name": "first_letter", "filter": [pattern, {"function": "take_first"}]},
        ],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }


_LIKELIHOOD: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_choice": "{{letters}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
