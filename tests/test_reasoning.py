"""BBH and AGIEval: official files in, lettered items out; what a letter is, and what chance is."""

import json
from itertools import product
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fixtures import ROOT
from rich.console import Console

from lion.errors import DataError
from lion.evaluation import multiple_choice
from lion.metrics.exams import ExamAccuracy, ExamineMetrics, OpenEnded, OpenExamMetrics
from lion.readers import official_exams
from lion.readers.official_exams import OFFICIAL, Item
from lion.reporting import exam_tables, page_cards, paper_figures
from lion.statistics import Bootstrap

SHARED = ROOT / "../shared/data"
BOOTSTRAP = Bootstrap(0.95, 200, 0)
SPORTS = {"input": 'Is the following sentence plausible? "He swam."', "target": "no"}
MOVIES = {"input": "Find one:\nOptions:\n(A) Jaws\n(B) Up\n(C) Big", "target": "(B)"}


def bbh(folder: Path, task: str, *examples: dict[str, str]) -> Path:
    (folder / f"{task}.json").write_text(json.dumps({"canary": "x", "examples": examples}))
    return folder


def agieval(folder: Path, task: str, **row: object) -> Path:
    made = {"passage": "P.", "question": "Q?", "options": ["(A)x", "(B)y"], "label": "B", **row}
    (folder / f"{task}.jsonl").write_text(json.dumps(made) + "\n")
    return folder


def item(task: str = "snarks", options: int = 2, answer: str | None = "A", number: int = 1) -> Item:
    texts = tuple(str(one) for one in range(options))
    return Item("bbh", task, number, "q", texts, answer, answer or "?")


def test_the_official_exams_have_the_papers_sizes() -> None:
    sizes = {
        exam: (len(tasks), sum(tasks.values())) for exam, tasks in official_exams.OFFICIAL.items()
    }
    assert sizes == {"bbh": (23, 5511), "agieval": (8, 2546)}


def test_a_task_with_letters_keeps_them(tmp_path: Path) -> None:
    (found,) = official_exams.read_items(bbh(tmp_path, "movie_recommendation", MOVIES))
    assert found.options == ("Jaws", "Up", "Big")
    assert (found.letters, found.answer) == ("ABC", "B")
    assert found.prompt == (f"Find one:\nOptions:\n(A) Jaws\n(B) Up\n(C) Big\n{official_exams.ASK}")


def test_a_task_without_letters_gets_them_in_a_fixed_order(tmp_path: Path) -> None:
    (found,) = official_exams.read_items(bbh(tmp_path, "sports_understanding", SPORTS))
    assert (found.options, found.answer) == (("yes", "no"), "B")
    assert found.instruction().category == "bbh/sports_understanding"
    assert found.instruction().expected == "B"


def test_a_target_that_is_no_option_is_no_answer(tmp_path: Path) -> None:
    rows = [{**MOVIES, "target": "Monsters, Inc"}, {**MOVIES, "target": "(D)"}]
    found = official_exams.read_items(bbh(tmp_path, "movie_recommendation", *rows))
    assert [one.answer for one in found] == [None, None]
    figures = multiple_choice.exam_accuracies(
        multiple_choice.choose(found, ["A", "B"], "first_letter"), BOOTSTRAP
    )
    assert figures["bbh"].average_percent == 0
    assert [one.target for one in figures["bbh"].without_right_option] == [
        "Monsters, Inc",
        "(D)",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["(A)x", "(B)y", "(C)z"], ("x", "y", "z")),
        (["(A)x", "(C)z", "(B)y"], ("x", "y", "z")),  # so it stands in LogiQA
        (["A x", "B? y", "C.z"], ("x", "y", "z")),
        (["x", "By", "z"], ("x", "By", "z")),
    ],
)
def test_agievals_options_lose_their_letters(
    tmp_path: Path, options: list[str], expected: tuple[str, ...]
) -> None:
    (found,) = official_exams.read_items(agieval(tmp_path, "logiqa-en", options=options, label="C"))
    assert (found.options, found.answer) == (expected, "C")
    assert found.question == "P.\n\nQ?"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("navigate.json", "{", "not JSON"),
        ("navigate.json", "[]", "a JSON object"),
        ("navigate.json", "{}", "no list `examples`"),
        ("navigate.json", '{"examples": [{"input": 1}]}', "input: text"),
        ("snarks.json", '{"examples": [{"input": "q\\nOptions:\\n- a", "target": "(A)"}]}', "(A)"),
        ("sat-en.jsonl", '{"question": "q"}\n', "no list of options"),
        ("dyck_languages.json", "{", "no file of BBH"),
    ],
)
def test_what_is_not_an_official_file_is_refused(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told.replace("(", r"\(").replace(")", r"\)")):
        official_exams.read_items(tmp_path)


# --- letters ----------------------------------------------------------------------------------

FIRST = {"B": "B", "(C)": "C", "the answer is C": "C", "Because of A": "B", "d": None, "": None}
STATED = {
    "B": "B",
    "(C)": "C",
    "The answer is C.": "C",
    "Because of (A)": "A",
    "A dog, so the answer: B": "B",
    "B. It is so.": "B",
    "**C**": "C",
    "A dog": None,
    "Z": None,
    "Because": None,
    "": None,
}


@pytest.mark.parametrize(("text", "letter"), FIRST.items())
def test_the_papers_rule_takes_the_first_letter(text: str, letter: str | None) -> None:
    assert multiple_choice.extract(text, "ABC", "first_letter") == letter


@pytest.mark.parametrize(("text", "letter"), STATED.items())
def test_a_stated_letter_is_one_that_is_meant(text: str, letter: str | None) -> None:
    assert multiple_choice.extract(text, "ABC", "stated") == letter


# --- figures ----------------------------------------------------------------------------------


def test_the_average_is_over_tasks_and_what_is_unread_is_wrong() -> None:
    found = [item("snarks", number=n) for n in range(3)] + [item("ruin_names", 4, "D")]
    figures = multiple_choice.exam_accuracies(
        multiple_choice.choose(found, ["A", "A", "?", "D"], "first_letter"), BOOTSTRAP
    )
    exam = figures["bbh"]
    assert exam.average_percent == pytest.approx((200 / 3 + 100) / 2)
    assert exam.chance_percent == pytest.approx((50 + 25) / 2)
    assert exam.unread_percent == 25
    assert exam.subset is True and "navigate" in exam.missing_tasks
    snarks = exam.tasks["snarks"]
    assert snarks.within_chance is True
    assert snarks.accuracy_percent == pytest.approx(200 / 3)
    assert (snarks.chance_percent, snarks.unread_percent) == (50, pytest.approx(100 / 3))
    assert snarks.interval_percent is not None
    low, high = snarks.interval_percent
    assert 5 < low < snarks.accuracy_percent < high
    assert exam.paper_percent["Lion-13B"] == 36.2


def test_a_score_far_from_chance_is_not_marked() -> None:
    found = [item(number=n) for n in range(100)]
    right, guessed = (
        multiple_choice.exam_accuracies(
            multiple_choice.choose(found, texts, "first_letter"), BOOTSTRAP
        )["bbh"].tasks
        for texts in (["A"] * 100, ["A", "B"] * 50)
    )
    assert right["snarks"].within_chance is False
    assert guessed["snarks"].within_chance is True


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real exams lie beside the project")
def test_the_local_files_are_read_whole() -> None:
    """Each task that is here has its official count; three targets are no option."""
    for exam, tasks in (("bbh", 17), ("agieval", 6)):
        items = official_exams.read_items(SHARED / exam)
        figures = multiple_choice.exam_accuracies(
            multiple_choice.choose(items, ["A"] * len(items), "stated"), BOOTSTRAP
        )
        found = figures[exam].tasks
        assert len(found) == tasks
        assert all(one.items == one.official_items for one in found.values())
        if exam == "bbh":
            assert figures[exam].chance_percent == pytest.approx(30.3, abs=0.05)
            assert len(figures[exam].without_right_option) == 3


def test_every_answer_is_right_for_exactly_one_letter() -> None:
    """A law: over all letters a student could always say, each item is right once."""
    found = [item(number=n, options=4, answer=one) for n, one in enumerate("ABCD")]
    rights = [
        one.right
        for letter, each in product("ABCD", found)
        for one in multiple_choice.choose([each], [letter], "first_letter")
    ]
    assert sum(rights) == len(found)


@pytest.mark.parametrize("exam", sorted(OFFICIAL))
def test_the_papers_values_by_task_have_its_averages(exam: str) -> None:
    """Read from pictures: a digit that was misread would move the mean of one model."""
    tasks = paper_figures.TASKS[exam]
    assert tasks.keys() == OFFICIAL[exam].keys()
    for place, model in enumerate(paper_figures.MODELS):
        mean = fmean(values[place] for values in tasks.values())
        assert mean == pytest.approx(multiple_choice.PAPER[exam][model], abs=0.051)


def of_all_tasks(exam: str) -> ExamAccuracy:
    """Return the figures of a student with one right answer of two in each task."""
    found = [
        Item(exam, task, number, "q", ("0", "1"), answer, answer)
        for task in OFFICIAL[exam]
        for number, answer in enumerate("AB")
    ]
    choices = multiple_choice.choose(found, ["A"] * len(found), "first_letter")
    return multiple_choice.exam_accuracies(choices, BOOTSTRAP)[exam]


def printed(shown: Any) -> list[str]:
    console = Console(width=80)
    with console.capture() as caught:
        console.print(shown)
    return caught.get().splitlines()


@pytest.mark.parametrize("exam", sorted(OFFICIAL))
def test_the_page_has_the_papers_value_of_each_task(exam: str) -> None:
    metrics = ExamineMetrics("first_letter", {exam: of_all_tasks(exam)})
    run = SimpleNamespace(
        lineage=[SimpleNamespace(iteration="1")],
        metrics=lambda _, kind: metrics if kind is ExamineMetrics else None,
    )
    (card,) = page_cards.exam_cards(cast("Any", run))
    assert card is not None
    columns, (average, *rows) = card["table"]["columns"], card["table"]["rows"]
    models = [f"{model} (paper)" for model in paper_figures.MODELS]
    assert columns == ["task", "student 1", "chance", *models]
    assert average[3:] == [f"{multiple_choice.PAPER[exam][m]:.1f}" for m in paper_figures.MODELS]
    assert {row[0]: row[3:] for row in rows} == {
        task: [f"{value:.1f}" for value in values]
        for task, values in paper_figures.TASKS[exam].items()
    }


@pytest.mark.parametrize("exam", sorted(OFFICIAL))
def test_a_terminal_of_80_columns_has_every_model_of_the_paper_by_task(exam: str) -> None:
    lines = printed(exam_tables.reasoning_table(exam, of_all_tasks(exam)))
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines]
    for task, values in paper_figures.TASKS[exam].items():
        assert [task, "50.0", *(f"{value:.1f}" for value in values)] in rows
    averages = [f"{multiple_choice.PAPER[exam][model]:.1f}" for model in paper_figures.MODELS]
    assert ["macro", "average", "50.0", *averages] in rows
    assert ["Lion", "Vicuna", "Lion", "Vicuna"] in rows
    assert ["task", "ours", "7B", "7B", "13B", "13B", "ChatGPT"] in rows


def test_open_questions_stand_beside_the_papers_of_the_same_setting() -> None:
    """Settings, averages and exams of each model are those that docs/concepts/method.md lists."""
    lines = (ROOT / "docs/concepts/method.md").read_text(encoding="utf-8").splitlines()
    listed = {
        cells[0].replace("*", "").strip(): [float(cell) for cell in cells[1:] if cell != " - "]
        for cells in (line.strip("|").split("|") for line in lines if line.count("|") == 7)
        if cells[1].strip().replace(".", "").isdigit()
    }
    assert {"ChatGPT", *paper_figures.QUALITY} == listed.keys()
    for model, (one, two) in paper_figures.QUALITY.items():
        papers = [multiple_choice.PAPER[exam] for exam in ("agieval", "bbh")]
        exams = [paper[model] for paper in papers if model in paper]  # Lion, Vicuna, ChatGPT
        assert listed[model][:2] == [one, two] and listed[model][3:] == exams
        assert listed[model][2] == pytest.approx((one + two) / 2, abs=0.0051)
    figures = OpenEnded(80, 600.0, 640.0, None, None, None, 20, 20, 40, {})
    for setting in (1, 2):
        metrics = OpenExamMetrics(setting, figures, {}, cast("Any", None))
        shown = [line.split() for line in printed(exam_tables.open_table(metrics))]
        for model, values in paper_figures.QUALITY.items():
            wanted = f"{model} in the paper, quality % {values[setting - 1]:.2f}"
            assert wanted.split() in shown
        assert f"the paper: setting {setting},".split() == shown[-1][:4]
